// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_FIX_AL_SELECT_GEOMETRY_H
#define ALRARE_FIX_AL_SELECT_GEOMETRY_H

namespace LAMMPS_NS {

/// Whether all positions are numbers and no two atoms, periodic images included, are nearer than
/// min_distance. Collective.
///
/// \param list  half or full, with every pair nearer than min_distance
bool is_sound(class LAMMPS *lmp, const class NeighList &list, double min_distance);

} // namespace LAMMPS_NS

#endif
