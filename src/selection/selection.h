// SPDX-License-Identifier: GPL-2.0-or-later
/// \file
/// Which configurations of a run deserve a label (Jung, Choi, Lee, Digital Discovery 2024, 3, 514,
/// sections 2.3.2 and 2.3.3).
///
/// All energies of one Selection are in one unit, all its uncertainties in one; the caller chooses
/// both.

#ifndef ALRARE_SELECTION_SELECTION_H
#define ALRARE_SELECTION_SELECTION_H

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace alrare {

/// How a configuration is judged: the settings of `fix al_select` and of `alrare._core.Selection`,
/// by the names they have there.
///
/// With `threshold` the threshold is fixed. With `relative` it is relative * max(size,
/// relative_floor), `Sample::size` telling the size. With neither it is adaptive: mean + sigma *
/// std of the uncertainty over the first `screening_steps` samples, then frozen.
struct SelectionSettings {
  std::optional<double> threshold;     ///< the fixed threshold, >= 0
  std::optional<double> relative;      ///< factor of the relative threshold, > 0
  double relative_floor = 0.0;         ///< smallest size that counts, > 0, unit of the uncertainty
  std::int64_t screening_steps = 1000; ///< samples that make the adaptive threshold, >= 2
  double sigma = 3.0;                  ///< factor of the adaptive threshold, >= 0
  double energy_gap = 0.0; ///< smallest energy difference to every selected one; 0: not tested
  double cv_gap = 0.0;     ///< the same for the collective variable; 0: not tested
  /// A sample this many steps after the last selected one passes both gaps; 0: never.
  std::int64_t gap_steps = 0;
  std::int64_t max_per_run = 50;     ///< most configurations that are selected, >= 1
  std::optional<double> upper;       ///< an uncertainty above this is unphysical
  std::optional<double> upper_sigma; ///< so is one above mean + upper_sigma * std (adaptive)
};

/// What is known of one configuration.
struct Sample {
  double uncertainty;    ///< of the members' energies or forces, or another
  double energy;         ///< mean of the members' energies, or the potential energy
  double cv = 0.0;       ///< collective variable; any finite number when there is none
  std::int64_t step = 0; ///< MD step
  /// Size of the uncertain quantity, for a relative threshold. Without one it is |energy - energy
  /// of the first finite sample|, the strain energy so far.
  std::optional<double> size = std::nullopt;
};

/// What became of one configuration.
enum class Verdict {
  screening,   ///< one of those that make the adaptive threshold
  below,       ///< its uncertainty is not above the threshold
  unphysical,  ///< not a number, uncertainty above the upper bound, or bad geometry
  too_similar, ///< within a gap of a selected one
  over_cap,    ///< good, but `max_per_run` are selected already
  selected
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

  /// The threshold: the relative one for the last finite sample; none while the window of the
  /// adaptive one, its first `screening_steps` samples, is not full.
  [[nodiscard]] std::optional<double> threshold() const;

  /// Mean of the uncertainties: of the window (adaptive) or of all samples so far (fixed,
  /// relative); 0 if none.
  [[nodiscard]] double mean() const;
  /// Their standard deviation (divisor n - 1); 0 with fewer than two.
  [[nodiscard]] double std() const;

  [[nodiscard]] std::int64_t selected() const;
  [[nodiscard]] std::int64_t above() const;       ///< physical numbers above the threshold
  [[nodiscard]] std::int64_t too_similar() const; ///< within a gap of a selected one
  [[nodiscard]] std::int64_t unphysical() const;  ///< refused as unphysical
  [[nodiscard]] bool full() const;                ///< whether `max_per_run` are selected

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

  SelectionSettings settings_;
  std::vector<Chosen> chosen_;
  std::int64_t samples_ = 0;          // in mean and std
  double mean_ = 0.0, squares_ = 0.0; // Welford: sum of squared deviations from the mean
  std::int64_t above_ = 0, too_similar_ = 0, unphysical_ = 0;
  std::optional<double> first_energy_; // of the first finite sample
  double size_ = 0.0;                  // of the last finite sample
};

} // namespace alrare

#endif
