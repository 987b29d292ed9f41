// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/neighborhood.h"

#include <cmath>
#include <stdexcept>

namespace alrare {

void NeighborhoodBuilder::add_row(const NeighborList &list, int i) {
  const int species = list.species_of_type[list.type[i]];
  if (species < 0)
    return;
  row_[static_cast<std::size_t>(i)] = static_cast<int>(out_.atom.size());
  out_.atom.push_back(i);
  out_.species.push_back(species);
}

void NeighborhoodBuilder::number_rows(const NeighborList &list) {
  out_.atom.clear();
  out_.species.clear();
  row_.assign(static_cast<std::size_t>(list.n_all), -1);
  for (int c = 0; c < list.n_centers; ++c)
    add_row(list, list.centers[c]);
  out_.n_local = static_cast<int>(out_.atom.size());
  if (list.owner != nullptr)
    for (int i = 0; i < list.n_all; ++i)
      row_[static_cast<std::size_t>(i)] = row_[static_cast<std::size_t>(list.owner[i])];
  else if (list.message_shells == 0)
    number_ghosts(list);
}

void NeighborhoodBuilder::number_ghosts(const NeighborList &list) {
  for (int i = 0; i < list.n_all; ++i)
    if (row_[static_cast<std::size_t>(i)] < 0)
      add_row(list, i);
}

/// Edges of the rows from `begin` to `end`, and rows for those of their neighbors that have none.
void NeighborhoodBuilder::add_shell(const NeighborList &list, std::size_t begin, std::size_t end) {
  for (std::size_t row = begin; row < end; ++row) {
    const int i = out_.atom[row];
    const double *const xi = list.positions[i];
    for (int k = 0; k < list.n_neighbors[i]; ++k) {
      const int j = list.neighbors[i][k] & list.neighbor_mask;
      const double *const xj = list.positions[j];
      const double x = xj[0] - xi[0], y = xj[1] - xi[1], z = xj[2] - xi[2];
      if (row_[static_cast<std::size_t>(j)] < 0 && x * x + y * y + z * z < cutoff_ * cutoff_)
        add_row(list, j);
    }
    add_center(list, static_cast<int>(row));
  }
}

/// Room for `n` more edges after the first `n_edges_`; what is beyond them is never read.
void NeighborhoodBuilder::make_room(std::size_t n) {
  if (out_.edge_i.size() >= n_edges_ + n)
    return;
  out_.edge_i.resize(n_edges_ + 2 * n);
  out_.edge_j.resize(n_edges_ + 2 * n);
  out_.vec.resize(3 * (n_edges_ + 2 * n));
}

void NeighborhoodBuilder::add_center(const NeighborList &list, int center) {
  const int i = out_.atom[static_cast<std::size_t>(center)];
  const double *const xi = list.positions[i];
  const int *const neighbors = list.neighbors[i];
  const int n = list.n_neighbors[i];
  const double cutoff_sq = cutoff_ * cutoff_;
  make_room(static_cast<std::size_t>(n) + 1);
  std::int64_t *const edge_i = out_.edge_i.data() + n_edges_;
  std::int64_t *const edge_j = out_.edge_j.data() + n_edges_;
  double *const vec = out_.vec.data() + 3 * n_edges_;
  std::size_t found = 0;
  bool sound = std::isfinite(xi[0] + xi[1] + xi[2]);
  // branch-free, since half of the list lies outside: always write, advance only if inside
  for (int k = 0; k < n; ++k) {
    const int j = neighbors[k] & list.neighbor_mask;
    const int row = row_[static_cast<std::size_t>(j)];
    const double *const xj = list.positions[j];
    const double x = xj[0] - xi[0], y = xj[1] - xi[1], z = xj[2] - xi[2];
    edge_i[found] = center;
    edge_j[found] = row;
    vec[3 * found] = x;
    vec[3 * found + 1] = y;
    vec[3 * found + 2] = z;
    const double distance_sq = x * x + y * y + z * z;
    const bool near = distance_sq < cutoff_sq;
    sound &= (distance_sq > 0.0) | (row < 0); // not for NaN
    found += static_cast<std::size_t>(near) & static_cast<std::size_t>(row >= 0);
  }
  if (!sound)
    refuse(list, i);
  if (angular_cutoff_ > 0.0)
    add_triples(found);
  n_edges_ += found;
}

void NeighborhoodBuilder::refuse(const NeighborList &list, int i) const {
  const auto name = [&](int k) { return list.name_of ? list.name_of(k) : std::to_string(k); };
  const auto is_number = [&](int k) {
    const double *const x = list.positions[k];
    return std::isfinite(x[0] + x[1] + x[2]);
  };
  if (!is_number(i))
    throw std::runtime_error("the position of atom " + name(i) + " is not a number");
  for (int k = 0; k < list.n_neighbors[i]; ++k) {
    const int j = list.neighbors[i][k] & list.neighbor_mask;
    if (row_[static_cast<std::size_t>(j)] < 0)
      continue;
    if (!is_number(j))
      throw std::runtime_error("the position of atom " + name(j) + " is not a number");
    const double *const a = list.positions[i], *const b = list.positions[j];
    if (a[0] == b[0] && a[1] == b[1] && a[2] == b[2])
      throw std::runtime_error("atoms " + name(i) + " and " + name(j) + " are at the same place");
  }
  throw std::runtime_error("a distance of atom " + name(i) + " is not a number");
}

/// All pairs of the next `n` edges, of one center, that are shorter than the angular cutoff.
void NeighborhoodBuilder::add_triples(std::size_t n) {
  near_edges_.clear();
  for (std::size_t e = n_edges_; e < n_edges_ + n; ++e) {
    const double *const v = &out_.vec[3 * e];
    if (v[0] * v[0] + v[1] * v[1] + v[2] * v[2] < angular_cutoff_ * angular_cutoff_)
      near_edges_.push_back(static_cast<std::int64_t>(e));
  }
  for (std::size_t a = 0; a < near_edges_.size(); ++a)
    for (std::size_t b = a + 1; b < near_edges_.size(); ++b) {
      out_.triples.push_back(near_edges_[a]);
      out_.triples.push_back(near_edges_[b]);
    }
}

std::size_t coinciding_edge(const Neighborhood &hood) {
  const std::size_t n = hood.n_edges();
  std::size_t e = 0;
  while (e < n &&
         (hood.vec[3 * e] != 0.0 || hood.vec[3 * e + 1] != 0.0 || hood.vec[3 * e + 2] != 0.0))
    ++e;
  return e;
}

const Neighborhood &NeighborhoodBuilder::build(const NeighborList &list) {
  number_rows(list);
  n_edges_ = 0;
  out_.triples.clear();
  if (list.message_shells == 0) {
    for (int center = 0; center < out_.n_local; ++center)
      add_center(list, center);
  } else {
    std::size_t begin = 0, end = out_.atom.size();
    for (int shell = 0; shell <= list.message_shells; ++shell) {
      add_shell(list, begin, end);
      begin = end;
      end = out_.atom.size();
    }
  }
  out_.edge_i.resize(n_edges_);
  out_.edge_j.resize(n_edges_);
  out_.vec.resize(3 * n_edges_);
  return out_;
}

void sum_forces(const Neighborhood &hood, const std::vector<double> &gradient, std::size_t n_atoms,
                std::vector<double> &forces) {
  forces.assign(3 * n_atoms, 0.0);
  for (std::size_t e = 0; e < hood.n_edges(); ++e) {
    double *const fi = &forces[3 * hood.atom[hood.edge_i[e]]];
    double *const fj = &forces[3 * hood.atom[hood.edge_j[e]]];
    for (int d = 0; d < 3; ++d) {
      fi[d] += gradient[3 * e + d];
      fj[d] -= gradient[3 * e + d];
    }
  }
}

} // namespace alrare
