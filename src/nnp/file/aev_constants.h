// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_FILE_AEV_CONSTANTS_H
#define ALRARE_NNP_FILE_AEV_CONSTANTS_H

#include <cstdint>
#include <vector>

namespace alrare {

constexpr std::int64_t max_features = 1 << 20; ///< of a descriptor

/// Constants of the descriptor (python/alrare/model/aev.py). Lengths in Å, angles in radians.
struct AevConstants {
  double radial_cutoff, angular_cutoff, radial_eta, angular_eta, zeta;
  std::vector<double> radial_shifts, angular_shifts, angle_sections;

  /// Length of the descriptor, F.
  [[nodiscard]] int features(int n_elements) const;

  /// \throws std::runtime_error with one sentence at a constant that makes no descriptor.
  void check(int n_elements) const;
};

} // namespace alrare

#endif
