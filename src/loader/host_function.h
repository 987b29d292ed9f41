// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_LOADER_HOST_FUNCTION_H
#define ALRARE_LOADER_HOST_FUNCTION_H

#include <dlfcn.h>

namespace alrare {

/// A function of the LAMMPS that runs, by its symbol; null where this LAMMPS has none.
template <typename Function> Function *find_host_function(const char *symbol) {
  return reinterpret_cast<Function *>(dlsym(RTLD_DEFAULT, symbol));
}

} // namespace alrare

#endif
