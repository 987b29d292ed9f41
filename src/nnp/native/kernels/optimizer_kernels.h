// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an optimizer does element by element, and reflections of vectors. Included only by the
// kernel files, whose flags let the compiler use their vectors.
#ifndef ALRARE_NNP_NATIVE_KERNELS_OPTIMIZER_KERNELS_H
#define ALRARE_NNP_NATIVE_KERNELS_OPTIMIZER_KERNELS_H

#include "nnp/native/kernels/simd.h"
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

template <class V> float sum_of_squares(const float *values, long count) {
  V sum{};
  long k = 0;
  for (; k + lanes_of<V> <= count; k += lanes_of<V>)
    sum += load<V>(values + k) * load<V>(values + k);
  float rest = 0.0f;
  for (; k < count; ++k)
    rest += values[k] * values[k];
  return total(sum) + rest;
}

template <class V>
void reflect(const float *vector, float factor, float *rows, int n_rows, long stride, int width) {
  constexpr int L = lanes_of<V>;
  for (int r = 0; r < n_rows; ++r, rows += stride) {
    V sum{};
    for (int c = 0; c < width; c += L)
      sum += load<V>(rows + c) * load<V>(vector + c);
    const V by = splat<V>(-factor * total(sum));
    for (int c = 0; c < width; c += L)
      store(rows + c, load<V>(rows + c) + by * load<V>(vector + c));
  }
}

} // namespace

#endif
