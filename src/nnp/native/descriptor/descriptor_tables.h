// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_DESCRIPTOR_DESCRIPTOR_TABLES_H
#define ALRARE_NNP_NATIVE_DESCRIPTOR_DESCRIPTOR_TABLES_H

#include "nnp/file/aev_constants.h"
#include "nnp/native/kernels/kernels.h"

#include <cstddef>
#include <vector>

namespace alrare::native {

/// The constants as the kernels read them, and where they put each feature.
class DescriptorTables {
public:
  DescriptorTables() = default;

  /// \throws std::runtime_error with one sentence at a constant that makes no descriptor.
  DescriptorTables(const AevConstants &constants, int n_elements);

  DescriptorTables(DescriptorTables &&) = default;
  DescriptorTables &operator=(DescriptorTables &&) = default;
  DescriptorTables(const DescriptorTables &) = delete;
  DescriptorTables &operator=(const DescriptorTables &) = delete;

  const AevTables &tables() const { return tables_; }
  int n_elements() const { return tables_.n_species; }
  double radial_cutoff() const { return radial_cutoff_; }
  double angular_cutoff() const { return angular_cutoff_; }
  /// First feature (in the engine's order) of a pair of species.
  int pair_feature(int s, int t) const {
    return pair_features_[static_cast<std::size_t>(s * n_elements() + t)];
  }
  /// The engine's place of each feature of the model, in the model's order.
  const std::vector<int> &feature_places() const { return places_; }
  /// The same within the features of one pair of species.
  const std::vector<int> &pair_places() const { return pair_places_; }
  int n_radial() const { return n_radial_; } ///< shifts of one species, without padding

private:
  void place_features(int n_shifts, int n_sections);

  AevTables tables_{};
  double radial_cutoff_ = 0.0, angular_cutoff_ = 0.0;
  int n_radial_ = 0;
  std::vector<float> radial_shifts_, angular_shifts_, section_cos_, section_sin_;
  std::vector<int> pair_features_, places_, pair_places_;
};

} // namespace alrare::native

#endif
