// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_FILE_METADATA_H
#define ALRARE_NNP_FILE_METADATA_H

#include <limits>
#include <string>
#include <vector>

namespace alrare {

/// What an ensemble says about itself (docs/model_format.md).
struct Metadata {
  int format_version = 1;            ///< of the contract that its forward follows
  std::vector<std::string> elements; ///< element symbols; the index is the species
  int members = 0;                   ///< number of networks M, at least 1
  int best_member = 0;               ///< 0-based member with the lowest force error
  double cutoff = 0.0;               ///< edges of the neighborhood, Å
  double angular_cutoff = 0.0;       ///< edges that form triples, Å; 0 = no triples wanted
  double receptive_field = 0.0;      ///< how far an atom's energy sees, Å
  bool double_precision = false;     ///< the model takes float64 vectors (default float32)
  std::string alrare_version;        ///< who wrote the file; may be empty
  std::string family = "ani";        ///< which networks these are
  /// Factors that make errors of energy_std and of force_std; not numbers: not calibrated.
  double energy_calibration = std::numeric_limits<double>::quiet_NaN();
  double force_calibration = std::numeric_limits<double>::quiet_NaN();

  /// Shells of neighbors of the centers that have edges too: 0 where an atom's energy depends on
  /// its own edges alone.
  [[nodiscard]] int message_shells() const;

  [[nodiscard]] bool is_calibrated() const { return energy_calibration > 0.0; }
};

/// Reads and checks the metadata. Unknown keys are allowed: later writers may add some.
///
/// \throws std::runtime_error with one sentence when the text is not JSON, is of another format or
/// version, or a value is out of its range.
Metadata parse_metadata(const std::string &json_text);

} // namespace alrare

#endif
