// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/file/aev_constants.h"

#include <cstdint>
#include <stdexcept>
#include <string>

namespace alrare {

namespace {

[[noreturn]] void refuse(const std::string &what, const std::string &rule) {
  throw std::runtime_error("descriptor: " + what + " must be " + rule);
}

void check_positive(const char *name, double value) {
  if (!(value > 0.0 && value < 1e6))
    refuse(name, "> 0, got " + std::to_string(value));
}

void check_list(const char *name, const std::vector<double> &values) {
  if (values.empty() || values.size() > 1024)
    refuse(name, "a list of 1 to 1024 numbers, got " + std::to_string(values.size()));
}

std::int64_t count_features(const AevConstants &constants, std::int64_t n_elements) {
  const auto length = [](const std::vector<double> &list) {
    return static_cast<std::int64_t>(list.size());
  };
  return n_elements * length(constants.radial_shifts) + n_elements * (n_elements + 1) / 2 *
                                                            length(constants.angular_shifts) *
                                                            length(constants.angle_sections);
}

} // namespace

int AevConstants::features(int n_elements) const {
  return static_cast<int>(count_features(*this, n_elements));
}

void AevConstants::check(int n_elements) const {
  if (n_elements < 1 || n_elements > 118)
    refuse("the number of elements", "1 to 118, got " + std::to_string(n_elements));
  check_positive("radial_cutoff", radial_cutoff);
  check_positive("angular_cutoff", angular_cutoff);
  check_positive("radial_eta", radial_eta);
  check_positive("angular_eta", angular_eta);
  check_positive("zeta", zeta);
  if (zeta < 1.0)
    refuse("zeta", ">= 1, got " + std::to_string(zeta));
  check_list("radial_shifts", radial_shifts);
  check_list("angular_shifts", angular_shifts);
  check_list("angle_sections", angle_sections);
  if (count_features(*this, n_elements) > max_features)
    refuse("the AEV", "at most 2^20 features");
}

} // namespace alrare
