// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_KERNELS_INSTRUCTION_SET_H
#define ALRARE_NNP_NATIVE_KERNELS_INSTRUCTION_SET_H

#include "nnp/native/kernels/kernels.h"

#include <string>

namespace alrare::native {

/// The kernels of an instruction set: avx512, avx2 or portable; "auto" is the best one this machine
/// has.
///
/// \throws std::runtime_error when this machine or this build lacks it, or the name is unknown.
const Kernels &find_kernels(const std::string &instruction_set);

} // namespace alrare::native

#endif
