// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_MODEL_H
#define ALRARE_NNP_NATIVE_MODEL_H

#include "../metadata.h"
#include "aligned_buffer.h"
#include "kernels.h"

#include <string>
#include <vector>

namespace alrare {
class Json;
class SafetensorsFile;
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
  /// Throws std::runtime_error with one sentence when the file is damaged or is a model that this
  /// engine does not know.
  explicit Model(const std::string &path);

  Model(const Model &) = delete;
  Model &operator=(const Model &) = delete;

  const Metadata &metadata() const { return metadata_; }
  const AevTables &tables() const { return tables_; }
  int n_elements() const { return static_cast<int>(metadata_.elements.size()); }
  int n_members() const { return metadata_.members; }
  const Network &network(int element, int member) const {
    return networks_[static_cast<std::size_t>(element) * static_cast<std::size_t>(n_members()) +
                     static_cast<std::size_t>(member)];
  }
  double self_energy(int element) const {
    return self_energies_[static_cast<std::size_t>(element)];
  }
  /// First feature (in the engine's order) of a pair of species.
  int pair_feature(int s, int t) const {
    return pair_features_[static_cast<std::size_t>(s * n_elements() + t)];
  }
  /// The engine's place of each feature of the model, in the model's order.
  const std::vector<int> &feature_places() const { return places_; }
  int widest_layer() const { return widest_; }
  int slopes_size() const { return slopes_; } ///< hidden outputs of the largest network

  /// Some element's network has no hidden layer: it reads every feature, zero or not.
  bool has_linear_network() const { return linear_; }

private:
  void read_aev(const Json &json);
  void place_features(int n_radial, int n_shifts, int n_sections);
  void read_element(SafetensorsFile &file, const Json &json, int element);

  Metadata metadata_;
  AevTables tables_{};
  std::vector<float> radial_shifts_, angular_shifts_, section_cos_, section_sin_;
  std::vector<int> pair_features_, places_;
  std::vector<double> self_energies_;
  std::vector<Network> networks_;
  std::vector<std::vector<Layer>> layers_;
  std::vector<AlignedBuffer> weights_;
  int widest_ = 0, slopes_ = 0;
  bool linear_ = false;
};

} // namespace alrare::native

#endif
