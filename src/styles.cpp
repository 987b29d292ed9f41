// SPDX-License-Identifier: GPL-2.0-or-later
// The styles of libalrare_lammps.so, which uses the classes of LAMMPS.
#include "compute_colvar/compute_colvar.h"
#include "fix_al_select/fix_al_select.h"
#include "loader/plugin_interface.h"
#include "pair_labeller/pair_labeller.h"
#include "pair_nnp/pair_nnp_ensemble.h"

#include "alrare_build_info.h" // written by CMake

using namespace LAMMPS_NS;

namespace {

// LAMMPS casts the result to its base class, so it must point to one before it becomes void *

template <typename Style> void *make_pair(void *lmp) {
  return static_cast<Pair *>(new Style(static_cast<LAMMPS *>(lmp)));
}

template <typename Base, typename Style> void *make(void *lmp, int narg, char **arg) {
  return static_cast<Base *>(new Style(static_cast<LAMMPS *>(lmp), narg, arg));
}

} // namespace

/// See alrare::RegisterStyles.
extern "C" __attribute__((visibility("default"))) void
alrare_register_styles(void *lmp, void *handle, alrare::RegisterFunction register_plugin) {
  alrare::Plugin plugin{};
  plugin.version = ALRARE_LAMMPS_VERSION;
  plugin.author = "the alrare developers";
  plugin.handle = handle;

  plugin.style = "pair";
  plugin.name = "nnp_ensemble";
  plugin.info = "ensemble of neural-network potentials, alrare " ALRARE_VERSION;
  plugin.creator.v1 = &make_pair<PairNNPEnsemble>;
  register_plugin(&plugin, lmp);

  plugin.name = "labeller";
  plugin.info = "forces of an electronic-structure program, alrare " ALRARE_VERSION;
  plugin.creator.v1 = &make_pair<PairLabeller>;
  register_plugin(&plugin, lmp);

  plugin.style = "fix";
  plugin.name = "al_select";
  plugin.info = "selection of configurations worth a label, alrare " ALRARE_VERSION;
  plugin.creator.v2 = &make<Fix, FixALSelect>;
  register_plugin(&plugin, lmp);

  plugin.style = "compute";
  plugin.name = "colvar";
  plugin.info = "value of a collective variable of fix colvars, alrare " ALRARE_VERSION;
  plugin.creator.v2 = &make<Compute, ComputeColvar>;
  register_plugin(&plugin, lmp);
}
