// SPDX-License-Identifier: GPL-2.0-or-later
// What both engines on libtorch begin with. Part of libalrare_torch.so, as they are.
#ifndef ALRARE_NNP_TORCH_DEVICE_H
#define ALRARE_NNP_TORCH_DEVICE_H

#include "nnp/evaluator.h"

#include <c10/core/Device.h>

namespace alrare {

/// "cpu" or "cuda:N" for what the user asked.
///
/// \throws std::runtime_error when the device is not there.
c10::Device torch_device(const OpenOptions &options);

/// \throws std::runtime_error when the torch that runs is not the one whose headers were compiled
/// here.
void check_torch();

} // namespace alrare

#endif
