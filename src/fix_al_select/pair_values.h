// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_FIX_AL_SELECT_PAIR_VALUES_H
#define ALRARE_FIX_AL_SELECT_PAIR_VALUES_H

#include "lmptype.h"

namespace LAMMPS_NS {

struct ALSelectOptions;

/// What `fix al_select` reads from the pair style, which owns it; in the units of the run.
struct PairValues {
  class Pair *pair = nullptr;
  int n_members = 0;
  const double *uncertainty = nullptr; ///< what is judged
  const double *energy_std = nullptr, *member_energies = nullptr;
  const double *force_std = nullptr, *force_max = nullptr; ///< null if it does not give them
  const int *n_excluded = nullptr;
  char **element_of_type = nullptr;
  const bigint *ensemble_step = nullptr; ///< timestep of these values
};

/// Finds the pair style nnp_ensemble; ends LAMMPS with an error that says what it lacks.
PairValues find_pair_values(class LAMMPS *lmp, const ALSelectOptions &options);

} // namespace LAMMPS_NS

#endif
