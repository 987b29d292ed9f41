// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/neighborhood.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <random>
#include <set>
#include <utility>

namespace {

constexpr double cutoff = 5.1, angular_cutoff = 3.5;

/// Atoms in a box without a list: LAMMPS's part, played by brute force.
struct Atoms {
  std::vector<std::vector<double>> x;
  std::vector<int> type;
  std::vector<std::vector<int>> neighbors;
  int n_local;

  std::vector<double *> positions;
  std::vector<int *> first;
  std::vector<int> count, centers;
  std::vector<int> species_of_type = {-1, 0, 1};

  Atoms(int n_atoms, int local, double list_cutoff, unsigned seed) : n_local(local) {
    std::mt19937 generator(seed);
    std::uniform_real_distribution<double> coordinate(0.0, 9.0);
    for (int i = 0; i < n_atoms; ++i) {
      x.push_back({coordinate(generator), coordinate(generator), coordinate(generator)});
      type.push_back(1 + i % 2);
    }
    neighbors.resize(static_cast<std::size_t>(n_atoms));
    for (int i = 0; i < local; ++i) {
      centers.push_back(local - 1 - i); // LAMMPS promises no order
      for (int j = 0; j < n_atoms; ++j)
        if (i != j && distance(i, j) < list_cutoff)
          neighbors[i].push_back(j | (j % 4) << 30); // the special bits of bonded pairs
    }
    for (auto &row : x)
      positions.push_back(row.data());
    for (auto &row : neighbors) {
      first.push_back(row.data());
      count.push_back(static_cast<int>(row.size()));
    }
  }

  double distance(int i, int j) const {
    return std::sqrt(std::pow(x[i][0] - x[j][0], 2) + std::pow(x[i][1] - x[j][1], 2) +
                     std::pow(x[i][2] - x[j][2], 2));
  }

  alrare::NeighborList list() const {
    alrare::NeighborList out{};
    out.n_all = static_cast<int>(x.size());
    out.positions = positions.data();
    out.type = type.data();
    out.species_of_type = species_of_type.data();
    out.n_centers = n_local;
    out.centers = centers.data();
    out.n_neighbors = count.data();
    out.neighbors = first.data();
    out.neighbor_mask = 0x3FFFFFFF;
    return out;
  }
};

} // namespace

TEST_CASE("edges are all pairs of a center within the cutoff, each once") {
  const Atoms atoms(60, 25, cutoff + 2.0, 1);
  alrare::NeighborhoodBuilder builder(cutoff, angular_cutoff);
  const alrare::Neighborhood &hood = builder.build(atoms.list());
  CHECK(hood.n_local == 25);
  CHECK(hood.atom.size() == 60);
  std::set<std::pair<int, int>> expected, got;
  for (int i = 0; i < 25; ++i)
    for (int j = 0; j < 60; ++j)
      if (i != j && atoms.distance(i, j) < cutoff)
        expected.emplace(i, j);
  for (std::size_t e = 0; e < hood.n_edges(); ++e)
    got.emplace(hood.atom[hood.edge_i[e]], hood.atom[hood.edge_j[e]]);
  CHECK(got == expected);
  CHECK(hood.n_edges() == expected.size());
}

TEST_CASE("edges come by center, and vec points from the center to its neighbor") {
  const Atoms atoms(40, 20, cutoff + 2.0, 2);
  alrare::NeighborhoodBuilder builder(cutoff, angular_cutoff);
  const alrare::Neighborhood &hood = builder.build(atoms.list());
  for (std::size_t e = 0; e < hood.n_edges(); ++e) {
    CHECK(hood.edge_i[e] < hood.n_local);
    CHECK(hood.edge_i[e > 0 ? e - 1 : 0] <= hood.edge_i[e]);
    const int i = hood.atom[hood.edge_i[e]], j = hood.atom[hood.edge_j[e]];
    for (int d = 0; d < 3; ++d)
      CHECK(hood.vec[3 * e + d] == atoms.x[j][d] - atoms.x[i][d]);
  }
}

TEST_CASE("triples are all pairs of short edges of one center, each once") {
  const Atoms atoms(60, 30, cutoff + 2.0, 3);
  alrare::NeighborhoodBuilder builder(cutoff, angular_cutoff);
  const alrare::Neighborhood &hood = builder.build(atoms.list());
  const auto is_short = [&](std::size_t e) {
    const double *const v = &hood.vec[3 * e];
    return std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) < angular_cutoff;
  };
  std::set<std::pair<std::int64_t, std::int64_t>> expected, got;
  for (std::size_t a = 0; a < hood.n_edges(); ++a)
    for (std::size_t b = a + 1; b < hood.n_edges(); ++b)
      if (hood.edge_i[a] == hood.edge_i[b] && is_short(a) && is_short(b))
        expected.emplace(a, b);
  for (std::size_t t = 0; t < hood.n_triples(); ++t)
    got.emplace(hood.triples[2 * t], hood.triples[2 * t + 1]);
  CHECK(!expected.empty());
  CHECK(got == expected);
  CHECK(hood.n_triples() == expected.size());
}

TEST_CASE("species follow the map of types") {
  const Atoms atoms(20, 10, cutoff, 4);
  alrare::NeighborhoodBuilder builder(cutoff, angular_cutoff);
  const alrare::Neighborhood &hood = builder.build(atoms.list());
  for (std::size_t row = 0; row < hood.species.size(); ++row)
    CHECK(hood.species[row] == atoms.type[hood.atom[row]] - 1);
}

TEST_CASE("atoms that the model does not see are neither centers nor neighbors") {
  Atoms atoms(40, 20, cutoff, 5);
  atoms.species_of_type = {-1, -1, 0};
  alrare::NeighborhoodBuilder builder(cutoff, angular_cutoff);
  const alrare::Neighborhood &hood = builder.build(atoms.list());
  CHECK(hood.n_local == 10);
  CHECK(hood.species.size() == 20);
  for (const int i : hood.atom)
    CHECK(atoms.type[i] == 2);
  for (const std::int64_t j : hood.edge_j)
    CHECK(j < 20);
}

TEST_CASE("no atoms, and atoms without neighbors, give empty edges") {
  alrare::NeighborhoodBuilder builder(cutoff, angular_cutoff);
  const Atoms busy(30, 15, cutoff, 6), empty(0, 0, cutoff, 7), alone(3, 3, 0.0, 8);
  CHECK(builder.build(busy.list()).n_edges() > 0);
  const alrare::Neighborhood &none = builder.build(empty.list());
  CHECK(none.n_local == 0);
  CHECK(none.species.empty());
  CHECK(none.n_edges() == 0);
  CHECK(none.n_triples() == 0);
  const alrare::Neighborhood &lonely = builder.build(alone.list());
  CHECK(lonely.n_local == 3);
  CHECK(lonely.n_edges() == 0);
  CHECK(lonely.n_triples() == 0);
}

TEST_CASE("atoms at the same place and positions that are no numbers are named") {
  Atoms atoms(8, 4, cutoff, 3);
  alrare::NeighborhoodBuilder builder(cutoff, angular_cutoff);
  atoms.x[6] = atoms.x[2];
  atoms.positions[6] = atoms.x[6].data();
  atoms.neighbors[2].push_back(6);
  atoms.first[2] = atoms.neighbors[2].data();
  ++atoms.count[2];
  auto list = atoms.list();
  list.name_of = [](int i) { return "#" + std::to_string(i); };
  CHECK_THROWS_WITH(builder.build(list), "atoms #2 and #6 are at the same place");
  atoms.x[2][1] = std::nan("");
  CHECK_THROWS_WITH(builder.build(list), "the position of atom #2 is not a number");
}

TEST_CASE("with messages, neighbors have edges as many shells out as messages come from") {
  const Atoms all(150, 150, 4.0, 6); // the list of ghosts, too
  constexpr int n_local = 12, shells = 2;
  constexpr double reach = 2.2;
  alrare::NeighborList list = all.list();
  list.n_centers = n_local;
  std::vector<int> centers(n_local);
  std::iota(centers.begin(), centers.end(), 0);
  list.centers = centers.data();
  list.message_shells = shells;
  alrare::NeighborhoodBuilder builder(reach, 0.0);
  const alrare::Neighborhood &hood = builder.build(list);

  std::set<int> with_edges(centers.begin(), centers.end()), reached = with_edges;
  std::set<std::pair<int, int>> expected, got;
  for (int shell = 0; shell <= shells; ++shell) {
    with_edges = reached;
    for (const int i : with_edges)
      for (int j = 0; j < 150; ++j)
        if (i != j && all.distance(i, j) < reach) {
          expected.emplace(i, j);
          reached.insert(j);
        }
  }
  for (std::size_t e = 0; e < hood.n_edges(); ++e) {
    CHECK(hood.edge_i[e > 0 ? e - 1 : 0] <= hood.edge_i[e]);
    got.emplace(hood.atom[hood.edge_i[e]], hood.atom[hood.edge_j[e]]);
  }
  CHECK(got == expected);
  CHECK(hood.n_edges() == expected.size());
  CHECK(hood.n_local == n_local);
  CHECK(std::set<int>(hood.atom.begin(), hood.atom.end()) == reached);
  CHECK(reached.size() == hood.atom.size());
  CHECK(reached.size() > with_edges.size());
  CHECK(reached.size() < 150);
}

TEST_CASE("edges to copies of owned atoms lead to these, and there are no ghosts") {
  Atoms atoms(40, 20, cutoff, 7);
  std::vector<int> owner(40);
  for (int i = 0; i < 40; ++i)
    owner[i] = i < 20 ? i : (7 * i) % 20;
  for (int i = 20; i < 40; ++i)
    atoms.type[i] = atoms.type[owner[i]];
  alrare::NeighborList list = atoms.list();
  list.owner = owner.data();
  alrare::NeighborhoodBuilder with_copies(cutoff, 0.0), with_ghosts(cutoff, 0.0);
  const alrare::Neighborhood &folded = with_copies.build(list);
  const alrare::Neighborhood &plain = with_ghosts.build(atoms.list());
  CHECK(folded.atom.size() == 20);
  REQUIRE(folded.n_edges() == plain.n_edges());
  CHECK(folded.vec == plain.vec);
  CHECK(folded.edge_i == plain.edge_i);
  for (std::size_t e = 0; e < plain.n_edges(); ++e)
    CHECK(folded.atom[folded.edge_j[e]] == owner[plain.atom[plain.edge_j[e]]]);
}
