// SPDX-License-Identifier: GPL-2.0-or-later
/// \file
/// Extended-XYZ file of chosen configurations, in eV and Å, as ASE reads it.

#ifndef ALRARE_SELECTION_FRAME_FILE_H
#define ALRARE_SELECTION_FRAME_FILE_H

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace alrare {

/// One configuration and what was said of it, all of the same instant.
///
/// That is the values of an ensemble, or an uncertainty of another kind with the energy.
struct Frame {
  std::vector<std::string> species; ///< chemical symbol of each atom
  std::vector<double> positions;    ///< (N, 3), Å
  std::array<double, 9> cell{}; ///< rows are the cell vectors, Å; used if a direction is periodic
  std::array<bool, 3> pbc{};    ///< periodic directions
  std::int64_t step = 0;        ///< MD step
  std::optional<double> cv;     ///< collective variable, its own unit
  std::vector<double> member_energies;    ///< (M), eV; empty without an ensemble
  std::optional<double> energy_std;       ///< eV
  std::optional<double> force_std;        ///< largest of an atom, eV/Å; none if it is not known
  std::optional<double> potential_energy; ///< eV; with an uncertainty that is not an ensemble's
  std::optional<double> uncertainty;      ///< likewise, in its own unit
  double threshold = 0.0; ///< eV, eV/Å for one of the forces, or in the unit of `uncertainty`
};

/// The text of one frame. There is no `energy` key: a candidate has no label yet, and ASE would
/// take that key for one.
std::string extended_xyz(const Frame &frame);

/// A file to which frames are appended; after each call it holds whole frames only.
///
/// The first of create() and keep() locks it until the object is gone, so no two write one file.
class FrameFile {
public:
  explicit FrameFile(std::string path);
  ~FrameFile();
  FrameFile(const FrameFile &) = delete;
  FrameFile &operator=(const FrameFile &) = delete;

  /// Make the file anew, empty.
  /// \throws std::runtime_error if the disk refuses, or another object or process writes the file.
  void create();

  /// Keep the first `frames` frames and drop what follows them.
  /// \returns the number of frames kept: fewer than `frames` if there were not as many.
  /// \throws std::runtime_error if the file cannot be read or cut, or as create().
  [[nodiscard]] std::int64_t keep(std::int64_t frames);

  /// \throws std::runtime_error if the disk refuses; the file is then as it was before.
  void append(const Frame &frame) const;

private:
  void lock();

  std::string path_;
  int lock_ = -1; // descriptor that holds the lock
};

} // namespace alrare

#endif
