// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/descriptor/frame_descriptor.h"

#include "nnp/native/kernels/instruction_set.h"
#include "nnp/native/size.h"

#include <algorithm>
#include <numeric>

namespace alrare::native {

FrameDescriptor::FrameDescriptor(const AevConstants &constants, int n_elements,
                                 const std::string &instruction_set)
    : kernels_(find_kernels(instruction_set)), descriptor_(constants, n_elements),
      builder_(descriptor_, LayerSizes{}, kernels_) {}

void FrameDescriptor::list_short_edges(const Neighborhood &neighborhood, SparseDescriptors &out) {
  const double cutoff = descriptor_.angular_cutoff();
  short_row_.assign(neighborhood.n_edges(), -1);
  out.short_edges.clear();
  const double *vec = neighborhood.vec.data();
  for (std::size_t e = 0; e < neighborhood.n_edges(); ++e, vec += 3)
    if (vec[0] * vec[0] + vec[1] * vec[1] + vec[2] * vec[2] < cutoff * cutoff) {
      short_row_[e] = static_cast<std::int64_t>(out.short_edges.size());
      out.short_edges.push_back(static_cast<std::int64_t>(e));
    }
}

void FrameDescriptor::compute(const Neighborhood &neighborhood, SparseDescriptors &out) {
  const std::size_t n_edges = neighborhood.n_edges(), n_atoms = size(neighborhood.n_local);
  first_edge_.assign(n_atoms + 1, 0);
  for (const std::int64_t i : neighborhood.edge_i)
    ++first_edge_[size(i) + 1];
  std::partial_sum(first_edge_.begin(), first_edge_.end(), first_edge_.begin());
  list_short_edges(neighborhood, out);
  out.aev.assign(n_atoms * size(n_features()), 0.0f);
  out.length.assign(n_edges, 0.0f);
  out.unit.assign(3 * n_edges, 0.0f);
  out.slope.assign(n_edges * size(radial_length()), 0.0f);
  out.jacobian.assign(out.short_edges.size() * 3 * size(n_elements() * angular_length()), 0.0f);

  std::vector<int> centers(n_atoms);
  std::iota(centers.begin(), centers.end(), 0);
  for (int first = 0; first < neighborhood.n_local; first += max_tile) {
    const int n = std::min(max_tile, neighborhood.n_local - first);
    const Tile &tile = builder_.build(neighborhood, first_edge_.data(), &centers[size(first)], n);
    kernels_.aev_forward(descriptor_.tables(), tile);
    add_tile(neighborhood, tile, first, out);
  }
}

void FrameDescriptor::add_tile(const Neighborhood &neighborhood, const Tile &tile, int first_center,
                               SparseDescriptors &out) {
  const AevTables &tables = descriptor_.tables();
  const std::vector<std::int64_t> &edges = builder_.edges();
  const std::vector<int> &places = descriptor_.feature_places();
  const std::vector<int> &pair_places = descriptor_.pair_places();
  const std::size_t row_size = size(tables.n_species) * size(tables.pair_size());
  slot_species_.assign(size(tile.n_slots), 0);
  for (std::size_t slot = 0; slot < size(tile.n_slots); ++slot)
    if (edges[slot] >= 0)
      slot_species_[slot] =
          static_cast<int>(neighborhood.species[size(neighborhood.edge_j[size(edges[slot])])]);
  jacobian_.reserve(size(tile.n_slots) * 3 * row_size);
  std::fill_n(jacobian_.data(), size(tile.n_slots) * 3 * row_size, 0.0f);
  kernels_.aev_jacobian(tables, tile, slot_species_.data(), jacobian_.data());

  for (std::size_t c = 0; c < size(tile.n_centers); ++c) {
    const float *const row = tile.rows_aev + c * size(tables.features);
    float *const to = &out.aev[(size(first_center) + c) * places.size()];
    for (std::size_t f = 0; f < places.size(); ++f)
      to[f] = row[places[f]];
  }
  for (std::size_t slot = 0; slot < size(tile.n_slots); ++slot) {
    if (edges[slot] < 0)
      continue;
    const std::size_t e = size(edges[slot]);
    out.length[e] = tile.distance[slot];
    out.unit[3 * e] = tile.x[slot];
    out.unit[3 * e + 1] = tile.y[slot];
    out.unit[3 * e + 2] = tile.z[slot];
    std::copy_n(tile.radial_slope + slot * size(tables.radial_size), radial_length(),
                &out.slope[e * size(radial_length())]);
    if (short_row_[e] < 0)
      continue;
    const float *from = jacobian_.data() + slot * 3 * row_size;
    float *to = &out.jacobian[size(short_row_[e]) * 3 * size(n_elements()) * pair_places.size()];
    for (int block_of = 0; block_of < 3 * n_elements(); ++block_of, from += tables.pair_size())
      for (const int place : pair_places)
        *to++ = from[place];
  }
}

} // namespace alrare::native
