// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_TILE_BUILDER_H
#define ALRARE_NNP_NATIVE_TILE_BUILDER_H

#include "nnp/native/aligned_buffer.h"
#include "nnp/native/descriptor/descriptor_tables.h"
#include "nnp/native/kernels/kernels.h"
#include "nnp/native/size.h"
#include "nnp/neighborhood.h"

#include <cstdint>
#include <vector>

namespace alrare::native {

/// What the networks need beside the descriptor.
struct LayerSizes {
  int widest = 0;      ///< outputs of the widest hidden layer
  int slopes = 0;      ///< hidden outputs of the largest network
  bool linear = false; ///< a network has no hidden layer: it reads every feature, zero or not
};

/// Sorts the edges of a few centers by species, lists their triples, and lays out the scratch of a
/// tile. One per thread; its memory grows to the largest tile and is used again.
class TileBuilder {
public:
  TileBuilder(const DescriptorTables &descriptor, const LayerSizes &layers, const Kernels &kernels)
      : descriptor_(descriptor), layers_(layers), kernels_(kernels) {}

  /// The tile of these centers of one element; valid until the next call.
  ///
  /// \param first_edge  (n_local + 1) first edge of each center
  /// \param centers     (n) rows of `neighborhood`, n <= max_tile
  /// \throws std::runtime_error when a species is unknown to the model.
  const Tile &build(const Neighborhood &neighborhood, const std::int64_t *first_edge,
                    const int *centers, int n);

  /// Room for the way back of a block of members of this tile; valid as long as that is.
  const MemberTile &members(int count);
  /// Room for dE/dAEV of one of them.
  float *member_gradient(int member) const { return member_gradients_[size(member)]; }

  /// The edge of each slot, -1 for padding.
  const std::vector<std::int64_t> &edges() const { return edges_; }
  /// Room for dE/dAEV of the tile: panels of (features, width).
  float *gradient() const { return gradient_; }
  float *energies() const { return energies_; }

private:
  void lay_out_slots(int n_slots);
  void lay_out_triples();
  void lay_out_panels();
  void add_center(const Neighborhood &neighborhood, std::int64_t begin, std::int64_t end,
                  int center);
  void add_groups(int center);
  void find_spans();

  const DescriptorTables &descriptor_;
  const LayerSizes layers_;
  const Kernels &kernels_;
  Tile tile_{};
  MemberTile members_{};
  AlignedBuffer slots_, triples_, panels_memory_, members_memory_;
  std::vector<float *> member_gradients_;
  float *gradient_ = nullptr;
  float *energies_ = nullptr;
  std::vector<std::int64_t> edges_;
  std::vector<int> key_; // of each edge of one center: 2 species + (1 if beyond the angular cutoff)
  std::vector<int> start_; // first slot of each key
  std::vector<char> active_;
  std::vector<Range> ranges_;
  std::vector<Group> groups_;
  std::vector<Row> rows_;
  std::vector<Span> spans_;
  std::vector<Panel> panels_;
};

} // namespace alrare::native

#endif
