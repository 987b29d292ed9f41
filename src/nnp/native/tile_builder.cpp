// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/tile_builder.h"

#include "nnp/native/kernels/round_up.h"
#include "nnp/native/size.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

namespace alrare::native {

namespace {

constexpr int slack = 16; // the kernels read and write up to one vector past the end

} // namespace

const Tile &TileBuilder::build(const Neighborhood &neighborhood, const std::int64_t *first_edge,
                               const int *centers, int n) {
  tile_.n_centers = n;
  std::int64_t n_slots = 0;
  for (int c = 0; c < n; ++c) {
    const std::int64_t count = first_edge[centers[c] + 1] - first_edge[centers[c]];
    n_slots += (count + kernels_.lanes - 1) / kernels_.lanes * kernels_.lanes;
  }
  if (n_slots > std::numeric_limits<int>::max() / 8)
    throw std::runtime_error("too many neighbors: " + std::to_string(n_slots) + " around " +
                             std::to_string(n) + " atoms");
  lay_out_slots(static_cast<int>(n_slots));
  ranges_.clear();
  groups_.clear();
  rows_.clear();
  active_.assign(size(descriptor_.tables().features / block), 0);
  tile_.n_slots = 0;
  tile_.n_triples = 0;
  for (int c = 0; c < n; ++c)
    add_center(neighborhood, first_edge[centers[c]], first_edge[centers[c] + 1], c);
  find_spans();
  lay_out_triples();
  lay_out_panels();
  tile_.ranges = ranges_.data();
  tile_.n_ranges = static_cast<int>(ranges_.size());
  tile_.groups = groups_.data();
  tile_.n_groups = static_cast<int>(groups_.size());
  tile_.rows = rows_.data();
  return tile_;
}

void TileBuilder::lay_out_slots(int n_slots) {
  const std::size_t n = size(n_slots + slack);
  const auto take = [&](Arena &arena) {
    for (float **array :
         {&tile_.x, &tile_.y, &tile_.z, &tile_.distance, &tile_.inverse, &tile_.smooth,
          &tile_.smooth_slope, &tile_.pull, &tile_.bend_x, &tile_.bend_y, &tile_.bend_z})
      *array = arena.take(n);
    tile_.radial_slope = arena.take(n * size(descriptor_.tables().radial_size));
    return arena.used();
  };
  Arena measure;
  slots_.reserve(take(measure));
  Arena arena(slots_.data());
  take(arena);
  edges_.assign(n, -1);
  // what padding holds is never used, but it must not be slow: no infinities, no denormals
  std::fill_n(tile_.x, n, 1.0f);
  std::fill_n(tile_.y, n, 0.0f);
  std::fill_n(tile_.z, n, 0.0f);
}

const MemberTile &TileBuilder::members(int count) {
  const std::size_t features = size(descriptor_.tables().features);
  const std::size_t block_of = size(kernels_.members);
  member_gradients_.resize(block_of);
  const auto take = [&](Arena &arena) {
    for (float *&gradient : member_gradients_)
      gradient = arena.take(features * size(tile_.lanes));
    members_.center = arena.take(features * block_of);
    for (float **array : {&members_.pull, &members_.x, &members_.y, &members_.z})
      *array = arena.take(size(tile_.n_slots + slack) * block_of);
    return arena.used();
  };
  Arena measure;
  members_memory_.reserve(take(measure));
  Arena arena(members_memory_.data());
  take(arena);
  members_.count = count;
  members_.gradients = member_gradients_.data();
  return members_;
}

void TileBuilder::lay_out_triples() {
  const AevTables &tables = descriptor_.tables();
  const std::size_t n = size(tile_.n_triples + slack);
  const auto take = [&](Arena &arena) {
    for (float **array :
         {&tile_.cosine, &tile_.mean, &tile_.weight, &tile_.plain, &tile_.along, &tile_.bend})
      *array = arena.take(n);
    tile_.terms = arena.take(n * size(tables.n_shifts + 2 * tables.n_sections));
    return arena.used();
  };
  Arena measure;
  triples_.reserve(take(measure));
  Arena arena(triples_.data());
  take(arena);
}

void TileBuilder::lay_out_panels() {
  panels_.clear();
  const int narrowest = kernels_.widths[kernels_.n_widths - 1];
  int left = round_up(tile_.n_centers, narrowest);
  tile_.lanes = left;
  for (int k = 0, first = 0; k < kernels_.n_widths; ++k)
    for (; left >= kernels_.widths[k]; left -= kernels_.widths[k], first += kernels_.widths[k])
      panels_.push_back({first, kernels_.widths[k]});
  tile_.panels = panels_.data();
  tile_.n_panels = static_cast<int>(panels_.size());

  const std::size_t features = size(descriptor_.tables().features), lanes = size(tile_.lanes);
  const auto take = [&](Arena &arena) {
    tile_.rows_aev = arena.take(features * size(tile_.n_centers));
    tile_.aev = arena.take(features * lanes);
    tile_.layer[0] = arena.take(size(layers_.widest) * lanes);
    tile_.layer[1] = arena.take(size(layers_.widest) * lanes);
    tile_.slopes = arena.take(size(layers_.slopes) * lanes);
    gradient_ = arena.take(features * lanes);
    energies_ = arena.take(lanes);
    return arena.used();
  };
  Arena measure;
  panels_memory_.reserve(take(measure));
  Arena arena(panels_memory_.data());
  take(arena);
}

void TileBuilder::add_center(const Neighborhood &neighborhood, std::int64_t begin, std::int64_t end,
                             int center) {
  const int n_species = descriptor_.n_elements();
  const double cutoff = descriptor_.angular_cutoff();
  const int first_slot = tile_.n_slots;
  start_.assign(size(2 * n_species + 1), 0);
  key_.resize(static_cast<std::size_t>(end - begin));
  const double *vec = neighborhood.vec.data() + 3 * begin;
  for (std::int64_t e = begin; e < end; ++e, vec += 3) {
    const std::int64_t species =
        neighborhood
            .species[static_cast<std::size_t>(neighborhood.edge_j[static_cast<std::size_t>(e)])];
    if (species < 0 || species >= n_species)
      throw std::runtime_error("species " + std::to_string(species) + " is unknown to a model of " +
                               std::to_string(n_species) + " elements");
    const bool far = !(vec[0] * vec[0] + vec[1] * vec[1] + vec[2] * vec[2] < cutoff * cutoff);
    const int key = static_cast<int>(2 * species) + (far ? 1 : 0);
    key_[static_cast<std::size_t>(e - begin)] = key;
    ++start_[size(key + 1)];
  }
  start_[0] = first_slot;
  for (int k = 0; k < 2 * n_species; ++k)
    start_[size(k + 1)] += start_[size(k)];
  vec = neighborhood.vec.data() + 3 * begin;
  for (std::int64_t e = begin; e < end; ++e, vec += 3) {
    const auto slot = size(start_[size(key_[static_cast<std::size_t>(e - begin)])]++);
    tile_.x[slot] = static_cast<float>(vec[0]);
    tile_.y[slot] = static_cast<float>(vec[1]);
    tile_.z[slot] = static_cast<float>(vec[2]);
    edges_[slot] = e;
  }
  // now start_[k] is the end of key k, and so the start of key k + 1
  start_.insert(start_.begin(), first_slot);
  for (int s = 0; s < n_species; ++s)
    if (start_[size(2 * s)] < start_[size(2 * s + 2)]) {
      const int feature = s * descriptor_.tables().radial_size;
      ranges_.push_back({center, feature, start_[size(2 * s)], start_[size(2 * s + 2)]});
      std::fill_n(active_.begin() + feature / block, descriptor_.tables().radial_size / block, 1);
    }
  add_groups(center);
  tile_.n_slots = first_slot + round_up(static_cast<int>(end - begin), kernels_.lanes);
}

void TileBuilder::add_groups(int center) {
  const int n_species = descriptor_.n_elements();
  const auto near_begin = [&](int s) { return start_[size(2 * s)]; };
  const auto near_count = [&](int s) { return start_[size(2 * s + 1)] - start_[size(2 * s)]; };
  for (int s = 0; s < n_species; ++s) {
    const int ns = near_count(s);
    if (ns == 0)
      continue;
    for (int t = s; t < n_species; ++t) {
      const int nt = near_count(t);
      if (nt == 0 || (s == t && ns < 2))
        continue;
      const int first_row = static_cast<int>(rows_.size());
      int count = 0;
      if (s == t) {
        for (int a = 0; a + 1 < ns; ++a)
          rows_.push_back({near_begin(s) + a, near_begin(s) + a + 1, ns - 1 - a});
        count = ns * (ns - 1) / 2;
      } else { // few long rows
        const int shorter = ns < nt ? s : t, longer = ns < nt ? t : s;
        for (int a = 0; a < near_count(shorter); ++a)
          rows_.push_back({near_begin(shorter) + a, near_begin(longer), near_count(longer)});
        count = ns * nt;
      }
      const int feature = descriptor_.pair_feature(s, t);
      groups_.push_back(
          {center, feature, first_row, static_cast<int>(rows_.size()), tile_.n_triples, count});
      std::fill_n(active_.begin() + feature / block, descriptor_.tables().pair_size() / block, 1);
      if (tile_.n_triples > std::numeric_limits<int>::max() / 32)
        throw std::runtime_error("too many neighbors within the angular cutoff");
      tile_.n_triples += round_up(count, kernels_.lanes);
    }
  }
}

void TileBuilder::find_spans() {
  spans_.clear();
  const bool dense = layers_.linear;
  const int n = static_cast<int>(active_.size());
  for (int k = 0; k < n; ++k)
    if (dense || active_[size(k)] != 0) {
      if (spans_.empty() || spans_.back().end != k * block)
        spans_.push_back({k * block, k * block});
      spans_.back().end += block;
    }
  tile_.spans = spans_.data();
  tile_.n_spans = static_cast<int>(spans_.size());
}

} // namespace alrare::native
