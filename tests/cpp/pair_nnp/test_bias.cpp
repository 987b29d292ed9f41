// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/bias.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <vector>

using alrare::Bias;

namespace {

double spread_of(const std::vector<double> &energies) {
  const auto n = static_cast<double>(energies.size());
  const double mean = std::accumulate(energies.begin(), energies.end(), 0.0) / n;
  double squares = 0.0;
  for (const double energy : energies)
    squares += (energy - mean) * (energy - mean);
  return std::sqrt(squares / (n - 1.0));
}

} // namespace

TEST_CASE("no bias has no energy and no weights") {
  CHECK_FALSE(static_cast<bool>(Bias()));
  CHECK(Bias().energy(3.0) == 0.0);
  CHECK(Bias().weights({1.0, 2.0}, 0.7) == std::vector<double>{0.0, 0.0});
}

TEST_CASE("weights are the derivatives of the energy by those of the members, and add up to 0") {
  for (const Bias &bias : {Bias::linear(-2.5), Bias::linear(0.3), Bias::bounded(4.0, 1.7)}) {
    const std::vector<double> energies = {-1030.2, -1031.0, -1029.1, -1030.9};
    const std::vector<double> weights = bias.weights(energies, spread_of(energies));
    CHECK(std::accumulate(weights.begin(), weights.end(), 0.0) == doctest::Approx(0.0));
    for (std::size_t m = 0; m < energies.size(); ++m) {
      std::vector<double> up = energies, down = energies;
      up[m] += 1e-4;
      down[m] -= 1e-4;
      const double slope = (bias.energy(spread_of(up)) - bias.energy(spread_of(down))) / 2e-4;
      CHECK(weights[m] == doctest::Approx(slope).epsilon(1e-6));
    }
  }
}

TEST_CASE("the bounded bias lies between 0 and its depth") {
  const Bias bias = Bias::bounded(4.0, 1.7);
  CHECK(bias.energy(0.0) == 0.0);
  CHECK(bias.energy(1e6) == doctest::Approx(-4.0));
  CHECK(bias.energy(1.0) < 0.0);
}

TEST_CASE("members that agree are not pushed") {
  CHECK(Bias::linear(3.0).weights({2.0, 2.0, 2.0}, 0.0) == std::vector<double>{0.0, 0.0, 0.0});
  CHECK(Bias::bounded(3.0, 1.0).weights({2.0, 2.0}, 0.0) == std::vector<double>{0.0, 0.0});
}
