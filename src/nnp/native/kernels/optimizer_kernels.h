// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an optimizer does element by element. Included only by the kernel files, whose flags let the
// compiler use their vectors.
#ifndef ALRARE_NNP_NATIVE_KERNELS_OPTIMIZER_KERNELS_H
#define ALRARE_NNP_NATIVE_KERNELS_OPTIMIZER_KERNELS_H

#include "nnp/native/kernels/training_types.h"

#include <cmath>

namespace {

void adam(const alrare::native::AdamFactors &factors, const float *gradient, float *first,
          float *second, float *direction, long count) {
  for (long k = 0; k < count; ++k) {
    const float g = gradient[k];
    first[k] += (g - first[k]) * factors.first_share;
    second[k] += (g * g - second[k]) * factors.second_share;
    const float root = std::sqrt(second[k]) * factors.second_scale + factors.epsilon;
    direction[k] = first[k] * factors.first_scale / root;
  }
}

} // namespace

#endif
