// SPDX-License-Identifier: GPL-2.0-or-later
#include "fix_al_select/pair_values.h"

#include "fix_al_select/al_select_options.h"

#include "atom.h"
#include "error.h"
#include "force.h"
#include "lammps.h"
#include "pair.h"

#include <string>

namespace LAMMPS_NS {

PairValues find_pair_values(LAMMPS *lmp, const ALSelectOptions &options) {
  Error *const error = lmp->error;
  Pair *const pair = lmp->force->pair_match("nnp_ensemble", 1);
  if (!pair)
    error->all(FLERR,
               "fix al_select: needs exactly one pair style nnp_ensemble (alone or within a hybrid "
               "style), and the pair style is {}",
               lmp->force->pair_style ? lmp->force->pair_style : "none");
  int dim = -1;
  const auto value = [pair, &dim](const std::string &name) {
    return static_cast<double *>(pair->extract(name.c_str(), dim));
  };
  PairValues out;
  out.pair = pair;
  const auto *members = static_cast<int *>(pair->extract("n_members", dim));
  out.energy_std = value("energy_std");
  out.member_energies = value("member_energies");
  out.force_std = value("force_std");
  out.force_max = value("force_max");
  out.n_excluded = static_cast<int *>(pair->extract("n_excluded", dim));
  out.element_of_type = static_cast<char **>(pair->extract("element_of_type", dim));
  out.ensemble_step = static_cast<bigint *>(pair->extract("ensemble_step", dim));
  if (options.judges_forces && (!out.force_std || !out.force_max))
    error->all(FLERR, "fix al_select: uncertainty force: the pair style does not compute it; give "
                      "it 'force_std yes' (pair_style nnp_ensemble force_std yes)");
  if (!members || !out.energy_std || !out.member_energies || !out.n_excluded ||
      !out.element_of_type || !out.ensemble_step)
    error->all(FLERR, "fix al_select: pair style nnp_ensemble and this fix are of different "
                      "versions of alrare; install both from one");
  const std::string judged = options.judges_forces ? "force_std" : "energy_std";
  out.uncertainty = value(options.calibrated ? "calibrated_" + judged : judged);
  if (!out.uncertainty)
    error->all(FLERR, "fix al_select: calibrated yes: the model of pair style nnp_ensemble is not "
                      "calibrated; 'alrare evaluate MODEL DATA --calibrate' does it");
  out.n_members = *members;
  for (int type = 1; type <= lmp->atom->ntypes; ++type)
    if (!out.element_of_type[type])
      error->all(
          FLERR,
          "fix al_select: atom type {} is NULL in the pair_coeff of nnp_ensemble; a candidate "
          "needs the element of every type",
          type);
  if (out.n_members < 2)
    error->all(FLERR,
               "fix al_select: the model of pair style nnp_ensemble has {} member; the uncertainty "
               "needs at least 2",
               out.n_members);
  const double cutoff = pair->init_one(1, 1); // cutforce is not set within a hybrid style
  if (options.min_distance > cutoff)
    error->all(FLERR,
               "fix al_select: min_distance must not exceed the cutoff of the model, {}, got {}",
               cutoff, options.min_distance);
  return out;
}

} // namespace LAMMPS_NS
