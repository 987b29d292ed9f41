// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/torch_version.h"

#include <fstream>

namespace alrare {

namespace {

/// Major, minor and patch, as pip asks for it: "2.13.0" of "2.13.0+cpu".
std::string release(const std::string &version) {
  return version.substr(0, version.find_first_not_of("0123456789."));
}

/// Major and minor: "2.13" of "2.13.0+cpu".
std::string minor_release(const std::string &version) {
  const std::string numbers = release(version);
  const auto dot = numbers.find('.');
  return dot == std::string::npos ? numbers : numbers.substr(0, numbers.find('.', dot + 1));
}

} // namespace

bool same_torch(const std::string &one, const std::string &other) {
  return minor_release(one) == minor_release(other);
}

std::string torch_version_in(const std::string &folder) {
  std::ifstream file(folder + "/version.py");
  const std::string mark = "__version__ = '";
  for (std::string line; std::getline(file, line);)
    if (line.rfind(mark, 0) == 0)
      return line.substr(mark.size(), line.rfind('\'') - mark.size());
  return "";
}

std::string torch_engine_in(const std::string &folder, const std::string &built_with,
                            const std::string &found) {
  std::string own = folder + "libalrare_torch-" + minor_release(found) + ".so";
  if (!found.empty() && std::ifstream(own).good())
    return own;
  const bool fits = found.empty() || release(built_with).empty() || same_torch(built_with, found);
  return fits ? folder + build_engine : "";
}

std::string torch_advice(const std::string &built_with, const std::string &found) {
  std::string build = "build alrare with the torch that is here (docs/install.md, 'Another torch')";
  if (release(built_with).empty())
    return build;
  const std::string built = "it was built with torch " + built_with;
  if (same_torch(built_with, found))
    return built + ", which is the one installed";
  return built + " and " + (found.empty() ? "no torch" : "torch " + found) +
         " is here: install torch==" + release(built_with) + ", or " + build;
}

} // namespace alrare
