// SPDX-License-Identifier: GPL-2.0-or-later
#include "loader/lammps_build.h"

#include <cctype>

namespace alrare {

namespace {

/// The version that the banner names, to the end of its line.
std::string find_version(std::string_view bytes) {
  constexpr std::string_view mark = "Massively Parallel Simulator - ";
  for (auto at = bytes.find(mark); at != std::string_view::npos; at = bytes.find(mark, at + 1)) {
    const std::string_view rest = bytes.substr(at + mark.size(), 100);
    if (!rest.empty() && std::isdigit(static_cast<unsigned char>(rest.front())) != 0)
      return std::string(rest.substr(0, rest.find_first_of(std::string_view("\n\0", 2))));
  }
  return "";
}

/// The sizes whose preprocessor symbol the list of compile settings names.
std::string find_sizes(std::string_view bytes) {
  for (const std::string sizes : {"SMALLBIG", "BIGBIG", "SMALLSMALL"})
    if (bytes.find("-DLAMMPS_" + sizes) != std::string_view::npos)
      return sizes;
  return "";
}

bool differ(const std::string &one, const std::string &other) {
  return !one.empty() && !other.empty() && one != other;
}

} // namespace

LammpsBuild read_lammps_build(std::string_view bytes) {
  return {find_version(bytes), find_sizes(bytes), ""};
}

bool same_interface(const LammpsBuild &one, const LammpsBuild &other) {
  return !differ(one.version, other.version) && !differ(one.sizes, other.sizes) &&
         !differ(one.git, other.git);
}

std::string describe(const LammpsBuild &build) {
  std::string details = build.sizes;
  if (!build.git.empty())
    details += (details.empty() ? "" : ", ") + build.git;
  const std::string version = build.version.empty() ? "of unknown version" : build.version;
  return details.empty() ? version : version + " (" + details + ")";
}

} // namespace alrare
