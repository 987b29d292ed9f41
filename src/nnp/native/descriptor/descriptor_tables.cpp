// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/descriptor/descriptor_tables.h"

#include "nnp/native/descriptor/power_fit.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>

namespace alrare::native {

namespace {

/// Padded to a multiple of `to`.
std::vector<float> padded(const std::vector<double> &values, int to, float padding) {
  std::vector<float> out(values.begin(), values.end());
  out.resize(static_cast<std::size_t>(round_up(static_cast<int>(out.size()), to)), padding);
  return out;
}

} // namespace

DescriptorTables::DescriptorTables(const AevConstants &constants, int n_elements) {
  constants.check(n_elements);
  tables_.n_species = n_elements;
  tables_.radial_cutoff = static_cast<float>(constants.radial_cutoff);
  tables_.angular_cutoff = static_cast<float>(constants.angular_cutoff);
  radial_cutoff_ = constants.radial_cutoff;
  angular_cutoff_ = constants.angular_cutoff;
  tables_.radial_eta = static_cast<float>(constants.radial_eta);
  tables_.angular_eta = static_cast<float>(constants.angular_eta);
  tables_.zeta = static_cast<float>(constants.zeta);
  const PowerFit power = fit_power(constants.zeta - 1.0);
  tables_.power = power.power;
  tables_.power_degree = static_cast<int>(power.coefficients.size()) - 1;
  std::copy(power.coefficients.begin(), power.coefficients.end(), tables_.power_coefficients);

  std::vector<double> cosines, sines;
  for (const double angle : constants.angle_sections) {
    cosines.push_back(std::cos(angle));
    sines.push_back(std::sin(angle));
  }
  // the Gaussian of a padding shift vanishes
  radial_shifts_ = padded(constants.radial_shifts, block, 1e4f);
  angular_shifts_ = padded(constants.angular_shifts, 4, 1e4f);
  section_cos_ = padded(cosines, 4, 0.0f);
  section_sin_ = padded(sines, 4, 0.0f);
  tables_.radial_shifts = radial_shifts_.data();
  tables_.angular_shifts = angular_shifts_.data();
  tables_.section_cos = section_cos_.data();
  tables_.section_sin = section_sin_.data();
  tables_.radial_size = static_cast<int>(radial_shifts_.size());
  tables_.n_shifts = static_cast<int>(angular_shifts_.size());
  tables_.n_sections = static_cast<int>(section_cos_.size());
  const std::int64_t pairs = std::int64_t(n_elements) * (n_elements + 1) / 2;
  if (n_elements * std::int64_t(tables_.radial_size) + pairs * tables_.pair_size() > max_features)
    throw std::runtime_error("descriptor: the AEV must be at most 2^20 features");
  n_radial_ = static_cast<int>(constants.radial_shifts.size());
  place_features(static_cast<int>(constants.angular_shifts.size()),
                 static_cast<int>(constants.angle_sections.size()));
}

void DescriptorTables::place_features(int n_shifts, int n_sections) {
  const int n = n_elements();
  for (int s = 0; s < n; ++s)
    for (int k = 0; k < n_radial_; ++k)
      places_.push_back(s * tables_.radial_size + k);
  for (int k = 0; k < n_shifts; ++k)
    for (int z = 0; z < n_sections; ++z)
      pair_places_.push_back(k / 4 * 4 * tables_.n_sections + z / 4 * block + k % 4 * 4 + z % 4);
  pair_features_.assign(static_cast<std::size_t>(n * n), 0);
  int first = n * tables_.radial_size;
  for (int s = 0; s < n; ++s)
    for (int t = s; t < n; ++t, first += tables_.pair_size()) {
      pair_features_[static_cast<std::size_t>(s * n + t)] = first;
      pair_features_[static_cast<std::size_t>(t * n + s)] = first;
      for (const int place : pair_places_)
        places_.push_back(first + place);
    }
  tables_.features = first;
}

} // namespace alrare::native
