// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/bias.h"

#include <cmath>
#include <cstddef>
#include <numeric>

namespace alrare {

Bias Bias::linear(double factor) {
  Bias out;
  out.kind_ = Kind::linear;
  out.size_ = factor;
  return out;
}

Bias Bias::bounded(double depth, double width) {
  Bias out;
  out.kind_ = Kind::bounded;
  out.size_ = depth;
  out.width_ = width;
  return out;
}

double Bias::energy(double energy_std) const {
  const double ratio = energy_std / width_;
  switch (kind_) {
  case Kind::linear:
    return size_ * energy_std;
  case Kind::bounded:
    return size_ * std::expm1(-ratio * ratio);
  case Kind::none:
    break;
  }
  return 0.0;
}

double Bias::largest_slope() const {
  return kind_ == Kind::bounded ? 2.0 * size_ / (width_ * width_) : std::abs(size_);
}

/// dU/ds divided by s, which for the bounded form has no pole.
double Bias::slope_by_spread(double energy_std) const {
  const double ratio = energy_std / width_;
  if (kind_ == Kind::bounded)
    return -largest_slope() * std::exp(-ratio * ratio);
  return energy_std > 0.0 ? size_ / energy_std : 0.0;
}

std::vector<double> Bias::weights(const std::vector<double> &member_energies,
                                  double energy_std) const {
  const std::size_t members = member_energies.size();
  std::vector<double> out(members, 0.0);
  if (kind_ == Kind::none || members < 2)
    return out;
  const double mean = std::accumulate(member_energies.begin(), member_energies.end(), 0.0) /
                      static_cast<double>(members);
  const double slope = slope_by_spread(energy_std) / static_cast<double>(members - 1);
  for (std::size_t m = 0; m < members; ++m)
    out[m] = slope * (member_energies[m] - mean);
  return out;
}

} // namespace alrare
