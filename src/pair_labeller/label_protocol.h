// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_PAIR_LABELLER_LABEL_PROTOCOL_H
#define ALRARE_PAIR_LABELLER_LABEL_PROTOCOL_H

#include <cstdint>

/// What pair_style labeller and a label server say to each other over a Unix stream socket.
///
/// Both run on one machine, so numbers are in its own byte order; units are eV and Å. The pair
/// style asks, the server answers each request once (python/alrare/exploration/label_protocol.py):
///
/// | request | bytes, in order                                                                   |
/// |---------|-----------------------------------------------------------------------------------|
/// | begin   | RequestHead, then `symbol_size` characters per atom: its element, padded by zeros |
/// | label   | RequestHead, LabelHead, then (N, 3) float64 positions                             |
///
/// A connection starts with `begin`, which is sent again when elements or periodicity change.
/// Positions are in the order of the atom IDs, 1 to N, and are not wrapped into the cell; a
/// molecule has no cell, and its vectors mean nothing.
///
/// | answer to | status | body                                                                    |
/// |-----------|--------|-------------------------------------------------------------------------|
/// | begin     | ok     | none                                                                    |
/// | label     | ok,    | float64: energy, (N, 3) forces, and the stress, or nothing if there is  |
/// |           | last   | none: 6 values, eV/Å³, xx yy zz yz xz xy, positive where the cell would |
/// |           |        | shrink                                                                  |
/// | any       | failed | UTF-8 text: why; the server then closes the connection                  |
///
/// `last` asks for the end of the run after this step.
namespace alrare {

constexpr char label_magic[8] = {'A', 'L', 'R', 'L', 'A', 'B', 'L', '2'}; ///< 2: version
constexpr int symbol_size = 4;

enum class RequestKind : std::int32_t { begin = 1, label = 2 };
enum class AnswerStatus : std::int32_t { ok = 0, failed = 1, last = 2 };

struct RequestHead {
  char magic[8] = {};
  RequestKind kind = RequestKind::begin;
  std::int32_t n_atoms = 0;
  std::int32_t periodic = 0; ///< bits 0, 1, 2: the directions x, y, z
  std::int32_t zero = 0;
};

struct LabelHead {
  std::int64_t step; ///< LAMMPS's timestep
  double cell[9];    ///< rows are vectors
};

struct AnswerHead {
  AnswerStatus status;
  std::int32_t size; ///< bytes of the body
};

static_assert(sizeof(RequestHead) == 24 && sizeof(LabelHead) == 80 && sizeof(AnswerHead) == 8);

} // namespace alrare

#endif
