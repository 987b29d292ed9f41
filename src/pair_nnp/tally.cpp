// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/tally.h"

namespace alrare {

void add_forces(const std::vector<double> &from, double unit, double *const *forces) {
  for (std::size_t i = 0; 3 * i < from.size(); ++i)
    for (int d = 0; d < 3; ++d)
      forces[i][d] += unit * from[3 * i + d];
}

void add_weighted(const std::vector<double> &weights,
                  const std::vector<std::vector<double>> &of_members, std::vector<double> &sum) {
  for (std::size_t m = 0; m < weights.size(); ++m)
    for (std::size_t k = 0; k < sum.size() && weights[m] != 0.0; ++k)
      sum[k] += weights[m] * of_members[m][k];
}

void add_virials(const Neighborhood &hood, const std::vector<double> &gradient, double unit,
                 const Virials &out) {
  static const int row[9] = {0, 1, 2, 0, 0, 1, 1, 2, 2}, column[9] = {0, 1, 2, 1, 2, 2, 0, 0, 1};
  for (std::size_t e = 0; e < hood.n_edges(); ++e) {
    const int i = hood.atom[hood.edge_i[e]], j = hood.atom[hood.edge_j[e]];
    double virial[9];
    for (int k = 0; k < 9; ++k)
      virial[k] = -unit * hood.vec[3 * e + row[k]] * gradient[3 * e + column[k]];
    for (int k = 0; k < 6 && out.total != nullptr; ++k)
      out.total[k] += virial[k];
    for (int k = 0; k < 6 && out.atom != nullptr; ++k) {
      out.atom[i][k] += 0.5 * virial[k];
      out.atom[j][k] += 0.5 * virial[k];
    }
    for (int k = 0; k < 9 && out.centroid != nullptr; ++k)
      out.centroid[j][k] += virial[k];
  }
}

} // namespace alrare
