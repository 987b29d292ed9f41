// SPDX-License-Identifier: GPL-2.0-or-later
#include "selection/frame_file.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

using alrare::Frame;
using alrare::FrameFile;
using doctest::Contains;

namespace {

std::string content(const std::string &path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

Frame water(std::int64_t step) {
  Frame frame;
  frame.species = {"O", "H", "H"};
  frame.positions = {0, 0, 0, 0.96, 0, 0, -0.24, 0.93, 0};
  frame.step = step;
  frame.member_energies = {-1.0, -1.5};
  frame.energy_std = 0.25;
  frame.threshold = 0.125;
  return frame;
}

} // namespace

TEST_CASE("frames are extended xyz") {
  auto frame = water(7);
  CHECK(alrare::extended_xyz(frame).rfind(
            "3\nProperties=species:S:1:pos:R:3 pbc=\"F F F\" step=7 "
            "member_energies=\"-1.00000000 -1.50000000\" energy_std=0.25 threshold=0.125\n"
            "O 0.0000000000 0.0000000000 0.0000000000\n",
            0) == 0);
  frame.force_std = 0.75;
  CHECK(alrare::extended_xyz(frame).find("energy_std=0.25 force_std=0.75 threshold=0.125\n") !=
        std::string::npos);
  frame.cv = 1.5;
  frame.pbc = {true, false, true};
  frame.cell = {9, 0, 0, 1, 8, 0, 0, 0, 7};
  const auto text = alrare::extended_xyz(frame);
  CHECK(text.find("Lattice=\"9.0000000000 0.0000000000 0.0000000000 1.0000000000 ") == 2);
  CHECK(text.find("pbc=\"T F T\" step=7 cv=1.5 ") != std::string::npos);
}

TEST_CASE("a frame without an ensemble has its energy and uncertainty instead") {
  Frame frame;
  frame.species = {"Cu"};
  frame.positions = {0, 0, 0};
  frame.potential_energy = -3.5;
  frame.uncertainty = 7.25;
  frame.threshold = 5;
  CHECK(alrare::extended_xyz(frame) == "1\nProperties=species:S:1:pos:R:3 pbc=\"F F F\" step=0 "
                                       "potential_energy=-3.50000000 uncertainty=7.25 threshold=5\n"
                                       "Cu 0.0000000000 0.0000000000 0.0000000000\n");
}

TEST_CASE("a file is cut to its first frames") {
  const std::string path = "test_frame_file.extxyz";
  FrameFile file(path);
  file.create();
  for (int step = 0; step < 3; ++step)
    file.append(water(step));
  const auto one = alrare::extended_xyz(water(0));
  std::ofstream(path, std::ios::app) << one.substr(0, one.size() - 1); // cut short by a crash
  CHECK(file.keep(9) == 3);
  CHECK(content(path) == one + alrare::extended_xyz(water(1)) + alrare::extended_xyz(water(2)));
  CHECK(file.keep(1) == 1);
  CHECK(content(path) == one);
  CHECK(file.keep(0) == 0);
  CHECK(content(path).empty());
  std::filesystem::remove(path);
  CHECK(file.keep(2) == 0); // a file that is missing is made
  CHECK(std::filesystem::exists(path));
  file.append(water(0));
  file.create();
  CHECK(content(path).empty());
  std::filesystem::remove(path);
}

TEST_CASE("a refusing disk is an error with the name of the file") {
  CHECK_THROWS_WITH(
      FrameFile("no/such/folder/c.extxyz").create(),
      Contains("no/such/folder/c.extxyz: cannot be written (No such file or directory)"));
  if (std::filesystem::exists("/dev/full"))
    CHECK_THROWS_WITH(FrameFile("/dev/full").append(water(0)),
                      Contains("/dev/full: cannot be written (No space left on device)"));
}

TEST_CASE("no two write one file") {
  const std::string path = "test_frame_file_lock.extxyz";
  {
    FrameFile first(path), second(path);
    first.create();
    first.append(water(0));
    CHECK_THROWS_WITH(second.create(), Contains("another fix al_select or run writes this file"));
    CHECK_THROWS_WITH(static_cast<void>(second.keep(0)), Contains("another fix al_select"));
    CHECK(content(path) == alrare::extended_xyz(water(0)));
  }
  FrameFile(path).create();
  std::filesystem::remove(path);
}
