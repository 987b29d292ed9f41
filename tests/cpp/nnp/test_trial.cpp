// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/trial.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

using doctest::Contains;

namespace {

constexpr double cutoff = 5.0;

/// E_m = (m + 1) * sum over the edges of (1 - r^2/cutoff^2)^3, of the first atoms' edges or also of
/// those that lead on from there; faults are put in on purpose.
class Bumps final : public alrare::Evaluator {
public:
  explicit Bumps(int reach = 1) : reach_(reach) {
    metadata_.format_version = 2;
    metadata_.members = 3;
    metadata_.elements = {"H", "C"};
    metadata_.cutoff = cutoff;
    metadata_.receptive_field = cutoff * reach;
    metadata_.double_precision = true;
  }
  const alrare::Metadata &metadata() const override { return metadata_; }
  std::string description() const override { return "bumps"; }

  void evaluate(const alrare::Neighborhood &hood, const std::vector<double> &weights,
                alrare::Evaluation &out) override {
    out.member_energies.assign(3, energy_offset);
    out.gradient.assign(hood.vec.size(), 0.0);
    double factor = 0.0;
    for (std::size_t m = 0; m < 3; ++m)
      factor += weights[m] * static_cast<double>(m + 1) * gradient_factor[m];
    for (std::size_t e = 0; e < hood.n_edges(); ++e) {
      if (hood.edge_i[e] >= hood.n_local + reach_ - 1)
        continue;
      const double *const v = &hood.vec[3 * e];
      const double u = 1.0 - (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) / (cutoff * cutoff);
      for (std::size_t m = 0; m < 3; ++m)
        out.member_energies[m] += static_cast<double>(m + 1) * u * u * u;
      for (std::size_t d = 0; d < 3; ++d)
        out.gradient[3 * e + d] = factor * 3.0 * u * u * (-2.0 * v[d] / (cutoff * cutoff));
    }
    if (broken)
      broken(out, weights);
  }

  alrare::Metadata &change() { return metadata_; }
  std::vector<double> gradient_factor = {1.0, 1.0, 1.0}; // 1: the right one
  double energy_offset = 0.0;
  std::function<void(alrare::Evaluation &, const std::vector<double> &)> broken;

private:
  int reach_;
  alrare::Metadata metadata_;
};

} // namespace

TEST_CASE("a right model passes, with any precision, number of elements and receptive field") {
  for (const int reach : {1, 2, 3, 7}) {
    Bumps model(reach);
    CHECK_NOTHROW(alrare::try_model(model));
    model.change().elements.assign(90, "X");
    model.change().double_precision = false;
    model.energy_offset = -1e5;
    CHECK_NOTHROW(alrare::try_model(model));
  }
}

TEST_CASE("a gradient that is not that of the energy is refused, and the member named") {
  for (const double factor : {0.0, 0.7, 1.4, -1.0}) {
    Bumps model;
    model.gradient_factor[1] = factor;
    CHECK_THROWS_WITH(alrare::try_model(model),
                      Contains("the gradient of member 2 is not that of its energy"));
  }
  Bumps nearly;
  nearly.gradient_factor[1] = 1.01; // within what differences can tell for any precision
  CHECK_NOTHROW(alrare::try_model(nearly));
}

TEST_CASE("a gradient that does not follow the weights is refused") {
  Bumps model;
  model.broken = [](alrare::Evaluation &out, const std::vector<double> &weights) {
    for (double &value : out.gradient)
      value *= weights[0] * weights[1] != 0.0 ? 2.0 : 1.0;
  };
  CHECK_THROWS_WITH(alrare::try_model(model), Contains("differs from the sum of the members'"));
}

TEST_CASE("what is not finite is refused") {
  Bumps energies, gradients;
  energies.energy_offset = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(alrare::try_model(energies), Contains("an energy is not finite"));
  gradients.gradient_factor[2] = std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH(alrare::try_model(gradients), Contains("a gradient is not finite"));
}

TEST_CASE("an energy that looks farther than its receptive field is refused") {
  Bumps model(3);
  model.change().receptive_field = 2.0 * cutoff;
  CHECK_THROWS_WITH(alrare::try_model(model),
                    Contains("depends on atoms 3 edges away, and its metadata says receptive_field "
                             "10 Angstrom, which is 2 of 5: write the receptive_field that it has, "
                             "at least 15"));
  Bumps far(20);
  far.change().receptive_field = cutoff;
  CHECK_THROWS_WITH(alrare::try_model(far), Contains("5 or more edges away"));
}

TEST_CASE("an energy with a step says nothing of the gradient") {
  Bumps model;
  int call = 0;
  model.broken = [&](alrare::Evaluation &out, const std::vector<double> &) {
    out.member_energies[0] += 0.1 * ++call;
  };
  CHECK_NOTHROW(alrare::try_model(model));
}
