// SPDX-License-Identifier: GPL-2.0-or-later
#include "bindings/bindings.h"
#include "nnp/native/neighbor_search.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace py = pybind11;

alrare::Neighborhood alrare::neighbors(const Integers &species, const Doubles &positions,
                                       const std::optional<Doubles> &cell,
                                       const std::array<bool, 3> &pbc, double cutoff) {
  if (positions.ndim() != 2 || positions.shape(1) != 3)
    throw std::invalid_argument("positions must have shape (N, 3)");
  if (species.ndim() != 1 || species.shape(0) != positions.shape(0))
    throw std::invalid_argument("species must have shape (N,), one entry per position");
  alrare::native::Box box;
  box.n_atoms = static_cast<int>(positions.shape(0));
  box.positions = positions.data();
  box.species = species.data();
  box.periodic = pbc;
  if (cell) {
    if (cell->ndim() != 2 || cell->shape(0) != 3 || cell->shape(1) != 3)
      throw std::invalid_argument("cell must have shape (3, 3)");
    std::copy_n(cell->data(), 9, box.cell.begin());
  }
  return alrare::native::find_neighbors(box, cutoff);
}

alrare::Neighborhood alrare::distinct_neighbors(const Integers &species, const Doubles &positions,
                                                const std::optional<Doubles> &cell,
                                                const std::array<bool, 3> &pbc, double cutoff) {
  alrare::Neighborhood hood = neighbors(species, positions, cell, pbc, cutoff);
  const std::size_t e = coinciding_edge(hood);
  if (e < hood.n_edges())
    throw std::runtime_error("atoms " + std::to_string(hood.edge_i[e]) + " and " +
                             std::to_string(hood.edge_j[e]) +
                             " (counted from 0) are at the same place");
  return hood;
}
