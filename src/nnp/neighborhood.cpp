// SPDX-License-Identifier: GPL-2.0-or-later
#include "neighborhood.h"

namespace alrare {

void NeighborhoodBuilder::number_rows(const NeighborList &list) {
  out_.atom.clear();
  out_.species.clear();
  row_.assign(static_cast<std::size_t>(list.n_all), -1);
  const auto add = [&](int i) {
    const int species = list.species_of_type[list.type[i]];
    if (species < 0)
      return;
    row_[static_cast<std::size_t>(i)] = static_cast<int>(out_.atom.size());
    out_.atom.push_back(i);
    out_.species.push_back(species);
  };
  for (int c = 0; c < list.n_centers; ++c)
    add(list.centers[c]);
  out_.n_local = static_cast<int>(out_.atom.size());
  for (int i = 0; i < list.n_all; ++i)
    if (row_[static_cast<std::size_t>(i)] < 0)
      add(i);
}

void NeighborhoodBuilder::add_center(const NeighborList &list, int center) {
  const int i = out_.atom[static_cast<std::size_t>(center)];
  const double *const xi = list.positions[i];
  const double cutoff_sq = cutoff_ * cutoff_;
  const double angular_sq = angular_cutoff_ * angular_cutoff_;
  near_edges_.clear();
  for (int k = 0; k < list.n_neighbors[i]; ++k) {
    const int j = list.neighbors[i][k] & list.neighbor_mask;
    const int row = row_[static_cast<std::size_t>(j)];
    if (row < 0)
      continue;
    const double *const xj = list.positions[j];
    const double d[3] = {xj[0] - xi[0], xj[1] - xi[1], xj[2] - xi[2]};
    const double rsq = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
    if (!(rsq < cutoff_sq)) // also leaves out NaN
      continue;
    if (rsq < angular_sq)
      near_edges_.push_back(static_cast<std::int64_t>(out_.n_edges()));
    out_.edge_i.push_back(center);
    out_.edge_j.push_back(row);
    out_.vec.insert(out_.vec.end(), d, d + 3);
  }
  for (std::size_t a = 0; a < near_edges_.size(); ++a)
    for (std::size_t b = a + 1; b < near_edges_.size(); ++b) {
      out_.triples.push_back(near_edges_[a]);
      out_.triples.push_back(near_edges_[b]);
    }
}

const Neighborhood &NeighborhoodBuilder::build(const NeighborList &list) {
  number_rows(list);
  out_.edge_i.clear();
  out_.edge_j.clear();
  out_.vec.clear();
  out_.triples.clear();
  for (int center = 0; center < out_.n_local; ++center)
    add_center(list, center);
  return out_;
}

} // namespace alrare
