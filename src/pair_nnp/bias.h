// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_PAIR_NNP_BIAS_H
#define ALRARE_PAIR_NNP_BIAS_H

#include <vector>

namespace alrare {

/// An energy that depends on how far the members disagree, added to the one that drives the run.
///
/// With s = energy_std it is B s (linear), or A (exp(-(s/W)^2) - 1) (bounded: between 0 and -A, for
/// large s; the form of Kulichenko et al., Nat. Comput. Sci. 3, 230, 2023). Negative B and positive
/// A draw the run towards configurations on which the members disagree.
class Bias {
public:
  Bias() = default; ///< none
  static Bias linear(double factor);
  static Bias bounded(double depth, double width);

  explicit operator bool() const { return kind_ != Kind::none; }

  /// Energy at a spread, in the unit of both.
  [[nodiscard]] double energy(double energy_std) const;

  /// What each member's gradient counts in the gradient of the energy,
  /// dU/ds (E_m - E) / ((M - 1) s); they add up to 0. All 0 where the members agree to the last
  /// bit.
  [[nodiscard]] std::vector<double> weights(const std::vector<double> &member_energies,
                                            double energy_std) const;

  /// Largest |dU/ds| / s of the bounded form, 2 A/W^2; not a number or infinite where A and W are
  /// too far apart for what forces need. Of the linear form |B|.
  [[nodiscard]] double largest_slope() const;

private:
  enum class Kind { none, linear, bounded };
  Kind kind_ = Kind::none;
  double size_ = 0.0, width_ = 1.0;

  [[nodiscard]] double slope_by_spread(double energy_std) const;
};

} // namespace alrare

#endif
