// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_PAIR_NNP_FIND_EXCLUSIONS_H
#define ALRARE_PAIR_NNP_FIND_EXCLUSIONS_H

#include "pair_nnp/exclusions.h"

#include <vector>

namespace LAMMPS_NS {

/// What `neigh_modify exclude` makes of the atoms that the model sees. Collective.
///
/// \param species  by type; -1 = not seen by the model
alrare::Exclusions find_exclusions(class LAMMPS *lmp, const std::vector<int> &species);

} // namespace LAMMPS_NS

#endif
