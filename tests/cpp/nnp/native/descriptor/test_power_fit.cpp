// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/descriptor/power_fit.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

TEST_CASE("powers without a logarithm are right to float32, or declined") {
  for (const double exponent : {13.1, 31.0, 7.0, 6.5, 24.3, 63.99}) {
    const alrare::native::PowerFit fit = alrare::native::fit_power(exponent);
    CHECK(fit.power == static_cast<int>(exponent));
    CHECK(fit.coefficients.size() <= 9);
    double worst = 0.0;
    for (int k = 0; k <= 1000; ++k) {
      const double x = k / 1000.0;
      double p = 0.0;
      for (std::size_t c = fit.coefficients.size(); c-- > 0;)
        p = p * x + fit.coefficients[c];
      worst = std::max(worst, std::fabs(p * std::pow(x, fit.power) - std::pow(x, exponent)));
    }
    CHECK(worst < 6e-8);
  }
  CHECK(alrare::native::fit_power(0.7).power == -1);
  CHECK(alrare::native::fit_power(-1.0).power == -1);
}
