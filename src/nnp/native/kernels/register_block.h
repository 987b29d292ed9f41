// SPDX-License-Identifier: GPL-2.0-or-later
//
// Blocks of vectors that stay in registers: the accumulators of the matrix products. Included only
// by the kernel files.
#ifndef ALRARE_NNP_NATIVE_KERNELS_REGISTER_BLOCK_H
#define ALRARE_NNP_NATIVE_KERNELS_REGISTER_BLOCK_H

#include "nnp/native/kernels/simd.h"

namespace {

/// N vectors side by side, as nested members: the compiler keeps these in registers, while it puts
/// an array into memory.
template <class V, int N> struct Vectors {
  V first;
  Vectors<V, N - 1> rest;
};
template <class V> struct Vectors<V, 0> {};

template <class V> ALRARE_INLINE void clear(Vectors<V, 0> &) {}
template <class V, int N> ALRARE_INLINE void clear(Vectors<V, N> &out) {
  out.first = V{};
  clear(out.rest);
}
template <class V> ALRARE_INLINE void load_all(Vectors<V, 0> &, const float *) {}
template <class V, int N> ALRARE_INLINE void load_all(Vectors<V, N> &out, const float *p) {
  out.first = load<V>(p);
  load_all(out.rest, p + lanes_of<V>);
}
template <class V> ALRARE_INLINE void fill(Vectors<V, 0> &, float) {}
template <class V, int N> ALRARE_INLINE void fill(Vectors<V, N> &out, float s) {
  out.first = splat<V>(s);
  fill(out.rest, s);
}
template <class V> ALRARE_INLINE void add_scaled(Vectors<V, 0> &, const Vectors<V, 0> &, V) {}
template <class V, int N>
ALRARE_INLINE void add_scaled(Vectors<V, N> &sum, const Vectors<V, N> &x, V s) {
  sum.first += x.first * s;
  add_scaled(sum.rest, x.rest, s);
}

/// R rows of N vectors.
template <class V, int R, int N> struct Rows {
  Vectors<V, N> row;
  Rows<V, R - 1, N> rest;
};
template <class V, int N> struct Rows<V, 0, N> {};

template <class V, int N> ALRARE_INLINE void clear(Rows<V, 0, N> &) {}
template <class V, int R, int N> ALRARE_INLINE void clear(Rows<V, R, N> &out) {
  clear(out.row);
  clear(out.rest);
}
template <class V, int N> ALRARE_INLINE void fill(Rows<V, 0, N> &, const float *) {}
template <class V, int R, int N> ALRARE_INLINE void fill(Rows<V, R, N> &out, const float *s) {
  fill(out.row, *s);
  fill(out.rest, s + 1);
}
template <int Stride, class V, int N>
ALRARE_INLINE void rank_one(Rows<V, 0, N> &, const Vectors<V, N> &, const float *) {}
/// out[r] += s[r * Stride] * x
template <int Stride, class V, int R, int N>
ALRARE_INLINE void rank_one(Rows<V, R, N> &out, const Vectors<V, N> &x, const float *s) {
  add_scaled(out.row, x, splat<V>(*s));
  rank_one<Stride>(out.rest, x, s + Stride);
}

/// out[r] += s[r * stride] * x
template <class V, int N>
ALRARE_INLINE void rank_one(Rows<V, 0, N> &, const Vectors<V, N> &, const float *, long) {}
template <class V, int R, int N>
ALRARE_INLINE void rank_one(Rows<V, R, N> &out, const Vectors<V, N> &x, const float *s,
                            long stride) {
  add_scaled(out.row, x, splat<V>(*s));
  rank_one(out.rest, x, s + stride, stride);
}

// What happens to a finished block: called with each vector and its place (row, lane).
template <class V, class Use> ALRARE_INLINE void each(const Vectors<V, 0> &, int, int, Use) {}
template <class V, int N, class Use>
ALRARE_INLINE void each(const Vectors<V, N> &v, int row, int lane, Use use) {
  use(v.first, row, lane);
  each(v.rest, row, lane + lanes_of<V>, use);
}
template <class V, int N, class Use> ALRARE_INLINE void each(const Rows<V, 0, N> &, int, Use) {}
template <class V, int R, int N, class Use>
ALRARE_INLINE void each(const Rows<V, R, N> &rows, int row, Use use) {
  each(rows.row, row, 0, use);
  each(rows.rest, row + 1, use);
}

/// One panel shape: N vectors of type V, R rows of weights at a time.
template <class V_, int R_, int N_> struct Shape {
  using V = V_;
  static constexpr int R = R_, N = N_, width = N_ * lanes_of<V_>;
};

/// Calls `use` with the shape of this width.
template <class First, class... Others, class Use>
ALRARE_INLINE void with_shape(int width, Use use) {
  if constexpr (sizeof...(Others) > 0) {
    if (width != First::width) {
      with_shape<Others...>(width, use);
      return;
    }
  }
  use(First{});
}

/// Calls `use` with the first, that is widest, shape which is no wider than `room`.
template <class First, class... Others, class Use>
ALRARE_INLINE void with_widest(int room, Use use) {
  if constexpr (sizeof...(Others) > 0) {
    if (room < First::width) {
      with_widest<Others...>(room, use);
      return;
    }
  }
  use(First{});
}

} // namespace

#endif
