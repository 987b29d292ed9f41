// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_PAIR_NNP_SPREAD_H
#define ALRARE_PAIR_NNP_SPREAD_H

#include "nnp/file/metadata.h"
#include "nnp/neighborhood.h"

#include <cstddef>
#include <vector>

namespace alrare {

/// Standard deviation of one quantity over the members, M - 1 in the divisor; 0 for one member.
///
/// \param values  one per member, `step` apart
double standard_deviation(const double *values, int members, std::size_t step = 1);

/// How far the members of an ensemble disagree, in the unit that `unit` leads to from eV (and Å).
struct Spread {
  double energy_std = 0.0; ///< of the whole system
  double force_std = 0.0;  ///< largest of an atom
  double force_max = 0.0;  ///< largest norm of the members' mean force on an atom

  /// Times the factors of the model's calibration; not a number without one.
  double calibrated_energy_std = 0.0, calibrated_force_std = 0.0;

  std::vector<double> member_energies; ///< (M) of the whole system
  std::vector<double>
      atom_energy_std;                ///< (n) by the caller's atoms; never empty: its address lasts
  std::vector<double> atom_force_std; ///< the same

  /// calibrated_energy_std and calibrated_force_std, by the factors of the model.
  void calibrate(const Metadata &model);

  /// Forgets everything; the ensemble has this many members.
  void reset(int members);
  /// Zeros for this many atoms.
  void clear_atoms(int n_atoms);

  /// energy_std, and the unit of `member_energies`, which hold eV before.
  void judge_energies(double unit);

  /// atom_energy_std from [member * n_local + center] in eV.
  void judge_atom_energies(const Neighborhood &hood, const std::vector<double> &center_energies,
                           double unit);

  /// atom_force_std and, of these atoms, force_std and force_max: for each atom
  /// sqrt(sum_m |F_m - mean F|^2 / (M - 1) / 3). What is not a number counts as infinite in the
  /// maxima. All zero for one member.
  ///
  /// \param forces  of each member (n, 3), eV/Å
  void judge_forces(const std::vector<std::vector<double>> &forces, double unit);
};

} // namespace alrare

#endif
