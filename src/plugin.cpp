// SPDX-License-Identifier: GPL-2.0-or-later
// What LAMMPS opens, alrareplugin.so: it uses no class of LAMMPS, so that it can look first whether
// this is the LAMMPS that the styles were built for, and a description for `alrare check`.
#include "loader/lammps_build.h"
#include "loader/plugin_interface.h"
#include "loader/running_lammps.h"
#include "own_folder.h"

#include "alrare_build_info.h" // written by CMake

#include <dlfcn.h>

#include <string>

namespace {

constexpr const char *styles_library = "libalrare_lammps.so";
constexpr const char *cure =
    "run the LAMMPS it was built for, or build the plugin for this one with "
    "-DLAMMPS_SOURCE_DIR=..., see 'A LAMMPS of your own' in docs/install.md";

alrare::LammpsBuild built_for() {
  std::string version = ALRARE_LAMMPS_VERSION;
  const std::string update = ALRARE_LAMMPS_UPDATE;
  if (!update.empty())
    version += " - " + update;
  return {version, ALRARE_LAMMPS_SIZES, ALRARE_LAMMPS_GIT};
}

/// Null where it does not open; then `why` says it.
alrare::RegisterStyles open_styles(std::string &why) {
  // never closed: styles may live longer than LAMMPS keeps this plugin
  void *const library = dlopen((alrare::own_folder() + styles_library).c_str(),
                               RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  void *const symbol = library == nullptr ? nullptr : dlsym(library, alrare::register_styles_name);
  const char *const error = symbol == nullptr ? dlerror() : nullptr;
  why = error != nullptr ? error : "";
  return reinterpret_cast<alrare::RegisterStyles>(symbol);
}

} // namespace

extern "C" __attribute__((visibility("default"))) void lammpsplugin_init(void *lmp, void *handle,
                                                                         void *register_function) {
  const std::string without =
      "pair_style nnp_ensemble, pair_style labeller, fix al_select and compute colvar are not "
      "available: ";
  const alrare::LammpsBuild running = alrare::running_lammps(register_function);
  if (!alrare::same_interface(built_for(), running)) {
    alrare::warn(lmp, without + "alrare's plugin was built for LAMMPS " +
                          alrare::describe(built_for()) + " and this is LAMMPS " +
                          alrare::describe(running) + "; " + cure);
    return;
  }
  std::string why;
  const alrare::RegisterStyles register_styles = open_styles(why);
  if (register_styles == nullptr)
    alrare::warn(lmp, without + why + "; if a symbol is undefined, " + cure);
  else
    register_styles(lmp, handle, reinterpret_cast<alrare::RegisterFunction>(register_function));
}

/// What this plugin was built for, as a JSON object of strings; static storage.
///
/// Keys: alrare, lammps (release, "" when the headers do not tell), lammps_sizes, torch ("" when
/// built without the backend), mpi, lammps_update and lammps_git ("" for none).
extern "C" __attribute__((visibility("default"))) const char *alrare_plugin_info() {
  return "{\"alrare\": \"" ALRARE_VERSION "\", \"lammps\": \"" ALRARE_LAMMPS_VERSION
         "\", \"lammps_sizes\": \"" ALRARE_LAMMPS_SIZES "\", \"torch\": \"" ALRARE_TORCH_VERSION
         "\", \"mpi\": \"" ALRARE_MPI "\", \"lammps_update\": \"" ALRARE_LAMMPS_UPDATE
         "\", \"lammps_git\": \"" ALRARE_LAMMPS_GIT "\"}";
}
