// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_NEIGHBOR_SEARCH_H
#define ALRARE_NNP_NATIVE_NEIGHBOR_SEARCH_H

#include "nnp/neighborhood.h"

#include <array>
#include <cstdint>

namespace alrare::native {

/// A box of atoms: what ASE calls positions, cell and pbc.
struct Box {
  int n_atoms = 0;
  const double *positions = nullptr;     ///< (N, 3), Å; periodic ones may lie outside the cell
  const std::int64_t *species = nullptr; ///< (N)
  std::array<double, 9> cell{};          ///< rows are the vectors, Å; zero rows where not periodic
  std::array<bool, 3> periodic{};
};

/// All edges shorter than `cutoff`, through cells of about that width: linear in the atoms.
///
/// Triclinic boxes, boxes smaller than the cutoff (an atom may see several images of another, and
/// of itself), and any mix of periodic and open directions. Triples are left empty.
/// \throws std::runtime_error when a position is not finite, or the cell of a periodic direction is
/// flat.
Neighborhood find_neighbors(const Box &box, double cutoff);

} // namespace alrare::native

#endif
