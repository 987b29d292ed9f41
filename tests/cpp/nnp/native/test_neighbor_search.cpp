// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/neighbor_search.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

using alrare::Neighborhood;
using alrare::native::Box;
using doctest::Contains;

TEST_CASE("the neighbor search finds what all pairs of images give") {
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> uniform(-20.0, 20.0);
  const std::array<double, 9> cells[] = {{9, 0, 0, 0, 11, 0, 0, 0, 13},
                                         {4, 0, 0, 1.5, 3, 0, -1, 0.8, 5},
                                         {14, 0, 0, -6, 12, 0, 5, 5, 9}};
  for (const auto &cell : cells)
    for (int periodic = 0; periodic < 8; ++periodic) {
      std::vector<double> positions(3 * 12);
      for (double &x : positions)
        x = uniform(random);
      const std::vector<std::int64_t> species(12, 0);
      Box box;
      box.n_atoms = 12;
      box.positions = positions.data();
      box.species = species.data();
      box.cell = cell;
      box.periodic = {(periodic & 1) != 0, (periodic & 2) != 0, (periodic & 4) != 0};
      const double cutoff = 5.1;
      std::size_t expected = 0;
      double squares = 0.0;
      std::array<int, 3> reach;
      for (std::size_t d = 0; d < 3; ++d)
        reach[d] = box.periodic[d] ? 22 : 0;
      for (std::size_t i = 0; i < 12; ++i)
        for (std::size_t j = 0; j < 12; ++j)
          for (int a = -reach[0]; a <= reach[0]; ++a)
            for (int b = -reach[1]; b <= reach[1]; ++b)
              for (int c = -reach[2]; c <= reach[2]; ++c) {
                double r = 0.0;
                for (std::size_t d = 0; d < 3; ++d) {
                  const double x = positions[3 * j + d] - positions[3 * i + d] + a * cell[d] +
                                   b * cell[3 + d] + c * cell[6 + d];
                  r += x * x;
                }
                if (r < cutoff * cutoff && !(i == j && a == 0 && b == 0 && c == 0)) {
                  ++expected;
                  squares += r;
                }
              }
      const Neighborhood found = alrare::native::find_neighbors(box, cutoff);
      double sum = 0.0;
      for (const double x : found.vec)
        sum += x * x;
      CHECK(found.n_edges() == expected);
      CHECK(std::fabs(sum - squares) < 1e-6);
      CHECK(std::is_sorted(found.edge_i.begin(), found.edge_i.end()));
    }
}

TEST_CASE("the neighbor search refuses flat cells and positions that are not finite") {
  std::vector<double> positions{0.0, 0.0, NAN};
  const std::vector<std::int64_t> species{0};
  Box box;
  box.n_atoms = 1;
  box.positions = positions.data();
  box.species = species.data();
  CHECK_THROWS_WITH(alrare::native::find_neighbors(box, 5.1), Contains("positions must be finite"));
  positions[2] = 0.0;
  box.periodic = {true, true, false};
  box.cell = {5, 0, 0, 10, 0, 0, 0, 0, 5};
  CHECK_THROWS_WITH(alrare::native::find_neighbors(box, 5.1), Contains("flat"));
  box.cell = {0.02, 0, 0, 0, 5, 0, 0, 0, 5};
  CHECK_THROWS_WITH(alrare::native::find_neighbors(box, 5.1),
                    Contains("thick in periodic direction 0"));
  box.cell = {};
  CHECK_THROWS_WITH(alrare::native::find_neighbors(box, 5.1), Contains("longer than"));
}
