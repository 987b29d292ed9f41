// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_FIX_AL_SELECT_EQUAL_VARIABLE_H
#define ALRARE_FIX_AL_SELECT_EQUAL_VARIABLE_H

#include <string>

namespace LAMMPS_NS {

/// The index of an equal-style variable; ends LAMMPS if there is none of this name.
/// \param keyword  of fix al_select, for the error
int find_equal_variable(class LAMMPS *lmp, const std::string &keyword, const std::string &name);

} // namespace LAMMPS_NS

#endif
