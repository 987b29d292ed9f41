// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_TESTS_NNP_NATIVE_INSTRUCTION_SETS_H
#define ALRARE_TESTS_NNP_NATIVE_INSTRUCTION_SETS_H

#include "nnp/native/kernels/instruction_set.h"

#include <stdexcept>
#include <string>
#include <vector>

/// The instruction sets of this machine.
inline std::vector<std::string> instruction_sets() {
  std::vector<std::string> out;
  for (const char *name : {"portable", "avx2", "avx512"})
    try {
      alrare::native::find_kernels(name);
      out.emplace_back(name);
    } catch (const std::runtime_error &) {
      continue; // not on this machine
    }
  return out;
}

#endif
