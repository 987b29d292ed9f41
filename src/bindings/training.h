// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_BINDINGS_TRAINING_H
#define ALRARE_BINDINGS_TRAINING_H

#include <pybind11/pybind11.h>

namespace alrare {

/// Adds MemberGradient and TrainingBatch to the module.
void bind_training(pybind11::module_ &module);

} // namespace alrare

#endif
