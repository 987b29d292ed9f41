// SPDX-License-Identifier: GPL-2.0-or-later
//
// Panels of 8 centers in vectors of 16 lanes: two rows of weights at a time, as a small molecule
// has fewer atoms of an element than lanes. Lane 2 c is center c and the even row, lane 2 c + 1
// the odd one; both weights come by one broadcast of 64 bits, since the outputs of a tile lie side
// by side. Going forward the pair are two outputs, going back they are two terms of the sum over
// the outputs, added at the end. Memory holds (rows, 8) as for any panel of that width.
#ifndef ALRARE_NNP_NATIVE_KERNELS_PAIR_KERNELS_H
#define ALRARE_NNP_NATIVE_KERNELS_PAIR_KERNELS_H

#include "nnp/native/kernels/kernels.h"
#include "nnp/native/kernels/register_block.h"

namespace {

constexpr int pair_width = 8; // centers of a panel

/// p[0] in the even lanes, p[1] in the odd ones.
ALRARE_INLINE Float16 splat_pair(const float *p) {
  double both;
  __builtin_memcpy(&both, p, sizeof(both));
  return _mm512_castpd_ps(_mm512_set1_pd(both));
}

ALRARE_INLINE Float16 permute(Float16 v, Int16 order) {
  return _mm512_maskz_permutexvar_ps(0xffff, reinterpret_cast<__m512i>(order), v);
}

/// Each of 8 floats twice: the input of both rows.
ALRARE_INLINE Float16 load_twice(const float *p) {
  return permute(_mm512_maskz_loadu_ps(0x00ff, p),
                 Int16{0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7});
}

/// Two rows of 8 in memory, as pairs in the lanes.
ALRARE_INLINE Float16 load_pairs(const float *p) {
  return permute(load<Float16>(p), Int16{0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15});
}

/// Pairs in the lanes as two rows of 8, the order of memory.
ALRARE_INLINE Float16 rows_of_pairs(Float16 v) {
  return permute(v, Int16{0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15});
}

template <int Stride> ALRARE_INLINE void add_pairs(Vectors<Float16, 0> &, Float16, const float *) {}
/// sum[r] += x * the pair at w[r * Stride]
template <int Stride, int N>
ALRARE_INLINE void add_pairs(Vectors<Float16, N> &sum, Float16 x, const float *w) {
  sum.first += x * splat_pair(w);
  add_pairs<Stride>(sum.rest, x, w + Stride);
}

template <class Use>
ALRARE_INLINE void each_pair(const Vectors<Float16, 0> &, const Vectors<Float16, 0> &, int, Use) {}
/// use(a[r] + b[r], row), a pair of rows each
template <int N, class Use>
ALRARE_INLINE void each_pair(const Vectors<Float16, N> &a, const Vectors<Float16, N> &b, int row,
                             Use use) {
  use(a.first + b.first, row);
  each_pair(a.rest, b.rest, row + 2, use);
}

/// 8 rows of W x + bias for a panel of 8 centers; use(z, row) gets the pairs of rows.
template <class Use>
ALRARE_INLINE void forward_pairs(const float *weight, const float *bias,
                                 const alrare::native::Span *spans, int n_spans, const float *in,
                                 int first_out, Use use) {
  constexpr int tile = 8;
  Vectors<Float16, 4> even, odd; // inputs in turn: eight sums keep the multipliers busy
  clear(even);
  clear(odd);
  add_pairs<2>(even, splat<Float16>(1.0f), bias);
  for (int s = 0; s < n_spans; ++s) {
    const float *w = weight + spans[s].begin * tile;
    const float *x = in + spans[s].begin * pair_width;
#pragma GCC unroll 2
    for (int k = spans[s].begin; k < spans[s].end; k += 2, w += 2 * tile, x += 2 * pair_width) {
      add_pairs<2>(even, load_twice(x), w);
      add_pairs<2>(odd, load_twice(x + pair_width), w + tile);
    }
  }
  each_pair(even, odd, first_out, use);
}

template <class Finish> ALRARE_INLINE void finish_pairs(const Vectors<Float16, 0> &, int, Finish) {}
template <int N, class Finish>
ALRARE_INLINE void finish_pairs(const Vectors<Float16, N> &sum, int row, Finish finish) {
  finish(rows_of_pairs(fold<1>(sum.first, sum.rest.first)), row * pair_width);
  finish_pairs(sum.rest.rest, row + 2, finish);
}

/// W^T g for 8 inputs and a panel of 8 centers; `finish` gets two rows at a time and their offset.
template <class Finish>
ALRARE_INLINE void backward_pairs(const alrare::native::Layer &layer, int first_in,
                                  const float *gradient, Finish finish) {
  constexpr int tile = 8;
  const long next = static_cast<long>(layer.in) * tile;
  const float *w = layer.weight + first_in * tile;
  const float *g = gradient;
  Vectors<Float16, 8> sum;
  clear(sum);
  for (int o = 0; o < layer.out; o += tile, w += next)
#pragma GCC unroll 4
    for (int k = 0; k < tile; k += 2, g += 2 * pair_width)
      add_pairs<tile>(sum, load_pairs(g), w + k);
  finish_pairs(sum, first_in, finish);
}

} // namespace

#endif
