// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_FIX_AL_SELECT_FINGERPRINT_H
#define ALRARE_FIX_AL_SELECT_FINGERPRINT_H

#include <vector>

namespace LAMMPS_NS {

/// A few numbers that differ for different configurations, equal on all ranks. Collective.
///
/// Which rank owns an atom, and in which periodic image it stands, changes them by rounding only.
std::vector<double> fingerprint(class LAMMPS *lmp);

/// Whether two fingerprints are of one configuration: equal but for rounding.
bool same(const std::vector<double> &one, const std::vector<double> &other);

} // namespace LAMMPS_NS

#endif
