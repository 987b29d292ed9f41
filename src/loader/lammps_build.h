// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_LOADER_LAMMPS_BUILD_H
#define ALRARE_LOADER_LAMMPS_BUILD_H

#include <string>
#include <string_view>

namespace alrare {

/// What decides the binary interface of a LAMMPS: its classes change between updates of a release
/// and between commits. An empty text is not known.
struct LammpsBuild {
  std::string version; ///< as its banner says: "22 Jul 2025 - Update 4"
  std::string sizes;   ///< of integers: SMALLBIG, BIGBIG or SMALLSMALL
  std::string git;     ///< what git calls its source: "stable_22Jul2025_update4"
};

/// Version and sizes, from the texts of `lmp -h` in the bytes of a program or library.
LammpsBuild read_lammps_build(std::string_view bytes);

/// Whether a plugin built for one fits the other, as far as both are known.
bool same_interface(const LammpsBuild &one, const LammpsBuild &other);

/// "22 Jul 2025 - Update 4 (SMALLBIG, stable_22Jul2025_update4)".
std::string describe(const LammpsBuild &build);

} // namespace alrare

#endif
