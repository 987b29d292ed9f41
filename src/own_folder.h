// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_OWN_FOLDER_H
#define ALRARE_OWN_FOLDER_H

#include <dlfcn.h>

#include <string>

namespace alrare {

/// The folder of the shared object (or program) this code was linked into, with a slash at its end.
inline std::string own_folder() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void *>(&own_folder), &info) == 0 || info.dli_fname == nullptr)
    return "";
  const std::string file = info.dli_fname;
  const auto slash = file.rfind('/');
  return slash == std::string::npos ? "" : file.substr(0, slash + 1);
}

} // namespace alrare

#endif
