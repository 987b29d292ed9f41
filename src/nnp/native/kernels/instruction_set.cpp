// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/kernels/instruction_set.h"

#include <stdexcept>

namespace alrare::native {

namespace {

bool machine_has(const Kernels *kernels) {
  if (kernels == nullptr)
    return false;
#if defined(__x86_64__) || defined(__i386__)
  if (kernels->lanes == 16)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
  if (kernels->lanes == 8)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return true;
}

} // namespace

const Kernels &find_kernels(const std::string &instruction_set) {
  bool known = instruction_set == "auto";
  for (const Kernels *kernels : {kernels_avx512(), kernels_avx2(), kernels_portable()}) {
    const bool wanted =
        instruction_set == "auto" || (kernels != nullptr && instruction_set == kernels->name);
    if (wanted && machine_has(kernels))
      return *kernels;
    known = known || wanted;
  }
  if (known || instruction_set == "avx512" || instruction_set == "avx2")
    throw std::runtime_error("instruction set " + instruction_set +
                             " is not there on this machine or in this build");
  throw std::runtime_error("unknown instruction set '" + instruction_set +
                           "' (expected auto, avx512, avx2 or portable)");
}

} // namespace alrare::native
