// SPDX-License-Identifier: GPL-2.0-or-later
#include "selection/selection.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

namespace alrare {
namespace {

constexpr double state_version = 1.0;
constexpr std::size_t state_header = 7; // version, samples, mean, squares, three counters

template <typename T> void require(bool good, const char *name, T value, const char *expected) {
  if (good)
    return;
  std::ostringstream text;
  text << name << " = " << value << ": must be " << expected;
  throw std::runtime_error(text.str());
}

bool is_positive(double value) { return std::isfinite(value) && value > 0.0; }

bool is_not_negative(double value) { return std::isfinite(value) && value >= 0.0; }

} // namespace

Selection::Selection(const SelectionSettings &settings) : m_settings(settings) {
  const auto &s = m_settings;
  if (s.threshold)
    require(is_not_negative(*s.threshold), "threshold", *s.threshold, ">= 0");
  require(s.window >= 2, "threshold adaptive n", s.window, ">= 2");
  require(is_not_negative(s.sigma), "threshold adaptive k", s.sigma, ">= 0");
  require(is_not_negative(s.energy_gap), "energy gap", s.energy_gap, ">= 0");
  require(is_not_negative(s.cv_gap), "cv gap", s.cv_gap, ">= 0");
  require(s.max >= 1, "max", s.max, ">= 1");
  if (s.upper)
    require(is_positive(*s.upper), "upper", *s.upper, "> 0");
  if (s.upper && s.threshold)
    require(*s.upper > *s.threshold, "upper", *s.upper, "larger than the threshold");
  if (s.upper_sigma) {
    require(is_positive(*s.upper_sigma), "upper sigma", *s.upper_sigma, "> 0");
    if (s.threshold)
      throw std::runtime_error("upper sigma needs an adaptive threshold; give upper as a number");
    require(*s.upper_sigma > s.sigma, "upper sigma", *s.upper_sigma,
            "larger than the k of the adaptive threshold");
  }
}

Verdict Selection::judge(const Sample &sample, const std::function<bool()> &geometry_is_sound) {
  const bool finite =
      std::isfinite(sample.energy_std) && std::isfinite(sample.energy) && std::isfinite(sample.cv);
  if (!finite) {
    ++m_unphysical;
    return Verdict::unphysical;
  }
  const bool screening = !m_settings.threshold && m_samples < m_settings.window;
  if (screening && m_settings.upper && sample.energy_std > *m_settings.upper) {
    ++m_unphysical;
    return Verdict::unphysical;
  }
  if (screening || m_settings.threshold) {
    ++m_samples;
    const double delta = sample.energy_std - m_mean;
    m_mean += delta / static_cast<double>(m_samples);
    m_squares += delta * (sample.energy_std - m_mean);
  }
  if (screening)
    return Verdict::screening;

  if (!(sample.energy_std > *threshold()))
    return Verdict::below;
  ++m_above;
  if (too_uncertain(sample.energy_std) || !geometry_is_sound()) {
    ++m_unphysical;
    return Verdict::unphysical;
  }
  if (!differs_from_all_chosen(sample)) {
    ++m_too_similar;
    return Verdict::too_similar;
  }
  if (full())
    return Verdict::over_cap;
  m_chosen.push_back({sample.energy, sample.cv});
  return Verdict::selected;
}

bool Selection::too_uncertain(double energy_std) const {
  if (m_settings.upper && energy_std > *m_settings.upper)
    return true;
  return m_settings.upper_sigma && energy_std > mean() + *m_settings.upper_sigma * std();
}

bool Selection::differs_from_all_chosen(const Sample &sample) const {
  return std::all_of(m_chosen.begin(), m_chosen.end(), [&](const Chosen &chosen) {
    const double energy_gap = m_settings.energy_gap, cv_gap = m_settings.cv_gap;
    return (energy_gap == 0.0 || std::abs(sample.energy - chosen.energy) > energy_gap) &&
           (cv_gap == 0.0 || std::abs(sample.cv - chosen.cv) > cv_gap);
  });
}

std::optional<double> Selection::threshold() const {
  if (m_settings.threshold)
    return m_settings.threshold;
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
                               static_cast<double>(m_unphysical)};
  for (const auto &chosen : m_chosen) {
    state.push_back(chosen.energy);
    state.push_back(chosen.cv);
  }
  return state;
}

void Selection::restore(const std::vector<double> &state) {
  const bool valid =
      state.size() >= state_header && (state.size() - state_header) % 2 == 0 &&
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
  m_chosen.clear();
  for (std::size_t i = state_header; i < state.size(); i += 2)
    m_chosen.push_back({state[i], state[i + 1]});
}

} // namespace alrare
