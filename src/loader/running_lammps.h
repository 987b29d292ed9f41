// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_LOADER_RUNNING_LAMMPS_H
#define ALRARE_LOADER_RUNNING_LAMMPS_H

#include "loader/lammps_build.h"

#include <string>

namespace alrare {

/// The LAMMPS that calls, found without any of its classes.
///
/// \param code  address of one of its functions
LammpsBuild running_lammps(const void *code);

/// Prints a warning as LAMMPS does, on screen and in the log; goes on.
void warn(void *lmp, const std::string &text);

} // namespace alrare

#endif
