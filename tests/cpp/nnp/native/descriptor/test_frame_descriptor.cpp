// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/descriptor/frame_descriptor.h"
#include "nnp/native/neighbor_search.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

using doctest::Contains;

namespace {

using alrare::AevConstants;
using alrare::Neighborhood;
using alrare::native::Box;
using alrare::native::FrameDescriptor;
using alrare::native::SparseDescriptors;

const AevConstants constants{5.1,
                             3.5,
                             19.7,
                             12.5,
                             14.1,
                             {0.8, 1.5, 2.2, 2.9, 3.6},
                             {0.8, 1.3, 1.9, 2.4, 2.9},
                             {0.4, 1.2, 1.9, 2.7}};

/// More atoms of two elements than a tile holds, on a distorted grid.
struct Cluster {
  std::vector<double> positions;
  std::vector<std::int64_t> species;
  std::mt19937 engine{3};

  Cluster() {
    std::uniform_real_distribution<double> shift(-0.3, 0.3);
    for (int k = 0; k < 60; ++k) {
      species.push_back(k % 3 == 0);
      for (const int at : {k % 4, k / 4 % 4, k / 16})
        positions.push_back(1.6 * at + shift(engine));
    }
  }

  Neighborhood neighbors() const {
    Box box;
    box.n_atoms = static_cast<int>(species.size());
    box.positions = positions.data();
    box.species = species.data();
    return alrare::native::find_neighbors(box, constants.radial_cutoff);
  }
};

/// Change of every feature when the atoms move by `step` (N, 3), from the sparse Jacobian.
std::vector<double> linear_change(const Neighborhood &edges, const SparseDescriptors &found,
                                  const FrameDescriptor &descriptor,
                                  const std::vector<double> &step) {
  const auto features = static_cast<std::size_t>(descriptor.n_features());
  const auto radial = static_cast<std::size_t>(descriptor.radial_length());
  const auto length = static_cast<std::size_t>(descriptor.angular_length());
  std::vector<double> out(found.aev.size());
  const auto moved = [&](std::size_t e, std::size_t axis) {
    return step[3 * static_cast<std::size_t>(edges.edge_j[e]) + axis] -
           step[3 * static_cast<std::size_t>(edges.edge_i[e]) + axis];
  };
  const auto add = [&](std::size_t e, std::size_t feature, double value) {
    out[static_cast<std::size_t>(edges.edge_i[e]) * features + feature] += value;
  };
  const auto species = [&](std::size_t e) {
    return static_cast<std::size_t>(edges.species[static_cast<std::size_t>(edges.edge_j[e])]);
  };
  for (std::size_t e = 0; e < edges.n_edges(); ++e)
    for (std::size_t axis = 0; axis < 3; ++axis)
      for (std::size_t k = 0; k < radial; ++k)
        add(e, species(e) * radial + k,
            static_cast<double>(found.slope[e * radial + k] * found.unit[3 * e + axis]) *
                moved(e, axis));
  for (std::size_t a = 0; a < found.short_edges.size(); ++a) {
    const auto e = static_cast<std::size_t>(found.short_edges[a]);
    for (std::size_t axis = 0; axis < 3; ++axis)
      for (std::size_t t = 0; t < 2; ++t)
        for (std::size_t k = 0; k < length; ++k) // blocks (0, 0), (0, 1), (1, 1)
          add(e, 2 * radial + (species(e) + t) * length + k,
              static_cast<double>(found.jacobian[((3 * a + axis) * 2 + t) * length + k]) *
                  moved(e, axis));
  }
  return out;
}

TEST_CASE("the sparse Jacobian is the change of the descriptor with the positions") {
  Cluster cluster;
  FrameDescriptor descriptor(constants, 2);
  SparseDescriptors here, before, after;
  const Neighborhood edges = cluster.neighbors();
  descriptor.compute(edges, here);
  CHECK(!here.short_edges.empty());
  CHECK(here.short_edges.size() < edges.n_edges());
  std::normal_distribution<double> normal(0.0, 1e-3);
  std::vector<double> step(cluster.positions.size());
  std::generate(step.begin(), step.end(), [&] { return normal(cluster.engine); });
  const std::vector<double> start = cluster.positions;
  for (const int side : {-1, 1}) {
    for (std::size_t k = 0; k < step.size(); ++k)
      cluster.positions[k] = start[k] + side * step[k];
    descriptor.compute(cluster.neighbors(), side < 0 ? before : after);
  }
  const std::vector<double> expected = linear_change(edges, here, descriptor, step);
  double worst = 0.0, largest = 0.0;
  for (std::size_t k = 0; k < expected.size(); ++k) {
    const double change = 0.5 * static_cast<double>(after.aev[k] - before.aev[k]);
    worst = std::max(worst, std::fabs(change - expected[k]));
    largest = std::max(largest, std::fabs(change));
  }
  CHECK(largest > 1e-3);
  CHECK(worst < 2e-6 + 1e-3 * largest);
}

TEST_CASE("constants that make no descriptor are refused in one sentence") {
  AevConstants wrong = constants;
  wrong.zeta = 0.5;
  CHECK_THROWS_WITH(FrameDescriptor(wrong, 2), Contains("zeta must be >= 1, got 0.5"));
  wrong = constants;
  wrong.radial_shifts.clear();
  CHECK_THROWS_WITH(FrameDescriptor(wrong, 2),
                    Contains("radial_shifts must be a list of 1 to 1024 numbers"));
  CHECK_THROWS_WITH(FrameDescriptor(constants, 0),
                    Contains("the number of elements must be 1 to 118, got 0"));
}

} // namespace
