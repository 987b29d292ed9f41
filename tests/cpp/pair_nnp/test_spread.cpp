// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/spread.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

using alrare::Neighborhood;
using alrare::Spread;

namespace {

using Forces = std::vector<std::vector<double>>;

/// Three atoms, two of them centers that were rows 2 and 0 of the caller.
Neighborhood chain() {
  Neighborhood hood;
  hood.n_local = 2;
  hood.atom = {2, 0, 1};
  hood.edge_i = {0, 1};
  hood.edge_j = {1, 2};
  return hood;
}

} // namespace

TEST_CASE("the standard deviation has one less than the members in its divisor") {
  const std::vector<double> values = {1.0, -7.0, 3.0, -7.0, 8.0, -7.0};
  CHECK(alrare::standard_deviation(values.data(), 3, 2) == doctest::Approx(std::sqrt(13.0)));
  CHECK(alrare::standard_deviation(values.data() + 1, 3, 2) == 0.0);
  CHECK(alrare::standard_deviation(values.data(), 1) == 0.0);
}

TEST_CASE("energies of the members become a spread in the unit of the run") {
  Spread spread;
  spread.reset(3);
  spread.member_energies = {1.0, 3.0, 8.0};
  spread.judge_energies(2.0);
  CHECK(spread.member_energies == std::vector<double>{2.0, 6.0, 16.0});
  CHECK(spread.energy_std == doctest::Approx(2.0 * std::sqrt(13.0)));
}

TEST_CASE("energies of the atoms are judged center by center") {
  Spread spread;
  spread.reset(3);
  spread.clear_atoms(3);
  spread.judge_atom_energies(chain(), {1.0, 5.0, 3.0, 5.0, 8.0, 5.0}, 2.0);
  CHECK(spread.atom_energy_std[0] == 0.0);
  CHECK(spread.atom_energy_std[1] == 0.0); // no center
  CHECK(spread.atom_energy_std[2] == doctest::Approx(2.0 * std::sqrt(13.0)));
}

TEST_CASE("the deviation of a force is the root mean square of its components'") {
  Spread spread;
  spread.reset(2);
  spread.clear_atoms(2);
  spread.judge_forces(Forces{{1, 0, 0, 3, 4, 0}, {-1, 0, 0, 3, 4, 0}}, 10.0);
  CHECK(spread.atom_force_std[0] == doctest::Approx(10.0 * std::sqrt(2.0 / 3.0)));
  CHECK(spread.atom_force_std[1] == 0.0);
  CHECK(spread.force_std == spread.atom_force_std[0]);
  CHECK(spread.force_max == doctest::Approx(50.0));
}

TEST_CASE("a force that is not a number is an infinite spread") {
  Spread spread;
  spread.reset(2);
  spread.clear_atoms(1);
  spread.judge_forces(Forces{{NAN, 0, 0}, {0, 0, 0}}, 1.0);
  CHECK(spread.force_std == std::numeric_limits<double>::infinity());
  CHECK(spread.force_max == std::numeric_limits<double>::infinity());
}

TEST_CASE("a calibration makes errors of the spread, and no calibration none") {
  Spread spread;
  spread.reset(3);
  spread.energy_std = 2.0;
  spread.force_std = 3.0;
  alrare::Metadata model;
  spread.calibrate(model);
  CHECK(std::isnan(spread.calibrated_energy_std));
  CHECK(std::isnan(spread.calibrated_force_std));
  model.energy_calibration = 2.5;
  model.force_calibration = 1.5;
  spread.calibrate(model);
  CHECK(spread.calibrated_energy_std == 5.0);
  CHECK(spread.calibrated_force_std == 4.5);
}

TEST_CASE("one member, and a rank without atoms, have no spread") {
  Spread spread;
  spread.reset(1);
  spread.clear_atoms(1);
  spread.member_energies = {4.0};
  spread.judge_energies(1.0);
  spread.judge_forces(Forces{{1, 2, 3}}, 1.0);
  CHECK(spread.energy_std == 0.0);
  CHECK(spread.force_std == 0.0);
  CHECK(spread.force_max == 0.0);
  spread.reset(2);
  spread.clear_atoms(0);
  spread.judge_forces(Forces{{}, {}}, 1.0);
  CHECK(spread.force_std == 0.0);
  CHECK(!spread.atom_force_std.empty()); // its address is handed out
}
