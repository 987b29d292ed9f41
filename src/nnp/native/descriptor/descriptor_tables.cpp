// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/descriptor/descriptor_tables.h"

#include "nnp/native/descriptor/power_fit.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace alrare::native {

namespace {

constexpr std::int64_t max_features = 1 << 20;

[[noreturn]] void refuse(const std::string &what, const std::string &rule) {
  throw std::runtime_error("descriptor: " + what + " must be " + rule);
}

float positive(const char *name, double value) {
  if (!(value > 0.0 && value < 1e6))
    refuse(name, "> 0, got " + std::to_string(value));
  return static_cast<float>(value);
}

/// Padded to a multiple of `to`.
std::vector<float> padded(const char *name, const std::vector<double> &values, int to,
                          float padding) {
  if (values.empty() || values.size() > 1024)
    refuse(name, "a list of 1 to 1024 numbers, got " + std::to_string(values.size()));
  std::vector<float> out(values.begin(), values.end());
  out.resize(static_cast<std::size_t>(round_up(static_cast<int>(out.size()), to)), padding);
  return out;
}

} // namespace

DescriptorTables::DescriptorTables(const AevConstants &constants, int n_elements) {
  if (n_elements < 1 || n_elements > 118)
    refuse("the number of elements", "1 to 118, got " + std::to_string(n_elements));
  tables_.n_species = n_elements;
  tables_.radial_cutoff = positive("radial_cutoff", constants.radial_cutoff);
  tables_.angular_cutoff = positive("angular_cutoff", constants.angular_cutoff);
  radial_cutoff_ = constants.radial_cutoff;
  angular_cutoff_ = constants.angular_cutoff;
  tables_.radial_eta = positive("radial_eta", constants.radial_eta);
  tables_.angular_eta = positive("angular_eta", constants.angular_eta);
  tables_.zeta = positive("zeta", constants.zeta);
  if (constants.zeta < 1.0)
    refuse("zeta", ">= 1, got " + std::to_string(constants.zeta));
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
  radial_shifts_ = padded("radial_shifts", constants.radial_shifts, block, 1e4f);
  angular_shifts_ = padded("angular_shifts", constants.angular_shifts, 4, 1e4f);
  section_cos_ = padded("angle_sections", cosines, 4, 0.0f);
  section_sin_ = padded("angle_sections", sines, 4, 0.0f);
  tables_.radial_shifts = radial_shifts_.data();
  tables_.angular_shifts = angular_shifts_.data();
  tables_.section_cos = section_cos_.data();
  tables_.section_sin = section_sin_.data();
  tables_.radial_size = static_cast<int>(radial_shifts_.size());
  tables_.n_shifts = static_cast<int>(angular_shifts_.size());
  tables_.n_sections = static_cast<int>(section_cos_.size());
  const std::int64_t pairs = std::int64_t(n_elements) * (n_elements + 1) / 2;
  if (n_elements * std::int64_t(tables_.radial_size) + pairs * tables_.pair_size() > max_features)
    refuse("the AEV", "at most 2^20 features");
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
