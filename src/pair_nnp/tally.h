// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_PAIR_NNP_TALLY_H
#define ALRARE_PAIR_NNP_TALLY_H

#include "nnp/neighborhood.h"

#include <vector>

/// What one evaluation adds to the arrays of LAMMPS. `gradient` is (E, 3), d(energy)/d(edge vector)
/// in eV/Å; `unit` leads from eV to the energy unit of the run.
namespace alrare {

/// Forces (N, 3) in eV/Å on the caller's atoms, ghosts included: those of sum_forces().
void add_forces(const std::vector<double> &from, double unit, double *const *forces);

/// Adds the weighted sum of one list of values for each member.
void add_weighted(const std::vector<double> &weights,
                  const std::vector<std::vector<double>> &of_members, std::vector<double> &sum);

/// Where virials are added; null where they are not wanted.
struct Virials {
  double *total;           ///< (6) xx yy zz xy xz yz
  double *const *atom;     ///< (N, 6) each edge half and half to its two atoms
  double *const *centroid; ///< (N, 9) xx yy zz xy xz yz yx zx zy, each edge to its neighbor
};

/// Virials edge by edge, -vec x gradient.
///
/// An edge is part of its center's energy alone. The centroid virial, which a heat flux needs, is
/// therefore all its neighbor's: (r_j - r_i) x F_j (Fan et al., Phys. Rev. B 92, 094301, 2015).
void add_virials(const Neighborhood &hood, const std::vector<double> &gradient, double unit,
                 const Virials &out);

} // namespace alrare

#endif
