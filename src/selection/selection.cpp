// SPDX-License-Identifier: GPL-2.0-or-later
#include "selection/selection.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

namespace alrare {
namespace {

constexpr double state_version = 2.0;
// version, samples, mean, squares, three counters, whether there is a first energy, it, size
constexpr std::size_t state_header = 10;
constexpr std::size_t state_row = 3; // of a chosen one: energy, cv, step

template <typename T> void require(bool good, const char *name, T value, const char *expected) {
  if (good)
    return;
  std::ostringstream text;
  text << name << " = " << value << ": must be " << expected;
  throw std::runtime_error(text.str());
}

bool is_positive(double value) { return std::isfinite(value) && value > 0.0; }

bool is_not_negative(double value) { return std::isfinite(value) && value >= 0.0; }

void check_relative(const SelectionSettings &s) {
  require(is_positive(s.relative->factor), "threshold relative X", s.relative->factor, "> 0");
  require(is_positive(s.relative->floor), "threshold relative floor", s.relative->floor, "> 0");
  if (s.threshold)
    throw std::runtime_error("threshold: expected a fixed or a relative one, got both");
  if (s.upper)
    require(*s.upper > s.relative->factor * s.relative->floor, "upper", *s.upper,
            "larger than the smallest relative threshold, X * floor");
}

void check_upper_sigma(const SelectionSettings &s) {
  require(is_positive(*s.upper_sigma), "upper sigma", *s.upper_sigma, "> 0");
  if (s.threshold || s.relative)
    throw std::runtime_error("upper sigma needs an adaptive threshold; give upper as a number");
  require(*s.upper_sigma > s.sigma, "upper sigma", *s.upper_sigma,
          "larger than the k of the adaptive threshold");
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

Selection::Selection(const SelectionSettings &settings) : m_settings(settings) {
  const auto &s = m_settings;
  if (s.threshold)
    require(is_not_negative(*s.threshold), "threshold", *s.threshold, ">= 0");
  require(s.window >= 2, "threshold adaptive n", s.window, ">= 2");
  require(is_not_negative(s.sigma), "threshold adaptive k", s.sigma, ">= 0");
  require(is_not_negative(s.energy_gap), "energy gap", s.energy_gap, ">= 0");
  require(is_not_negative(s.cv_gap), "cv gap", s.cv_gap, ">= 0");
  require(s.gap_steps >= 0, "gap_steps", s.gap_steps, ">= 0");
  require(s.max >= 1, "max", s.max, ">= 1");
  if (s.upper)
    require(is_positive(*s.upper), "upper", *s.upper, "> 0");
  if (s.upper && s.threshold)
    require(*s.upper > *s.threshold, "upper", *s.upper, "larger than the threshold");
  if (s.relative)
    check_relative(s);
  if (s.upper_sigma)
    check_upper_sigma(s);
}

Verdict Selection::judge(const Sample &sample, const std::function<bool()> &geometry_is_sound) {
  const bool finite = std::isfinite(sample.uncertainty) && std::isfinite(sample.energy) &&
                      std::isfinite(sample.cv) && std::isfinite(sample.size.value_or(0.0));
  if (!finite) {
    ++m_unphysical;
    return Verdict::unphysical;
  }
  measure(sample);
  const bool screening = is_adaptive() && m_samples < m_settings.window;
  if (screening && m_settings.upper && sample.uncertainty > *m_settings.upper) {
    ++m_unphysical;
    return Verdict::unphysical;
  }
  if (screening || !is_adaptive())
    count(sample.uncertainty);
  if (screening)
    return Verdict::screening;

  if (!(sample.uncertainty > *threshold()))
    return Verdict::below;
  ++m_above;
  if (too_uncertain(sample.uncertainty) || !geometry_is_sound()) {
    ++m_unphysical;
    return Verdict::unphysical;
  }
  if (!differs_from_all_chosen(sample)) {
    ++m_too_similar;
    return Verdict::too_similar;
  }
  if (full())
    return Verdict::over_cap;
  m_chosen.push_back({sample.energy, sample.cv, sample.step});
  return Verdict::selected;
}

bool Selection::is_adaptive() const { return !m_settings.threshold && !m_settings.relative; }

/// Add an uncertainty to the mean and the std (Welford).
void Selection::count(double uncertainty) {
  ++m_samples;
  const double delta = uncertainty - m_mean;
  m_mean += delta / static_cast<double>(m_samples);
  m_squares += delta * (uncertainty - m_mean);
}

void Selection::measure(const Sample &sample) {
  if (!m_first_energy)
    m_first_energy = sample.energy;
  m_size = sample.size ? *sample.size : std::abs(sample.energy - *m_first_energy);
}

bool Selection::too_uncertain(double uncertainty) const {
  if (m_settings.upper && uncertainty > *m_settings.upper)
    return true;
  return m_settings.upper_sigma && uncertainty > mean() + *m_settings.upper_sigma * std();
}

bool Selection::differs_from_all_chosen(const Sample &sample) const {
  const std::int64_t wait = m_settings.gap_steps;
  if (wait > 0 && !m_chosen.empty() && sample.step - m_chosen.back().step >= wait)
    return true;
  return std::all_of(m_chosen.begin(), m_chosen.end(), [&](const Chosen &chosen) {
    const double energy_gap = m_settings.energy_gap, cv_gap = m_settings.cv_gap;
    return (energy_gap == 0.0 || std::abs(sample.energy - chosen.energy) > energy_gap) &&
           (cv_gap == 0.0 || std::abs(sample.cv - chosen.cv) > cv_gap);
  });
}

std::optional<double> Selection::threshold() const {
  if (m_settings.threshold)
    return m_settings.threshold;
  if (m_settings.relative)
    return m_settings.relative->factor * std::max(m_size, m_settings.relative->floor);
  if (m_samples < m_settings.window)
    return std::nullopt;
  return mean() + m_settings.sigma * std();
}

double Selection::mean() const { return m_mean; }

double Selection::std() const {
  return m_samples < 2 ? 0.0 : std::sqrt(m_squares / static_cast<double>(m_samples - 1));
}

std::int64_t Selection::selected() const { return static_cast<std::int64_t>(m_chosen.size()); }

std::int64_t Selection::above() const { return m_above; }

std::int64_t Selection::too_similar() const { return m_too_similar; }

std::int64_t Selection::unphysical() const { return m_unphysical; }

bool Selection::full() const { return selected() >= m_settings.max; }

std::vector<double> Selection::state() const {
  // counters are exact as doubles up to 2^53
  std::vector<double> state = {state_version,
                               static_cast<double>(m_samples),
                               m_mean,
                               m_squares,
                               static_cast<double>(m_above),
                               static_cast<double>(m_too_similar),
                               static_cast<double>(m_unphysical),
                               m_first_energy ? 1.0 : 0.0,
                               m_first_energy.value_or(0.0),
                               m_size};
  for (const auto &chosen : m_chosen) {
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
  m_samples = static_cast<std::int64_t>(state[1]);
  m_mean = state[2];
  m_squares = state[3];
  m_above = static_cast<std::int64_t>(state[4]);
  m_too_similar = static_cast<std::int64_t>(state[5]);
  m_unphysical = static_cast<std::int64_t>(state[6]);
  m_first_energy.reset();
  if (state[7] != 0.0)
    m_first_energy = state[8];
  m_size = state[9];
  m_chosen.clear();
  for (std::size_t i = state_header; i < state.size(); i += state_row)
    m_chosen.push_back({state[i], state[i + 1], static_cast<std::int64_t>(state[i + 2])});
}

} // namespace alrare
