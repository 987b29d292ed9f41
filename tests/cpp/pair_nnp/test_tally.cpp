// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/tally.h"

#include <doctest/doctest.h>

#include <array>
#include <vector>

using alrare::Neighborhood;

namespace {

/// Two centers, atoms 2 and 0 of the caller, and a ghost, atom 1.
Neighborhood chain() {
  Neighborhood hood;
  hood.n_local = 2;
  hood.atom = {2, 0, 1};
  hood.edge_i = {0, 1};
  hood.edge_j = {1, 2};
  hood.vec = {1, 2, 3, -1, 0, 2};
  return hood;
}

const std::vector<double> gradient = {1, 0, 2, 3, 1, 0};

/// Rows of zeros, as LAMMPS holds them.
template <std::size_t Width> struct Rows {
  std::array<std::array<double, Width>, 3> values{};
  std::array<double *, 3> first{values[0].data(), values[1].data(), values[2].data()};
  double sum(std::size_t k) const { return values[0][k] + values[1][k] + values[2][k]; }
};

} // namespace

TEST_CASE("forces add up to zero and lie at the caller's atoms, in the unit of the run") {
  std::vector<double> summed = {9.0};
  alrare::sum_forces(chain(), gradient, 4, summed);
  CHECK(summed == std::vector<double>{2, 1, -2, -3, -1, 0, 1, 0, 2, 0, 0, 0});

  Rows<3> forces;
  summed.resize(9);
  alrare::add_forces(summed, 2.0, forces.first.data());
  CHECK(forces.values[2] == std::array<double, 3>{2, 0, 4});
  CHECK(forces.values[0] == std::array<double, 3>{4, 2, -4});
  CHECK(forces.values[1] == std::array<double, 3>{-6, -2, 0});
}

TEST_CASE("virials of the atoms add up to that of the system") {
  std::array<double, 6> total{};
  Rows<6> atoms;
  Rows<9> centroid;
  alrare::add_virials(chain(), gradient, 2.0,
                      {total.data(), atoms.first.data(), centroid.first.data()});
  CHECK(total == std::array<double, 6>{4, 0, -12, 2, -4, -8});
  for (std::size_t k = 0; k < 6; ++k) {
    CHECK(atoms.sum(k) == total[k]);
    CHECK(centroid.sum(k) == total[k]);
  }
}

TEST_CASE("the centroid virial is that of the neighbor about the center") {
  Rows<9> centroid;
  alrare::add_virials(chain(), gradient, 1.0, {nullptr, nullptr, centroid.first.data()});
  CHECK(centroid.values[2] == std::array<double, 9>{});
  CHECK(centroid.values[0] == std::array<double, 9>{-1, 0, -6, 0, -2, -4, -2, -3, 0});
  CHECK(centroid.values[1] == std::array<double, 9>{3, 0, 0, 1, 0, 0, 0, -6, -2});
}
