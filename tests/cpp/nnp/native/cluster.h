// SPDX-License-Identifier: GPL-2.0-or-later
// A neighbor list as LAMMPS gives it.
#ifndef ALRARE_TESTS_NNP_NATIVE_CLUSTER_H
#define ALRARE_TESTS_NNP_NATIVE_CLUSTER_H

#include "frames.h"
#include "nnp/evaluator.h"

#include <vector>

using alrare::Evaluation;
using alrare::Evaluator;
using alrare::NeighborhoodBuilder;
using alrare::NeighborList;

/// Atoms in no box, each the neighbor of all others.
struct Cluster {
  std::vector<double> positions = many_atoms().positions;
  std::vector<double *> rows;
  std::vector<int> type, species_of_type = {-9, 0, 1, 2, -1}, centers, count;
  std::vector<std::vector<int>> neighbors;
  std::vector<int *> firsts;
  NeighborList list;

  Cluster() {
    const auto n = static_cast<int>(many_atoms().species.size());
    for (int i = 0; i < n; ++i) {
      rows.push_back(&positions[3 * static_cast<std::size_t>(i)]);
      type.push_back(1 + static_cast<int>(many_atoms().species[static_cast<std::size_t>(i)]));
      centers.push_back(i);
      neighbors.emplace_back();
      for (int j = 0; j < n; ++j)
        if (j != i)
          neighbors.back().push_back(j | (1 << 30)); // LAMMPS keeps bits of its own there
      count.push_back(n - 1);
    }
    for (std::vector<int> &of_one : neighbors)
      firsts.push_back(of_one.data());
    list.n_all = list.n_centers = n;
    list.positions = rows.data();
    list.type = type.data();
    list.species_of_type = species_of_type.data();
    list.centers = centers.data();
    list.n_neighbors = count.data();
    list.neighbors = firsts.data();
  }
  Cluster(const Cluster &) = delete;
  Cluster &operator=(const Cluster &) = delete;

  [[nodiscard]] std::vector<double> forces(Evaluator &engine, const std::vector<double> &weights,
                                           std::vector<double> &energies) const {
    NeighborhoodBuilder builder(5.1, 0.0);
    const Neighborhood &hood = builder.build(list);
    Evaluation out;
    engine.evaluate(hood, weights, out);
    energies = out.member_energies;
    std::vector<double> found;
    alrare::sum_forces(hood, out.gradient, static_cast<std::size_t>(list.n_all), found);
    return found;
  }
};

#endif
