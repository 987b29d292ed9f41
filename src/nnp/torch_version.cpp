// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/torch_version.h"

#include <fstream>

namespace alrare {

namespace {

/// Major, minor and patch, as pip asks for it: "2.13.0" of "2.13.0+cpu".
std::string release(const std::string &version) {
  return version.substr(0, version.find_first_not_of("0123456789."));
}

} // namespace

bool same_torch(const std::string &one, const std::string &other) {
  return release(one) == release(other);
}

std::string torch_version_in(const std::string &folder) {
  std::ifstream file(folder + "/version.py");
  const std::string mark = "__version__ = '";
  for (std::string line; std::getline(file, line);)
    if (line.rfind(mark, 0) == 0)
      return line.substr(mark.size(), line.rfind('\'') - mark.size());
  return "";
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
