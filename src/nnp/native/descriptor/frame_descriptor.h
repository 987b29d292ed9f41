// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_DESCRIPTOR_FRAME_DESCRIPTOR_H
#define ALRARE_NNP_NATIVE_DESCRIPTOR_FRAME_DESCRIPTOR_H

#include "nnp/native/aligned_buffer.h"
#include "nnp/native/descriptor/descriptor_tables.h"
#include "nnp/native/tile_builder.h"
#include "nnp/neighborhood.h"

#include <cstdint>
#include <string>
#include <vector>

namespace alrare::native {

/// AEVs of N atoms and their Jacobian in sparse form, features in the model's order.
///
/// A neighbor of species s moves only the feature blocks of s: K radial features, and for an edge
/// within the angular cutoff the L angular features of each pair (s, 0) .. (s, S-1). The derivative
/// by the center's own position is minus the sum over its edges.
struct SparseDescriptors {
  std::vector<float> aev;                ///< (N, F)
  std::vector<float> length;             ///< (E) of the edges, Å
  std::vector<float> unit;               ///< (E, 3) edge vector over its length
  std::vector<float> slope;              ///< (E, K) d(radial features)/d(length), 1/Å
  std::vector<std::int64_t> short_edges; ///< (A) edges within the angular cutoff, ascending
  std::vector<float> jacobian;           ///< (A, 3, S L) d(angular features)/d(edge vector), 1/Å
};

/// Computes descriptors with their Jacobian; keeps its scratch. One per thread.
class FrameDescriptor {
public:
  FrameDescriptor(const AevConstants &constants, int n_elements,
                  const std::string &instruction_set = "auto");

  double cutoff() const { return descriptor_.radial_cutoff(); }
  int n_features() const { return static_cast<int>(descriptor_.feature_places().size()); }
  int radial_length() const { return descriptor_.n_radial(); }
  int angular_length() const { return static_cast<int>(descriptor_.pair_places().size()); }
  int n_elements() const { return descriptor_.n_elements(); }

  /// \throws std::runtime_error when a species is unknown.
  void compute(const Neighborhood &neighborhood, SparseDescriptors &out);

private:
  void list_short_edges(const Neighborhood &neighborhood, SparseDescriptors &out);
  void add_tile(const Neighborhood &neighborhood, const Tile &tile, int first_center,
                SparseDescriptors &out);

  const Kernels &kernels_;
  DescriptorTables descriptor_;
  TileBuilder builder_;
  AlignedBuffer jacobian_;
  std::vector<int> slot_species_;
  std::vector<std::int64_t> first_edge_;
  std::vector<std::int64_t> short_row_; ///< row of each edge in the Jacobian, -1 if it has none
};

} // namespace alrare::native

#endif
