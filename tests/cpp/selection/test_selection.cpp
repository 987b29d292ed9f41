// SPDX-License-Identifier: GPL-2.0-or-later
#include "selection/selection.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

using alrare::Sample;
using alrare::Selection;
using alrare::SelectionSettings;
using alrare::Verdict;
using doctest::Contains;

namespace {

bool sound() { return true; }
bool broken() { return false; }

SelectionSettings fixed_threshold(double threshold) {
  SelectionSettings settings;
  settings.threshold = threshold;
  return settings;
}

SelectionSettings adaptive(std::int64_t screening_steps, double sigma) {
  SelectionSettings settings;
  settings.screening_steps = screening_steps;
  settings.sigma = sigma;
  return settings;
}

} // namespace

TEST_CASE("adaptive threshold is mean plus k std of the first samples then frozen") {
  Selection selection(adaptive(4, 3.0));
  for (const double uq : {1.0, 2.0, 3.0, 4.0}) {
    CHECK(!selection.threshold());
    CHECK(selection.judge({uq, 0.0, 0.0}, sound) == Verdict::screening);
  }
  CHECK(std::abs(*selection.threshold() - (2.5 + 3.0 * std::sqrt(5.0 / 3.0))) < 1e-14);
  const double frozen = *selection.threshold();
  CHECK(selection.judge({100.0, 0.0, 0.0}, sound) == Verdict::selected);
  CHECK(selection.judge({0.0, 0.0, 0.0}, sound) == Verdict::below);
  CHECK(*selection.threshold() == frozen);
  CHECK(selection.mean() == 2.5);
}

TEST_CASE("a sample must be strictly above the threshold") {
  Selection selection(fixed_threshold(0.5));
  CHECK(selection.judge({0.5, 0.0, 0.0}, sound) == Verdict::below);
  CHECK(selection.judge({std::nextafter(0.5, 1.0), 0.0, 0.0}, sound) == Verdict::selected);
  CHECK(selection.above() == 1);
}

TEST_CASE("both gaps to every chosen one must be exceeded") {
  auto settings = fixed_threshold(0.0);
  settings.energy_gap = 1.0;
  settings.cv_gap = 0.25;
  Selection selection(settings);
  CHECK(selection.judge({1.0, 0.0, 0.0}, sound) == Verdict::selected);
  CHECK(selection.judge({1.0, 2.0, 0.25}, sound) == Verdict::too_similar); // cv gap not exceeded
  CHECK(selection.judge({1.0, -1.0, 1.0}, sound) == Verdict::too_similar); // energy gap neither
  CHECK(selection.judge({1.0, 2.0, 1.0}, sound) == Verdict::selected);
  CHECK(selection.judge({1.0, 0.5, -1.0}, sound) == Verdict::too_similar); // near the first only
  CHECK(selection.judge({1.0, -2.0, -1.0}, sound) == Verdict::selected);
  CHECK(selection.selected() == 3);
  CHECK(selection.too_similar() == 3);
}

TEST_CASE("a gap of zero is not tested") {
  Selection selection(fixed_threshold(0.0));
  for (int i = 0; i < 3; ++i)
    CHECK(selection.judge({1.0, 0.0, 0.0}, sound) == Verdict::selected);
}

TEST_CASE("the cap comes last") {
  auto settings = fixed_threshold(0.0);
  settings.max_per_run = 1;
  settings.energy_gap = 1.0;
  Selection selection(settings);
  CHECK(selection.judge({1.0, 0.0, 0.0}, sound) == Verdict::selected);
  CHECK(selection.full());
  CHECK(selection.judge({1.0, 5.0, 0.0}, sound) == Verdict::over_cap);
  CHECK(selection.judge({1.0, 0.0, 0.0}, sound) == Verdict::too_similar);
  CHECK(selection.judge({1.0, 5.0, 0.0}, broken) == Verdict::unphysical);
  CHECK(selection.selected() == 1);
  CHECK(selection.above() == 4);
}

TEST_CASE("unphysical samples are counted and never chosen") {
  auto settings = fixed_threshold(0.5);
  settings.upper = 10.0;
  Selection selection(settings);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  for (const Sample &sample : {Sample{nan, 0, 0}, Sample{inf, 0, 0}, Sample{1, nan, 0},
                               Sample{1, -inf, 0}, Sample{1, 0, nan}, Sample{10.1, 0, 0}})
    CHECK(selection.judge(sample, sound) == Verdict::unphysical);
  CHECK(selection.judge({1.0, 0.0, 0.0}, broken) == Verdict::unphysical);
  CHECK(selection.unphysical() == 7);
  CHECK(selection.above() == 2); // what is not a number is not above anything
  CHECK(selection.selected() == 0);
  CHECK(std::isfinite(selection.mean()));
}

TEST_CASE("unphysical samples leave the adaptive threshold alone") {
  auto settings = adaptive(2, 1.0);
  settings.upper = 5.0;
  Selection selection(settings);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(selection.judge({1.0, 0, 0}, sound) == Verdict::screening);
  CHECK(selection.judge({nan, 0, 0}, sound) == Verdict::unphysical);
  CHECK(selection.judge({6.0, 0, 0}, sound) == Verdict::unphysical);
  CHECK(selection.judge({1.0, 0, 0}, sound) == Verdict::screening);
  CHECK(*selection.threshold() == 1.0);
}

TEST_CASE("upper sigma bounds from the same window") {
  auto settings = adaptive(2, 1.0);
  settings.upper_sigma = 2.0;
  Selection selection(settings);
  selection.judge({1.0, 0, 0}, sound);
  selection.judge({3.0, 0, 0}, sound); // mean 2, std sqrt(2): threshold 3.41, upper 4.83
  CHECK(selection.judge({4.0, 0, 0}, sound) == Verdict::selected);
  CHECK(selection.judge({5.0, 0, 0}, sound) == Verdict::unphysical);
}

TEST_CASE("geometry is looked at only above the threshold") {
  Selection selection(fixed_threshold(0.5));
  int looks = 0;
  const auto look = [&looks] { return ++looks > 0; };
  selection.judge({0.4, 0, 0}, look);
  CHECK(looks == 0);
  selection.judge({0.6, 0, 0}, look);
  CHECK(looks == 1);
}

TEST_CASE("a restored selection goes on bit for bit") {
  auto settings = adaptive(20, 0.5);
  settings.energy_gap = 0.1;
  settings.cv_gap = 0.05;
  const auto sample = [](int i) {
    return Sample{std::abs(std::sin(1.7 * i)) / 3.0, std::cos(0.9 * i), 0.013 * i};
  };
  for (const int cut : {0, 7, 20, 33}) {
    Selection uncut(settings), first(settings), second(settings);
    for (int i = 0; i < cut; ++i)
      first.judge(sample(i), sound);
    second.restore(first.state());
    for (int i = 0; i < 60; ++i) {
      const auto verdict = uncut.judge(sample(i), sound);
      if (i >= cut)
        CHECK(second.judge(sample(i), sound) == verdict);
    }
    CHECK(uncut.selected() > 2);
    CHECK(uncut.too_similar() > 0);
    CHECK(second.state() == uncut.state());
  }
}

TEST_CASE("foreign states are refused") {
  Selection selection(fixed_threshold(1.0));
  for (const auto &state :
       {std::vector<double>{}, std::vector<double>(7, 2.0), std::vector<double>(11, 2.0)})
    CHECK_THROWS_WITH(selection.restore(state),
                      Contains("the saved state of the selection is damaged or foreign"));
  CHECK_THROWS_WITH(selection.restore(std::vector<double>(7, 1.0)),
                    Contains("of an older alrare (version 1"));
}

namespace {

SelectionSettings relative(double factor, double floor) {
  SelectionSettings settings;
  settings.relative = factor;
  settings.relative_floor = floor;
  return settings;
}

} // namespace

TEST_CASE("a relative threshold grows with the energy since the first look") {
  Selection selection(relative(0.1, 1.0));
  CHECK(selection.judge({0.1, -50.0}, sound) == Verdict::below); // not above 0.1 * floor
  CHECK(*selection.threshold() == 0.1);
  CHECK(selection.judge({0.3, -46.0}, sound) == Verdict::below); // 4 eV of strain
  CHECK(std::abs(*selection.threshold() - 0.4) < 1e-14);
  CHECK(selection.judge({0.3, -54.0}, sound) == Verdict::below); // its size, whatever the sign
  CHECK(selection.judge({0.41, -46.0}, sound) == Verdict::selected);
  CHECK(selection.judge({0.3, -48.0}, sound) == Verdict::selected);
  CHECK(selection.above() == 2);
  CHECK(std::abs(selection.mean() - 0.282) < 1e-14);
}

TEST_CASE("a first look that is not a number is not the origin of the energy") {
  Selection selection(relative(0.1, 1.0));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(selection.judge({0.1, nan}, sound) == Verdict::unphysical);
  CHECK(selection.judge({0.1, -50.0}, sound) == Verdict::below);
  CHECK(*selection.threshold() == 0.1);
}

TEST_CASE("a size that is given takes the place of the energy difference") {
  Selection selection(relative(0.1, 0.5));
  CHECK(selection.judge({0.25, -50.0, 0.0, 0, 3.0}, sound) == Verdict::below);
  CHECK(selection.judge({0.25, -10.0, 0.0, 1, 2.0}, sound) == Verdict::selected);
  CHECK(selection.judge({0.04, -10.0, 0.0, 2, 0.1}, sound) == Verdict::below); // the floor
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(selection.judge({0.25, -10.0, 0.0, 3, inf}, sound) == Verdict::unphysical);
}

TEST_CASE("enough steps after the last chosen one make up for both gaps") {
  auto settings = fixed_threshold(0.0);
  settings.energy_gap = settings.cv_gap = 1.0;
  settings.gap_steps = 5;
  Selection selection(settings);
  CHECK(selection.judge({1.0, 0.0, 0.0, 10}, sound) == Verdict::selected);
  CHECK(selection.judge({1.0, 0.0, 0.0, 14}, sound) == Verdict::too_similar);
  CHECK(selection.judge({1.0, 0.0, 0.0, 15}, sound) == Verdict::selected);
  CHECK(selection.judge({1.0, 9.0, 9.0, 16}, sound) == Verdict::selected); // the gaps still count
  CHECK(selection.judge({1.0, 0.0, 0.0, 20}, sound) == Verdict::too_similar); // after the last one
  CHECK(selection.judge({1.0, 0.0, 0.0, 21}, sound) == Verdict::selected);
}

TEST_CASE("a restored relative selection goes on bit for bit") {
  auto settings = relative(0.3, 0.2);
  settings.energy_gap = 0.5;
  settings.gap_steps = 7;
  const auto sample = [](int i) {
    return Sample{std::abs(std::sin(1.7 * i)) / 3.0, 2.0 + std::cos(0.9 * i), 0.0, 3 * i};
  };
  for (const int cut : {0, 1, 20}) {
    Selection uncut(settings), first(settings), second(settings);
    for (int i = 0; i < cut; ++i)
      first.judge(sample(i), sound);
    second.restore(first.state());
    CHECK(second.threshold() == first.threshold());
    for (int i = 0; i < 60; ++i) {
      const auto verdict = uncut.judge(sample(i), sound);
      if (i >= cut)
        CHECK(second.judge(sample(i), sound) == verdict);
    }
    CHECK(uncut.selected() > 2);
    CHECK(uncut.too_similar() > 0);
    CHECK(second.state() == uncut.state());
  }
}

TEST_CASE("settings out of range are named") {
  const auto with = [](auto change) {
    SelectionSettings settings;
    change(settings);
    return Selection(settings);
  };
  CHECK_THROWS_WITH(with([](auto &s) { s.screening_steps = 1; }),
                    Contains("threshold adaptive: screening_steps must be >= 2, got 1"));
  CHECK_THROWS_WITH(with([](auto &s) { s.sigma = -1; }),
                    Contains("threshold adaptive: sigma must be >= 0, got -1"));
  CHECK_THROWS_WITH(with([](auto &s) { s.energy_gap = -2; }),
                    Contains("energy_gap must be >= 0, got -2"));
  CHECK_THROWS_WITH(with([](auto &s) { s.max_per_run = 0; }),
                    Contains("max_per_run must be >= 1, got 0"));
  CHECK_THROWS_WITH(with([](auto &s) { s.upper = 0; }), Contains("upper must be > 0, got 0"));
  CHECK_THROWS_WITH(
      with([](auto &s) { s.upper_sigma = 3; }),
      Contains("upper sigma must be larger than sigma of the adaptive threshold, got 3"));
  CHECK_THROWS_WITH(with([](auto &s) { s.threshold = s.upper = 1; }),
                    Contains("upper must be larger than the threshold, got 1"));
  CHECK_THROWS_WITH(with([](auto &s) { s.threshold = s.upper_sigma = 9; }),
                    Contains("upper sigma needs an adaptive threshold; give upper as a number"));
  CHECK_THROWS_WITH(with([](auto &s) { s.gap_steps = -1; }),
                    Contains("gap_steps must be >= 0, got -1"));
  CHECK_THROWS_WITH(with([](auto &s) {
                      s.relative = 0;
                      s.relative_floor = 1;
                    }),
                    Contains("threshold relative: relative must be > 0, got 0"));
  CHECK_THROWS_WITH(with([](auto &s) {
                      s.relative = 1;
                      s.relative_floor = -2;
                    }),
                    Contains("threshold relative: relative_floor must be > 0, got -2"));
  CHECK_THROWS_WITH(with([](auto &s) { s.relative = 1; }),
                    Contains("threshold relative: relative_floor must be > 0, got 0"));
  CHECK_THROWS_WITH(with([](auto &s) { s.threshold = s.relative = s.relative_floor = 1; }),
                    Contains("threshold: expected a fixed or a relative one, got both"));
  CHECK_THROWS_WITH(with([](auto &s) {
                      s.relative = 2;
                      s.relative_floor = 3;
                      s.upper = 6;
                    }),
                    Contains("upper must be larger than relative * relative_floor"));
  CHECK_THROWS_WITH(with([](auto &s) {
                      s.relative = s.relative_floor = 1;
                      s.upper_sigma = 9;
                    }),
                    Contains("upper sigma needs an adaptive threshold"));
}
