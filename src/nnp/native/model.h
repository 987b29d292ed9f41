// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_MODEL_H
#define ALRARE_NNP_NATIVE_MODEL_H

#include "nnp/file/metadata.h"
#include "nnp/native/aligned_buffer.h"
#include "nnp/native/descriptor/descriptor_tables.h"
#include "nnp/native/kernels/kernels.h"
#include "nnp/native/tile_builder.h"

#include <string>
#include <vector>

namespace alrare {
struct ElementNetworks;
} // namespace alrare

namespace alrare::native {

/// An ensemble ready for the kernels: descriptor tables, and the weights packed once.
///
/// The packed weights are the only copy kept: 4 bytes per parameter, rounded up to layers of
/// multiples of 8.
class Model {
public:
  /// Reads `ensemble.safetensors` (docs/model_format.md).
  ///
  /// \throws std::runtime_error with one sentence when the file is damaged or is a model that this
  /// engine does not know.
  explicit Model(const std::string &path);

  Model(const Model &) = delete;
  Model &operator=(const Model &) = delete;

  const Metadata &metadata() const { return metadata_; }
  const AevTables &tables() const { return descriptor_.tables(); }
  int n_elements() const { return static_cast<int>(metadata_.elements.size()); }
  int n_members() const { return metadata_.members; }
  const Network &network(int element, int member) const {
    return networks_[static_cast<std::size_t>(element) * static_cast<std::size_t>(n_members()) +
                     static_cast<std::size_t>(member)];
  }
  double self_energy(int element) const {
    return self_energies_[static_cast<std::size_t>(element)];
  }
  const DescriptorTables &descriptor() const { return descriptor_; }
  /// The engine's place of each feature of the model, in the model's order.
  const std::vector<int> &feature_places() const { return descriptor_.feature_places(); }
  const LayerSizes &layer_sizes() const { return sizes_; }

private:
  void pack(int element, const ElementNetworks &networks, Activation activation, float celu_alpha);

  Metadata metadata_;
  DescriptorTables descriptor_;
  std::vector<double> self_energies_;
  std::vector<Network> networks_;
  std::vector<std::vector<Layer>> layers_;
  std::vector<AlignedBuffer> weights_;
  LayerSizes sizes_;
};

} // namespace alrare::native

#endif
