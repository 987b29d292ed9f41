// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/neighbor_search.h"

#include "nnp/native/size.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

namespace alrare::native {

namespace {

using Vec = std::array<double, 3>;

Vec cross(const Vec &a, const Vec &b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}
double dot(const Vec &a, const Vec &b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
double norm(const Vec &a) { return std::sqrt(dot(a, a)); }

Vec unit(const Vec &a) {
  const double length = norm(a);
  return {a[0] / length, a[1] / length, a[2] / length};
}

/// The box's vectors, with open directions made up: perpendicular to the periodic ones.
std::array<Vec, 3> whole_cell(const Box &box) {
  std::array<Vec, 3> out{};
  std::vector<int> open;
  for (int d = 0; d < 3; ++d) {
    if (!box.periodic[size(d)]) {
      open.push_back(d);
      continue;
    }
    for (int c = 0; c < 3; ++c)
      out[size(d)][size(c)] = box.cell[size(3 * d + c)];
    if (!(norm(out[size(d)]) > 1e-3) || !std::isfinite(norm(out[size(d)])))
      throw std::runtime_error("the cell vector of periodic direction " + std::to_string(d) +
                               " must be longer than 0.001 Å");
  }
  if (open.size() == 3)
    return {Vec{1, 0, 0}, Vec{0, 1, 0}, Vec{0, 0, 1}};
  if (open.size() == 2) {
    const int d = 3 - open[0] - open[1];
    const Vec along = unit(out[size(d)]);
    const Vec aside = std::fabs(along[0]) < 0.8 ? Vec{1, 0, 0} : Vec{0, 1, 0};
    out[size((d + 1) % 3)] = unit(cross(along, aside));
    out[size((d + 2) % 3)] = cross(along, out[size((d + 1) % 3)]);
  } else if (open.size() == 1) {
    const Vec across = cross(out[size((open[0] + 1) % 3)], out[size((open[0] + 2) % 3)]);
    if (norm(across) > 0.0)
      out[size(open[0])] = unit(across);
  }
  const double volume = std::fabs(dot(out[0], cross(out[1], out[2])));
  if (!(volume > 1e-6 * norm(out[0]) * norm(out[1]) * norm(out[2])))
    throw std::runtime_error("the cell is flat: its periodic vectors lie in one plane");
  return out;
}

/// Atoms sorted into cells, in coordinates along the box's vectors.
class Grid {
public:
  Grid(const Box &box, double cutoff) : box_(box), cutoff_(cutoff), cell_(whole_cell(box)) {
    const double volume = dot(cell_[0], cross(cell_[1], cell_[2]));
    for (int d = 0; d < 3; ++d) {
      inverse_[size(d)] = cross(cell_[size((d + 1) % 3)], cell_[size((d + 2) % 3)]);
      for (double &value : inverse_[size(d)])
        value /= volume;
    }
    place_atoms();
    choose_cells();
    sort_atoms();
  }

  void neighbors_of(int i, Neighborhood &out) const {
    const Vec here = wrapped(i);
    std::array<int, 3> home = cell_of(i), step{};
    for (step[0] = -reach_[0]; step[0] <= reach_[0]; ++step[0])
      for (step[1] = -reach_[1]; step[1] <= reach_[1]; ++step[1])
        for (step[2] = -reach_[2]; step[2] <= reach_[2]; ++step[2])
          visit(i, here, home, step, out);
  }

private:
  /// Coordinates along the vectors: in [0, 1) where periodic; elsewhere from 0 to the extent.
  void place_atoms() {
    const auto n = size(box_.n_atoms);
    along_.resize(n);
    shift_.resize(n);
    Vec low{};
    for (std::size_t i = 0; i < n; ++i) {
      const Vec position{box_.positions[3 * i], box_.positions[3 * i + 1],
                         box_.positions[3 * i + 2]};
      for (std::size_t d = 0; d < 3; ++d) {
        if (!std::isfinite(position[d]) || std::fabs(position[d]) > 1e8)
          throw std::runtime_error("positions must be finite and below 1e8 Å, atom " +
                                   std::to_string(i) + " is not");
        along_[i][d] = dot(position, inverse_[d]);
        shift_[i][d] = box_.periodic[d] ? -std::floor(along_[i][d]) : 0.0;
        along_[i][d] += shift_[i][d];
        low[d] = i == 0 ? along_[i][d] : std::min(low[d], along_[i][d]);
      }
    }
    for (std::size_t d = 0; d < 3; ++d) {
      extent_[d] = 1.0;
      if (box_.periodic[d])
        continue;
      extent_[d] = 1e-9;
      for (Vec &coordinates : along_) {
        coordinates[d] -= low[d];
        extent_[d] = std::max(extent_[d], coordinates[d]);
      }
    }
  }

  void choose_cells() {
    // at most about one cell per atom in a direction: an empty box must not cost memory
    const int most = std::max(1, static_cast<int>(std::cbrt(8.0 * box_.n_atoms)));
    for (std::size_t d = 0; d < 3; ++d) {
      const double height = extent_[d] / norm(inverse_[d]); // between the faces, Å
      cells_[d] = static_cast<int>(std::min<double>(most, std::max(1.0, height / cutoff_)));
      const double reach = std::ceil(cutoff_ * cells_[d] / height);
      if (box_.periodic[d] && reach > 100.0)
        throw std::runtime_error("the cell is only " + std::to_string(height) +
                                 " Å thick in periodic direction " + std::to_string(d));
      reach_[d] = static_cast<int>(box_.periodic[d] ? reach : std::min(reach, cells_[d] - 1.0));
    }
  }

  std::array<int, 3> cell_of(int i) const {
    std::array<int, 3> out;
    for (std::size_t d = 0; d < 3; ++d)
      out[d] = std::clamp(static_cast<int>(along_[size(i)][d] / extent_[d] * cells_[d]), 0,
                          cells_[d] - 1);
    return out;
  }

  std::size_t index(const std::array<int, 3> &cell) const {
    return (size(cell[0]) * size(cells_[1]) + size(cell[1])) * size(cells_[2]) + size(cell[2]);
  }

  void sort_atoms() {
    start_.assign(size(cells_[0]) * size(cells_[1]) * size(cells_[2]) + 1, 0);
    for (int i = 0; i < box_.n_atoms; ++i)
      ++start_[index(cell_of(i)) + 1];
    for (std::size_t c = 1; c < start_.size(); ++c)
      start_[c] += start_[c - 1];
    sorted_.resize(size(box_.n_atoms));
    places_.resize(sorted_.size());
    std::vector<int> next(start_.begin(), start_.end() - 1);
    for (int i = 0; i < box_.n_atoms; ++i) {
      const auto at = size(next[index(cell_of(i))]++);
      sorted_[at] = i;
      places_[at] = wrapped(i);
    }
  }

  /// The position moved into the cell, from the given one: no rounding where nothing moves.
  Vec wrapped(int i) const {
    Vec out;
    for (std::size_t c = 0; c < 3; ++c)
      out[c] = box_.positions[3 * size(i) + c] + shift_[size(i)][0] * cell_[0][c] +
               shift_[size(i)][1] * cell_[1][c] + shift_[size(i)][2] * cell_[2][c];
    return out;
  }

  void visit(int i, const Vec &here, const std::array<int, 3> &home, const std::array<int, 3> &step,
             Neighborhood &out) const {
    std::array<int, 3> cell;
    Vec image{};
    bool same_image = true;
    for (std::size_t d = 0; d < 3; ++d) {
      cell[d] = home[d] + step[d];
      int turns = 0;
      if (cell[d] < 0 || cell[d] >= cells_[d]) {
        if (!box_.periodic[d])
          return;
        turns = static_cast<int>(std::floor(static_cast<double>(cell[d]) / cells_[d]));
        cell[d] -= turns * cells_[d];
      }
      same_image = same_image && turns == 0;
      for (std::size_t c = 0; c < 3; ++c)
        image[c] += turns * cell_[d][c];
    }
    const std::size_t at = index(cell);
    for (int k = start_[at]; k < start_[at + 1]; ++k) {
      const int j = sorted_[size(k)];
      if (same_image && j == i)
        continue;
      const Vec &there = places_[size(k)];
      const Vec vec{there[0] - here[0] + image[0], there[1] - here[1] + image[1],
                    there[2] - here[2] + image[2]};
      if (!(dot(vec, vec) < cutoff_ * cutoff_))
        continue;
      out.edge_i.push_back(i);
      out.edge_j.push_back(j);
      out.vec.insert(out.vec.end(), vec.begin(), vec.end());
    }
  }

  const Box &box_;
  double cutoff_;
  std::array<Vec, 3> cell_, inverse_;
  Vec extent_{};
  std::array<int, 3> cells_{}, reach_{};
  std::vector<Vec> along_, shift_, places_;
  std::vector<int> start_, sorted_;
};

} // namespace

Neighborhood find_neighbors(const Box &box, double cutoff) {
  if (!(cutoff > 0.0))
    throw std::runtime_error("the cutoff must be > 0");
  Neighborhood out;
  out.n_local = box.n_atoms;
  out.species.assign(box.species, box.species + box.n_atoms);
  for (int i = 0; i < box.n_atoms; ++i)
    out.atom.push_back(i);
  if (box.n_atoms == 0)
    return out;
  const Grid grid(box, cutoff);
  for (int i = 0; i < box.n_atoms; ++i)
    grid.neighbors_of(i, out);
  return out;
}

} // namespace alrare::native
