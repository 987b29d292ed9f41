// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_FIX_AL_SELECT_GATHER_FRAME_H
#define ALRARE_FIX_AL_SELECT_GATHER_FRAME_H

#include "selection/frame_file.h"

namespace LAMMPS_NS {

/// The atoms of all ranks, sorted by ID, with the box and the step, as a frame on rank 0; an empty
/// frame on the others. Collective.
///
/// Positions are wrapped into the box in periodic directions, and the lower corner of the box is
/// the origin there.
/// \param element_of_type  (ntypes + 1) symbols, from 1
alrare::Frame gather_frame(class LAMMPS *lmp, const char *const *element_of_type);

} // namespace LAMMPS_NS

#endif
