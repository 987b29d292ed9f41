// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/trial.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

using doctest::Contains;

namespace {

constexpr double cutoff = 5.0;

/// Each atom has a size, 1 and a tenth of the sizes of its neighbors, weighed by (1 -
/// r^2/cutoff^2)^3, as often as `reach` says; E_m = (m + 1) * sum of sizes. Faults are put in on
/// purpose.
class Sizes final : public alrare::Evaluator {
public:
  explicit Sizes(int reach = 1) : reach_(reach) {
    metadata_.format_version = 2;
    metadata_.members = 3;
    metadata_.elements = {"H", "C"};
    metadata_.cutoff = cutoff;
    metadata_.receptive_field = cutoff * reach;
    metadata_.double_precision = true;
  }
  const alrare::Metadata &metadata() const override { return metadata_; }
  std::string description() const override { return "sizes"; }

  void evaluate(const alrare::Neighborhood &hood, const std::vector<double> &weights,
                alrare::Evaluation &out) override {
    const std::size_t n = hood.species.size();
    const auto n_local = static_cast<std::size_t>(all_rows ? n : hood.n_local);
    std::vector<std::vector<double>> sizes(1, std::vector<double>(n, 1.0));
    for (int t = 0; t < reach_; ++t) {
      sizes.emplace_back(n, 1.0);
      for (std::size_t e = 0; e < hood.n_edges(); ++e)
        sizes[t + 1][hood.edge_i[e]] += 0.1 * cube(hood, e) * sizes[t][hood.edge_j[e]];
    }
    double factor = 0.0, total = 0.0, steps = 0.0;
    for (std::size_t i = 0; i < n_local; ++i)
      total += sizes.back()[i];
    for (std::size_t e = 0; e < hood.n_edges(); ++e)
      steps += hood.edge_i[e] < hood.n_local && cube(hood, e) > step_at ? 1.0 : 0.0;
    if (average)
      total *= static_cast<double>(n) / (1.0 + static_cast<double>(hood.n_edges()));
    for (std::size_t m = 0; m < 3; ++m)
      factor += weights[m] * static_cast<double>(m + 1) * gradient_factor[m];
    out.member_energies.clear();
    for (std::size_t m = 0; m < 3; ++m)
      out.member_energies.push_back(static_cast<double>(m + 1) * (total + steps) +
                                    energy_offset * static_cast<double>(n_local));
    differentiate(hood, sizes, factor, out.gradient);
    if (broken)
      broken(out, weights);
  }

  alrare::Metadata &change() { return metadata_; }
  std::vector<double> gradient_factor = {1.0, 1.0, 1.0}; // 1: the right one
  double energy_offset = 0.0;                            // of each atom
  double step_at = 2.0;                                  // of the cube; 2: nowhere
  bool all_rows = false, average = false, drops_ghosts = false;
  std::function<void(alrare::Evaluation &, const std::vector<double> &)> broken;

private:
  static double inner(const alrare::Neighborhood &hood, std::size_t e) {
    const double *const v = &hood.vec[3 * e];
    return 1.0 - (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) / (cutoff * cutoff);
  }
  static double cube(const alrare::Neighborhood &hood, std::size_t e) {
    return std::pow(inner(hood, e), 3);
  }

  void differentiate(const alrare::Neighborhood &hood,
                     const std::vector<std::vector<double>> &sizes, double factor,
                     std::vector<double> &gradient) const {
    const std::size_t n = hood.species.size();
    std::vector<double> of_size(n, 0.0);
    std::fill_n(of_size.begin(), hood.n_local, factor);
    gradient.assign(hood.vec.size(), 0.0);
    for (int t = reach_; t > 0; --t) {
      std::vector<double> before(n, 0.0);
      for (std::size_t e = 0; e < hood.n_edges(); ++e) {
        const auto i = static_cast<std::size_t>(hood.edge_i[e]);
        const auto j = static_cast<std::size_t>(hood.edge_j[e]);
        before[j] += 0.1 * of_size[i] * cube(hood, e);
        if (drops_ghosts && hood.edge_j[e] >= hood.n_local)
          continue;
        const double slope = 0.1 * of_size[i] * sizes[t - 1][j] * 3.0 * std::pow(inner(hood, e), 2);
        for (std::size_t d = 0; d < 3; ++d)
          gradient[3 * e + d] -= slope * 2.0 * hood.vec[3 * e + d] / (cutoff * cutoff);
      }
      of_size = before;
    }
  }

  int reach_;
  alrare::Metadata metadata_;
};

} // namespace

TEST_CASE("a right model passes, with any precision, number of elements and receptive field") {
  for (const int reach : {1, 2, 3, 7}) {
    Sizes model(reach);
    CHECK_NOTHROW(alrare::try_model(model));
    model.change().elements.assign(90, "X");
    model.change().double_precision = false;
    model.energy_offset = -1e5;
    CHECK_NOTHROW(alrare::try_model(model));
  }
}

TEST_CASE("a gradient that is not that of the energy is refused, and the member named") {
  for (const double factor : {0.0, 0.7, 1.4, -1.0}) {
    Sizes model;
    model.gradient_factor[1] = factor;
    CHECK_THROWS_WITH(alrare::try_model(model),
                      Contains("the gradient of member 2 is not that of its energy"));
  }
  Sizes nearly;
  nearly.gradient_factor[1] = 1.01; // within what differences can tell for any precision
  CHECK_NOTHROW(alrare::try_model(nearly));
}

TEST_CASE("a mean whose gradient is not the mean of the members' is refused") {
  Sizes model;
  model.broken = [](alrare::Evaluation &out, const std::vector<double> &weights) {
    for (double &value : out.gradient)
      value *= weights[0] * weights[1] != 0.0 ? 1.3 : 1.0;
  };
  CHECK_THROWS_WITH(alrare::try_model(model), Contains("differs from the mean of the members'"));
}

TEST_CASE("what is not finite is refused") {
  Sizes energies, gradients;
  energies.energy_offset = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(alrare::try_model(energies), Contains("an energy is not finite"));
  gradients.gradient_factor[2] = std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH(alrare::try_model(gradients), Contains("a gradient is not finite"));
}

TEST_CASE("an energy that looks farther than its receptive field is refused") {
  Sizes model(3);
  model.change().receptive_field = 2.0 * cutoff;
  CHECK_THROWS_WITH(alrare::try_model(model),
                    Contains("depends on atoms 3 edges away, and its metadata says receptive_field "
                             "10 Angstrom, which is 2 of 5: write the receptive_field that it has, "
                             "at least 15"));
  Sizes far(20);
  far.change().receptive_field = cutoff;
  CHECK_THROWS_WITH(
      alrare::try_model(far),
      Contains("edges away, and its metadata says receptive_field 5 Angstrom, which is 1 of 5"));
}

TEST_CASE("an energy with steps says nothing of the gradient") {
  for (const double at : {0.2, 0.4, 0.6, 0.7, 0.8}) {
    Sizes model(2);
    model.step_at = at;
    CHECK_NOTHROW(alrare::try_model(model));
  }
}

TEST_CASE("what several ranks would give must be what one gives") {
  for (const int version : {1, 2}) {
    Sizes model;
    model.change().format_version = version;
    CHECK_NOTHROW(alrare::try_model(model));
    model.energy_offset = -1000.0;
    model.all_rows = true;
    CHECK_THROWS_WITH(alrare::try_model(model), Contains("than the energy of all of them"));
    Sizes scaled;
    scaled.change().format_version = version;
    scaled.average = true;
    CHECK_THROWS_WITH(alrare::try_model(scaled), Contains("gradient of member"));
    Sizes dropping;
    dropping.change().format_version = version;
    dropping.drops_ghosts = true;
    CHECK_THROWS_WITH(alrare::try_model(dropping), Contains("the forces that atoms alone give"));
  }
  Sizes messages(2);
  messages.change().format_version = 1;
  messages.change().receptive_field = cutoff;
  CHECK_THROWS_WITH(alrare::try_model(messages), Contains("atoms alone"));
}
