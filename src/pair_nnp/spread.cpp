// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/spread.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace alrare {

namespace {

/// std::max passes over what is not a number, and MPI's maximum may keep it or not.
double nan_as_infinity(double value) {
  return std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
}

} // namespace

double standard_deviation(const double *values, int members, std::size_t step) {
  if (members < 2)
    return 0.0;
  const auto end = static_cast<std::size_t>(members) * step;
  double mean = 0.0, squares = 0.0;
  for (std::size_t k = 0; k < end; k += step)
    mean += values[k] / members;
  for (std::size_t k = 0; k < end; k += step)
    squares += (values[k] - mean) * (values[k] - mean);
  return std::sqrt(squares / (members - 1));
}

void Spread::reset(int members) {
  energy_std = force_std = force_max = calibrated_energy_std = calibrated_force_std = 0.0;
  member_energies.assign(static_cast<std::size_t>(members), 0.0);
}

void Spread::clear_atoms(int n_atoms) {
  const auto n = static_cast<std::size_t>(std::max(1, n_atoms));
  atom_energy_std.assign(n, 0.0);
  atom_force_std.assign(n, 0.0);
}

void Spread::calibrate(const Metadata &model) {
  calibrated_energy_std = model.energy_calibration * energy_std;
  calibrated_force_std = model.force_calibration * force_std;
}

void Spread::judge_energies(double unit) {
  for (double &energy : member_energies)
    energy *= unit;
  energy_std = standard_deviation(member_energies.data(), static_cast<int>(member_energies.size()));
}

void Spread::judge_atom_energies(const Neighborhood &hood,
                                 const std::vector<double> &center_energies, double unit) {
  const auto n = static_cast<std::size_t>(hood.n_local);
  const auto members = static_cast<int>(member_energies.size());
  for (std::size_t c = 0; c < n; ++c)
    atom_energy_std[hood.atom[c]] = unit * standard_deviation(&center_energies[c], members, n);
}

void Spread::judge_forces(const std::vector<std::vector<double>> &forces, double unit) {
  const auto members = static_cast<int>(forces.size());
  force_std = force_max = 0.0;
  if (members < 2)
    return;
  for (std::size_t i = 0; 3 * i < forces[0].size(); ++i) {
    double squares = 0.0, norm = 0.0;
    for (std::size_t k = 3 * i; k < 3 * i + 3; ++k) {
      double mean = 0.0;
      for (const std::vector<double> &force : forces)
        mean += force[k];
      mean /= members;
      norm += mean * mean;
      // two passes over the members: sums of squares would cancel where members agree
      for (const std::vector<double> &force : forces)
        squares += (force[k] - mean) * (force[k] - mean);
    }
    atom_force_std[i] = unit * std::sqrt(squares / (members - 1) / 3.0);
    force_std = std::max(force_std, nan_as_infinity(atom_force_std[i]));
    force_max = std::max(force_max, nan_as_infinity(unit * std::sqrt(norm)));
  }
}

} // namespace alrare
