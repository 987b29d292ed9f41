// SPDX-License-Identifier: GPL-2.0-or-later
#include "loader/lammps_build.h"

#include <doctest/doctest.h>

#include <string>

using alrare::describe;
using alrare::LammpsBuild;
using alrare::read_lammps_build;
using alrare::same_interface;

namespace {

const LammpsBuild update_4{"22 Jul 2025 - Update 4", "SMALLBIG", ""};

} // namespace

TEST_CASE("version and sizes are read from the texts of lmp -h in a library") {
  const char texts[] = "\0Simulator - no\n\0Massively Parallel Simulator - {}\n\0"
                       "\nMassively Parallel Simulator - 22 Jul 2025 - Update 4\n\0"
                       "-DLAMMPS_GZIP\n\0-DLAMMPS_BIGBIG\n\0end";
  const std::string bytes(texts, sizeof texts);
  const LammpsBuild found = read_lammps_build(bytes);
  CHECK(found.version == "22 Jul 2025 - Update 4");
  CHECK(found.sizes == "BIGBIG");
  CHECK(found.git.empty());
  CHECK(read_lammps_build("nothing here").version.empty());
  CHECK(read_lammps_build("Massively Parallel Simulator - 2").version == "2");
}

TEST_CASE("another update, other sizes and another commit are another interface") {
  CHECK(same_interface(update_4, update_4));
  CHECK(!same_interface(update_4, {"22 Jul 2025 - Update 2", "SMALLBIG", ""}));
  CHECK(!same_interface(update_4, {"22 Jul 2025", "SMALLBIG", ""}));
  CHECK(!same_interface(update_4, {"22 Jul 2025 - Update 4", "BIGBIG", ""}));
  const LammpsBuild early{"10 Sep 2025 - Development", "SMALLBIG", "patch_10Sep2025-3-gab12"};
  const LammpsBuild late{"10 Sep 2025 - Development", "SMALLBIG", "patch_10Sep2025-90-gcd34"};
  CHECK(!same_interface(early, late));
}

TEST_CASE("what is not known stands in nobody's way") {
  CHECK(same_interface(update_4, {"22 Jul 2025 - Update 4", "", "stable_22Jul2025_update4"}));
  CHECK(same_interface({"", "SMALLBIG", ""}, update_4));
}

TEST_CASE("a build is described by all that is known of it") {
  CHECK(describe(update_4) == "22 Jul 2025 - Update 4 (SMALLBIG)");
  CHECK(describe({"29 Aug 2024", "BIGBIG", "x-modified"}) == "29 Aug 2024 (BIGBIG, x-modified)");
  CHECK(describe({"", "", ""}) == "of unknown version");
}
