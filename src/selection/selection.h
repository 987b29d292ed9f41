// SPDX-License-Identifier: GPL-2.0-or-later
/// \file
/// Which configurations of a run deserve a label (Jung, Choi, Lee, Digital Discovery 2024, 3, 514,
/// sections 2.3.2 and 2.3.3).
///
/// All energies of one Selection are in one unit, and its uncertainties in one; which ones is the
/// caller's affair.

#ifndef ALRARE_SELECTION_H
#define ALRARE_SELECTION_H

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace alrare {

/// A threshold that grows with the size of what is uncertain: `factor` times the size.
struct RelativeThreshold {
  double factor = 0.0; ///< > 0
  double floor = 0.0;  ///< > 0; a size below this counts as this, in the unit of the uncertainty
};

/// How a configuration is judged.
struct SelectionSettings {
  /// The fixed threshold of the uncertainty; none, and no relative one: mean + `sigma` * std of the
  /// first `window` samples.
  std::optional<double> threshold;
  std::optional<RelativeThreshold> relative; ///< instead of a fixed one
  std::int64_t window = 1000;                ///< samples that make the adaptive threshold, >= 2
  double sigma = 3.0;                        ///< factor of the adaptive threshold, >= 0
  double energy_gap = 0.0; ///< smallest energy difference to every chosen one; 0: not tested
  double cv_gap = 0.0;     ///< same for the collective variable; 0: not tested
  std::int64_t gap_steps =
      0;                 ///< steps after the last chosen one that make up for both gaps; 0: none
  std::int64_t max = 50; ///< the most configurations that are chosen, >= 1
  std::optional<double> upper;       ///< an uncertainty above this is unphysical
  std::optional<double> upper_sigma; ///< same, as mean + `upper_sigma` * std of the window
};

/// What is known of one configuration.
struct Sample {
  double uncertainty;    ///< of the members' energies or forces
  double energy;         ///< mean of the members' energies
  double cv = 0.0;       ///< collective variable; any finite number when there is none
  std::int64_t step = 0; ///< MD step
  /// How large what is uncertain is, for a relative threshold; none: |energy - that of the first
  /// finite sample|, the strain energy so far.
  std::optional<double> size = std::nullopt;
};

/// What became of one configuration.
enum class Verdict {
  screening,   ///< it went into the adaptive threshold
  below,       ///< its uncertainty is not above the threshold
  unphysical,  ///< not a number, uncertainty above the upper bound, or bad geometry
  too_similar, ///< within a gap of a chosen one
  over_cap,    ///< good, but `max` are chosen already
  selected     ///< chosen
};

/// The name of a verdict, as in the enumeration.
const char *name_of(Verdict verdict);

/// The screen through which the configurations of a run pass one by one.
class Selection {
public:
  /// \throws std::runtime_error if a setting is out of its range.
  explicit Selection(const SelectionSettings &settings);

  /// Judge the next configuration. The tests come in this order, and the first that fails decides:
  /// finite numbers and an uncertainty not above `upper` (unphysical), full window (screening),
  /// threshold (below), `upper_sigma` and geometry (unphysical), gaps (too_similar), cap
  /// (over_cap).
  /// \param geometry_is_sound  called only for a configuration that is above the threshold.
  Verdict judge(const Sample &sample, const std::function<bool()> &geometry_is_sound);

  /// The threshold, or none while the window of the adaptive one is not full; of the relative one
  /// its value for the last finite sample.
  [[nodiscard]] std::optional<double> threshold() const;

  /// Mean of the uncertainties: of the window (adaptive) or of all samples so far (fixed,
  /// relative); 0 if none.
  [[nodiscard]] double mean() const;
  /// Their standard deviation (divisor n - 1); 0 with fewer than two.
  [[nodiscard]] double std() const;

  [[nodiscard]] std::int64_t selected() const;    ///< chosen
  [[nodiscard]] std::int64_t above() const;       ///< physical numbers above the threshold
  [[nodiscard]] std::int64_t too_similar() const; ///< within a gap of a chosen one
  [[nodiscard]] std::int64_t unphysical() const;  ///< refused as unphysical
  [[nodiscard]] bool full() const;                ///< whether `max` are chosen

  /// Everything that later verdicts depend on, as doubles; settings are not part of it.
  [[nodiscard]] std::vector<double> state() const;

  /// Go on from what `state` returned.
  /// \throws std::runtime_error if the numbers are not a state.
  void restore(const std::vector<double> &state);

private:
  struct Chosen {
    double energy, cv;
    std::int64_t step;
  };

  [[nodiscard]] bool is_adaptive() const;
  void count(double uncertainty);
  void measure(const Sample &sample);
  [[nodiscard]] bool too_uncertain(double uncertainty) const;
  [[nodiscard]] bool differs_from_all_chosen(const Sample &sample) const;

  SelectionSettings m_settings;
  std::vector<Chosen> m_chosen;
  std::int64_t m_samples = 0;           // in mean and std
  double m_mean = 0.0, m_squares = 0.0; // Welford: sum of squared deviations from the mean
  std::int64_t m_above = 0, m_too_similar = 0, m_unphysical = 0;
  std::optional<double> m_first_energy; // of the first finite sample
  double m_size = 0.0;                  // of the last finite sample
};

} // namespace alrare

#endif
