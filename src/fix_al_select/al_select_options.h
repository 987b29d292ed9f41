// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_FIX_AL_SELECT_AL_SELECT_OPTIONS_H
#define ALRARE_FIX_AL_SELECT_AL_SELECT_OPTIONS_H

#include "selection/selection.h"

#include <string>
#include <vector>

namespace LAMMPS_NS {

/// What is judged; the values are bits of a restart file.
enum class Judged {
  energy = 0,  ///< energy_std of the ensemble
  force = 2,   ///< its force_std
  variable = 4 ///< an equal-style variable
};

/// The keywords of `fix al_select`; energies and forces in the units of the run.
struct ALSelectOptions {
  alrare::SelectionSettings settings;
  Judged judged = Judged::energy;
  bool calibrated = false;           ///< by the error that the model's calibration expects
  std::string uncertainty_name;      ///< of Judged::variable, without its v_
  std::vector<std::string> elements; ///< (ntypes) symbols; empty: the pair style names them
  double min_distance = 0.5;         ///< Å; nearer atoms are unphysical
  std::string cv_name;               ///< variable without its v_; empty: none
  bool halt_at_max = false;          ///< end the run when all candidates are selected
  bool halt_at_unphysical = false;   ///< end it at the first unphysical configuration
};

/// Reads keywords from arg[first] on; a wrong one ends LAMMPS with an error that names it.
/// \param defaults  values of the keywords that are not given
ALSelectOptions read_al_select_options(class LAMMPS *lmp, int narg, char **arg, int first,
                                       const ALSelectOptions &defaults);

} // namespace LAMMPS_NS

#endif
