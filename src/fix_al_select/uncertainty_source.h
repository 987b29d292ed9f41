// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_FIX_AL_SELECT_UNCERTAINTY_SOURCE_H
#define ALRARE_FIX_AL_SELECT_UNCERTAINTY_SOURCE_H

#include "fix_al_select/al_select_options.h"

#include <memory>
#include <optional>
#include <vector>

namespace LAMMPS_NS {

/// What is said of one configuration, the same on every rank; in the units of the run.
struct Reading {
  double uncertainty = 0.0;                    ///< that which is judged
  double energy = 0.0;                         ///< of the configuration
  std::optional<double> size;                  ///< as of alrare::Sample
  std::vector<double> member_energies;         ///< (M) those of an ensemble; else empty
  std::optional<double> energy_std, force_std; ///< likewise; none where they are not known
};

/// Where fix al_select gets the uncertainty, the energy and the elements of configurations from.
class UncertaintySource {
public:
  virtual ~UncertaintySource() = default;

  /// Call at the beginning of each run; ends LAMMPS with one sentence where something is missing.
  virtual void init() = 0;

  /// Read what is known of the present configuration, none if that is nothing new. Collective.
  ///
  /// Call at every look, after clearstep_compute and before addstep_compute.
  virtual std::optional<Reading> read() = 0;

  /// (ntypes + 1) symbols, from 1.
  [[nodiscard]] virtual const char *const *element_of_type() const = 0;

  /// A list, half or full, of the pairs of atoms nearer than the option `min_distance`.
  virtual const class NeighList &neighbors() = 0;
};

/// Pair style nnp_ensemble, or the variable and the potential energy of any pair style.
std::unique_ptr<UncertaintySource> make_uncertainty_source(class Fix *fix, class LAMMPS *lmp,
                                                           const ALSelectOptions &options);

} // namespace LAMMPS_NS

#endif
