// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_DESCRIPTOR_POWER_FIT_H
#define ALRARE_NNP_NATIVE_DESCRIPTOR_POWER_FIT_H

#include <vector>

namespace alrare::native {

/// x^p on [0, 1] as x^n times a polynomial: no logarithm in the inner loop.
struct PowerFit {
  int power = -1;                   ///< n; -1 when no such fit is good enough
  std::vector<double> coefficients; ///< of the polynomial, lowest first
};

/// Fits x^exponent with absolute error <= 5e-8 (float32's own rounding at 1).
///
/// The whole part goes into n, so that x^n suppresses the singular end where a polynomial cannot
/// follow x^r. Exponents below 3 with a fraction have no such fit.
PowerFit fit_power(double exponent);

} // namespace alrare::native

#endif
