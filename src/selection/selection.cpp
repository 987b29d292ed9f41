// SPDX-License-Identifier: GPL-2.0-or-later
#include "selection/selection.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

namespace alrare {
namespace {

constexpr double state_version = 2.0;
// version, samples, mean, squares, three counters, whether a first energy is known, it, size
constexpr std::size_t state_header = 10;
constexpr std::size_t state_row = 3; // of a chosen one: energy, cv, step

template <typename T> void require(bool good, const char *name, const char *expected, T value) {
  if (good)
    return;
  std::ostringstream text;
  text << name << " must be " << expected << ", got " << value;
  throw std::runtime_error(text.str());
}

bool is_positive(double value) { return std::isfinite(value) && value > 0.0; }

bool is_not_negative(double value) { return std::isfinite(value) && value >= 0.0; }

void check_relative(const SelectionSettings &s) {
  require(is_positive(*s.relative), "threshold relative: relative", "> 0", *s.relative);
  require(is_positive(s.relative_floor), "threshold relative: relative_floor", "> 0",
          s.relative_floor);
  if (s.threshold)
    throw std::runtime_error("threshold: expected a fixed or a relative one, got both");
  if (s.upper)
    require(*s.upper > *s.relative * s.relative_floor, "upper",
            "larger than relative * relative_floor, the smallest threshold", *s.upper);
}

void check_upper_sigma(const SelectionSettings &s) {
  require(is_positive(*s.upper_sigma), "upper sigma", "> 0", *s.upper_sigma);
  if (s.threshold || s.relative)
    throw std::runtime_error("upper sigma needs an adaptive threshold; give upper as a number");
  require(*s.upper_sigma > s.sigma, "upper sigma", "larger than sigma of the adaptive threshold",
          *s.upper_sigma);
}

} // namespace

const char *name_of(Verdict verdict) {
  switch (verdict) {
  case Verdict::screening:
    return "screening";
  case Verdict::below:
    return "below";
  case Verdict::unphysical:
    return "unphysical";
  case Verdict::too_similar:
    return "too_similar";
  case Verdict::over_cap:
    return "over_cap";
  default:
    return "selected";
  }
}

Selection::Selection(const SelectionSettings &settings) : settings_(settings) {
  const auto &s = settings_;
  if (s.threshold)
    require(is_not_negative(*s.threshold), "threshold", ">= 0", *s.threshold);
  require(s.screening_steps >= 2, "threshold adaptive: screening_steps", ">= 2", s.screening_steps);
  require(is_not_negative(s.sigma), "threshold adaptive: sigma", ">= 0", s.sigma);
  require(is_not_negative(s.energy_gap), "energy_gap", ">= 0", s.energy_gap);
  require(is_not_negative(s.cv_gap), "cv_gap", ">= 0", s.cv_gap);
  require(s.gap_steps >= 0, "gap_steps", ">= 0", s.gap_steps);
  require(s.max_per_run >= 1, "max_per_run", ">= 1", s.max_per_run);
  if (s.upper)
    require(is_positive(*s.upper), "upper", "> 0", *s.upper);
  if (s.upper && s.threshold)
    require(*s.upper > *s.threshold, "upper", "larger than the threshold", *s.upper);
  if (s.relative)
    check_relative(s);
  if (s.upper_sigma)
    check_upper_sigma(s);
}

Verdict Selection::judge(const Sample &sample, const std::function<bool()> &geometry_is_sound) {
  const bool finite = std::isfinite(sample.uncertainty) && std::isfinite(sample.energy) &&
                      std::isfinite(sample.cv) && std::isfinite(sample.size.value_or(0.0));
  if (!finite) {
    ++unphysical_;
    return Verdict::unphysical;
  }
  measure(sample);
  const bool screening = is_adaptive() && samples_ < settings_.screening_steps;
  if (screening && settings_.upper && sample.uncertainty > *settings_.upper) {
    ++unphysical_;
    return Verdict::unphysical;
  }
  if (screening || !is_adaptive())
    count(sample.uncertainty);
  if (screening)
    return Verdict::screening;

  if (!(sample.uncertainty > *threshold()))
    return Verdict::below;
  ++above_;
  if (too_uncertain(sample.uncertainty) || !geometry_is_sound()) {
    ++unphysical_;
    return Verdict::unphysical;
  }
  if (!differs_from_all_chosen(sample)) {
    ++too_similar_;
    return Verdict::too_similar;
  }
  if (full())
    return Verdict::over_cap;
  chosen_.push_back({sample.energy, sample.cv, sample.step});
  return Verdict::selected;
}

bool Selection::is_adaptive() const { return !settings_.threshold && !settings_.relative; }

/// Add an uncertainty to the mean and the std (Welford).
void Selection::count(double uncertainty) {
  ++samples_;
  const double delta = uncertainty - mean_;
  mean_ += delta / static_cast<double>(samples_);
  squares_ += delta * (uncertainty - mean_);
}

void Selection::measure(const Sample &sample) {
  if (!first_energy_)
    first_energy_ = sample.energy;
  size_ = sample.size ? *sample.size : std::abs(sample.energy - *first_energy_);
}

bool Selection::too_uncertain(double uncertainty) const {
  if (settings_.upper && uncertainty > *settings_.upper)
    return true;
  return settings_.upper_sigma && uncertainty > mean() + *settings_.upper_sigma * std();
}

bool Selection::differs_from_all_chosen(const Sample &sample) const {
  const std::int64_t wait = settings_.gap_steps;
  if (wait > 0 && !chosen_.empty() && sample.step - chosen_.back().step >= wait)
    return true;
  return std::all_of(chosen_.begin(), chosen_.end(), [&](const Chosen &chosen) {
    const double energy_gap = settings_.energy_gap, cv_gap = settings_.cv_gap;
    return (energy_gap == 0.0 || std::abs(sample.energy - chosen.energy) > energy_gap) &&
           (cv_gap == 0.0 || std::abs(sample.cv - chosen.cv) > cv_gap);
  });
}

std::optional<double> Selection::threshold() const {
  if (settings_.threshold)
    return settings_.threshold;
  if (settings_.relative)
    return *settings_.relative * std::max(size_, settings_.relative_floor);
  if (samples_ < settings_.screening_steps)
    return std::nullopt;
  return mean() + settings_.sigma * std();
}

double Selection::mean() const { return mean_; }

double Selection::std() const {
  return samples_ < 2 ? 0.0 : std::sqrt(squares_ / static_cast<double>(samples_ - 1));
}

std::int64_t Selection::selected() const { return static_cast<std::int64_t>(chosen_.size()); }

std::int64_t Selection::above() const { return above_; }

std::int64_t Selection::too_similar() const { return too_similar_; }

std::int64_t Selection::unphysical() const { return unphysical_; }

bool Selection::full() const { return selected() >= settings_.max_per_run; }

std::vector<double> Selection::state() const {
  // counters are exact as doubles up to 2^53
  std::vector<double> state = {state_version,
                               static_cast<double>(samples_),
                               mean_,
                               squares_,
                               static_cast<double>(above_),
                               static_cast<double>(too_similar_),
                               static_cast<double>(unphysical_),
                               first_energy_ ? 1.0 : 0.0,
                               first_energy_.value_or(0.0),
                               size_};
  for (const auto &chosen : chosen_) {
    state.push_back(chosen.energy);
    state.push_back(chosen.cv);
    state.push_back(static_cast<double>(chosen.step));
  }
  return state;
}

void Selection::restore(const std::vector<double> &state) {
  if (!state.empty() && state[0] == 1.0)
    throw std::runtime_error("the saved state of the selection is of an older alrare (version 1, "
                             "this one reads version 2); start the selection anew");
  const bool valid =
      state.size() >= state_header && (state.size() - state_header) % state_row == 0 &&
      state[0] == state_version &&
      std::all_of(state.begin(), state.end(), [](double value) { return std::isfinite(value); });
  if (!valid)
    throw std::runtime_error("the saved state of the selection is damaged or foreign");
  samples_ = static_cast<std::int64_t>(state[1]);
  mean_ = state[2];
  squares_ = state[3];
  above_ = static_cast<std::int64_t>(state[4]);
  too_similar_ = static_cast<std::int64_t>(state[5]);
  unphysical_ = static_cast<std::int64_t>(state[6]);
  first_energy_.reset();
  if (state[7] != 0.0)
    first_energy_ = state[8];
  size_ = state[9];
  chosen_.clear();
  for (std::size_t i = state_header; i < state.size(); i += state_row)
    chosen_.push_back({state[i], state[i + 1], static_cast<std::int64_t>(state[i + 2])});
}

} // namespace alrare
