// SPDX-License-Identifier: GPL-2.0-or-later
#include "selection/frame_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace alrare {
namespace {

std::string number(double value, const char *format = "%.10g") {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

template <typename Values> std::string joined(const Values &values, const char *format) {
  std::string text;
  for (const double value : values)
    text += (text.empty() ? "" : " ") + number(value, format);
  return text;
}

[[noreturn]] void refused(const std::string &path, const std::string &what, const char *why) {
  throw std::runtime_error(path + ": cannot be " + what + " (" + why + ")");
}

void write(const std::string &path, const char *mode, const std::string &text) {
  errno = 0;
  std::FILE *file = std::fopen(path.c_str(), mode);
  if (!file)
    refused(path, "written", std::strerror(errno));
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool flushed = std::fflush(file) == 0;
  const int reason = errno; // of the first failure: fclose may change it
  const bool closed = std::fclose(file) == 0;
  if (!written || !flushed)
    refused(path, "written", std::strerror(reason));
  if (!closed)
    refused(path, "written", std::strerror(errno));
}

/// Read over one frame. \returns whether a whole one was there.
bool skip_frame(std::istream &stream) {
  std::string line;
  if (!std::getline(stream, line))
    return false;
  char *end = nullptr;
  const long long atoms = std::strtoll(line.c_str(), &end, 10);
  if (end == line.c_str() || atoms < 0)
    return false;
  for (long long i = 0; i < atoms + 1; ++i)
    if (!std::getline(stream, line) || stream.eof())
      return false; // eof: no newline, cut short
  return true;
}

} // namespace

std::string extended_xyz(const Frame &frame) {
  std::string text = std::to_string(frame.species.size()) + "\n";
  if (frame.pbc[0] || frame.pbc[1] || frame.pbc[2])
    text += "Lattice=\"" + joined(frame.cell, "%.10f") + "\" ";
  text += "Properties=species:S:1:pos:R:3 pbc=\"";
  for (int i = 0; i < 3; ++i)
    text += std::string(i ? " " : "") + (frame.pbc[i] ? "T" : "F");
  text += "\" step=" + std::to_string(frame.step);
  if (frame.cv)
    text += " cv=" + number(*frame.cv);
  if (!frame.member_energies.empty())
    text += " member_energies=\"" + joined(frame.member_energies, "%.8f") + "\"";
  if (frame.energy_std)
    text += " energy_std=" + number(*frame.energy_std);
  if (frame.force_std)
    text += " force_std=" + number(*frame.force_std);
  if (frame.potential_energy)
    text += " potential_energy=" + number(*frame.potential_energy, "%.8f");
  if (frame.uncertainty)
    text += " uncertainty=" + number(*frame.uncertainty);
  text += " threshold=" + number(frame.threshold) + "\n";
  for (std::size_t i = 0; i < frame.species.size(); ++i) {
    text += frame.species[i];
    for (std::size_t k = 0; k < 3; ++k)
      text += " " + number(frame.positions[3 * i + k], "%.10f");
    text += '\n';
  }
  return text;
}

FrameFile::FrameFile(std::string path) : path_(std::move(path)) {}

FrameFile::~FrameFile() {
  if (lock_ >= 0)
    close(lock_);
}

/// Before anything is changed; what is no file on a disk (a pipe) needs no lock.
void FrameFile::lock() {
  if (lock_ >= 0)
    return;
  std::error_code error;
  if (std::filesystem::exists(path_, error) && !std::filesystem::is_regular_file(path_, error))
    return;
  const int file = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0)
    refused(path_, "written", std::strerror(errno));
  if (flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    close(file);
    throw std::runtime_error(path_ + ": another fix al_select or run writes this file; give each a "
                                     "file of its own");
  }
  lock_ = file; // held for what else it may be: a disk without locks lets all pass
}

void FrameFile::create() {
  lock();
  write(path_, "w", "");
}

std::int64_t FrameFile::keep(std::int64_t frames) {
  std::error_code error;
  if (!std::filesystem::exists(path_, error)) {
    create();
    return 0;
  }
  lock();
  std::ifstream stream(path_, std::ios::binary);
  if (!stream)
    refused(path_, "read", std::strerror(errno));
  std::int64_t kept = 0;
  std::uintmax_t length = 0;
  while (kept < frames && skip_frame(stream)) {
    ++kept;
    length = static_cast<std::uintmax_t>(stream.tellg());
  }
  stream.close();
  std::filesystem::resize_file(path_, length, error);
  if (error)
    refused(path_, "cut to its first frames", error.message().c_str());
  return kept;
}

void FrameFile::append(const Frame &frame) const {
  std::error_code error;
  const auto length = std::filesystem::file_size(path_, error);
  const bool can_undo = !error; // not for a device or a pipe
  try {
    write(path_, "a", extended_xyz(frame));
  } catch (const std::runtime_error &) {
    if (can_undo)
      std::filesystem::resize_file(path_, length, error);
    throw;
  }
}

} // namespace alrare
