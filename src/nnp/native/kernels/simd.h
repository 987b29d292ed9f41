// SPDX-License-Identifier: GPL-2.0-or-later
//
// Vectors of floats on the vector extensions of GCC and clang, and the few functions on them.
// Included only by the kernel files, once per instruction set, with ALRARE_LANES defined.
// Everything has internal linkage: copies of different instruction sets must not meet.
#ifndef ALRARE_NNP_NATIVE_KERNELS_SIMD_H
#define ALRARE_NNP_NATIVE_KERNELS_SIMD_H

#if defined(__AVX__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define ALRARE_INLINE static inline __attribute__((always_inline))

namespace {

template <int L> struct Lanes;

// NOLINTBEGIN(bugprone-macro-parentheses): types
#define ALRARE_VECTOR(L)                                                                           \
  typedef float Float##L __attribute__((vector_size(4 * L)));                                      \
  typedef int Int##L __attribute__((vector_size(4 * L)));                                          \
  typedef float Loose##L __attribute__((vector_size(4 * L), aligned(4), may_alias));               \
  typedef int LooseInt##L __attribute__((vector_size(4 * L), aligned(4), may_alias));              \
  template <> struct Lanes<L> {                                                                    \
    static Float##L load(const float *p) { return *reinterpret_cast<const Loose##L *>(p); }        \
    static void store(float *p, Float##L v) { *reinterpret_cast<Loose##L *>(p) = v; }              \
    static Int##L load(const int *p) { return *reinterpret_cast<const LooseInt##L *>(p); }         \
    static Float##L splat(float s) { return s - Float##L{}; }                                      \
    static Int##L bits(Float##L v) { return reinterpret_cast<Int##L>(v); }                         \
    static Float##L floats(Int##L v) { return reinterpret_cast<Float##L>(v); }                     \
  };
// NOLINTEND(bugprone-macro-parentheses)

ALRARE_VECTOR(4)

ALRARE_INLINE Float4 square_root(Float4 v) {
#if defined(__SSE2__)
  return reinterpret_cast<Float4>(_mm_sqrt_ps(reinterpret_cast<__m128>(v)));
#elif defined(__aarch64__)
  return reinterpret_cast<Float4>(vsqrtq_f32(reinterpret_cast<float32x4_t>(v)));
#else
  for (int l = 0; l < 4; ++l)
    v[l] = __builtin_sqrtf(v[l]);
  return v;
#endif
}
#if defined(__SSE2__)
ALRARE_INLINE Float4 larger(Float4 a, Float4 b) {
  return reinterpret_cast<Float4>(_mm_max_ps(a, b));
}
ALRARE_INLINE Float4 smaller(Float4 a, Float4 b) {
  return reinterpret_cast<Float4>(_mm_min_ps(a, b));
}
#else
ALRARE_INLINE Float4 larger(Float4 a, Float4 b) { return a > b ? a : b; }
ALRARE_INLINE Float4 smaller(Float4 a, Float4 b) { return a < b ? a : b; }
#endif

#if ALRARE_LANES >= 8
ALRARE_VECTOR(8)
ALRARE_INLINE Float8 square_root(Float8 v) { return reinterpret_cast<Float8>(_mm256_sqrt_ps(v)); }
ALRARE_INLINE Float8 larger(Float8 a, Float8 b) {
  return reinterpret_cast<Float8>(_mm256_max_ps(a, b));
}
ALRARE_INLINE Float8 smaller(Float8 a, Float8 b) {
  return reinterpret_cast<Float8>(_mm256_min_ps(a, b));
}
#endif

#if ALRARE_LANES >= 16
ALRARE_VECTOR(16)
// with a zero mask source: the plain intrinsics of GCC 12 warn about their own undefined operand
ALRARE_INLINE Float16 square_root(Float16 v) { return _mm512_maskz_sqrt_ps(0xffff, v); }
ALRARE_INLINE Float16 larger(Float16 a, Float16 b) { return _mm512_maskz_max_ps(0xffff, a, b); }
ALRARE_INLINE Float16 smaller(Float16 a, Float16 b) { return _mm512_maskz_min_ps(0xffff, a, b); }
#endif

template <class V> constexpr int lanes_of = static_cast<int>(sizeof(V) / 4);
template <class V> using Of = Lanes<lanes_of<V>>;

template <class V> ALRARE_INLINE V load(const float *p) { return Of<V>::load(p); }
template <class V> ALRARE_INLINE void store(float *p, V v) { Of<V>::store(p, v); }
template <class V> ALRARE_INLINE V splat(float s) { return Of<V>::splat(s); }

/// The first `count` lanes of v, zero in the others.
template <class V> ALRARE_INLINE V keep(V v, int count) {
  alignas(64) static constexpr int mask[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                               -1, -1, -1, -1, -1, 0,  0,  0,  0,  0,  0,
                                               0,  0,  0,  0,  0,  0,  0,  0,  0,  0};
  return Of<V>::floats(Of<V>::bits(v) & Of<V>::load(mask + (16 - count)));
}

/// One level of a transposed sum: adds neighboring lanes (S apart) of `a` into the lanes whose bit
/// S is 0, those of `b` into the others. With four lanes and S = 1:
///
///     a = a0 a1 a2 a3, b = b0 b1 b2 b3  ->  a0+a1 b0+b1 a2+a3 b2+b3
template <int S, class V> ALRARE_INLINE V fold(V a, V b) {
  constexpr int L = lanes_of<V>;
#define ALRARE_PICK(l) ((l) & S ? L + (l) : (l))
#define ALRARE_SWAP(l) ((l) & S ? L + ((l) ^ S) : ((l) ^ S))
#if defined(__clang__)
#define ALRARE_SHUFFLE(...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define ALRARE_SHUFFLE(...) __builtin_shuffle(a, b, decltype(Of<V>::bits(a)){__VA_ARGS__})
#endif
#define ALRARE_FOUR(f, l) f(l), f((l) + 1), f((l) + 2), f((l) + 3)
  if constexpr (L == 4)
    return ALRARE_SHUFFLE(ALRARE_FOUR(ALRARE_PICK, 0)) +
           ALRARE_SHUFFLE(ALRARE_FOUR(ALRARE_SWAP, 0));
  else if constexpr (L == 8)
    return ALRARE_SHUFFLE(ALRARE_FOUR(ALRARE_PICK, 0), ALRARE_FOUR(ALRARE_PICK, 4)) +
           ALRARE_SHUFFLE(ALRARE_FOUR(ALRARE_SWAP, 0), ALRARE_FOUR(ALRARE_SWAP, 4));
  else
    return ALRARE_SHUFFLE(ALRARE_FOUR(ALRARE_PICK, 0), ALRARE_FOUR(ALRARE_PICK, 4),
                          ALRARE_FOUR(ALRARE_PICK, 8), ALRARE_FOUR(ALRARE_PICK, 12)) +
           ALRARE_SHUFFLE(ALRARE_FOUR(ALRARE_SWAP, 0), ALRARE_FOUR(ALRARE_SWAP, 4),
                          ALRARE_FOUR(ALRARE_SWAP, 8), ALRARE_FOUR(ALRARE_SWAP, 12));
#undef ALRARE_PICK
#undef ALRARE_SWAP
#undef ALRARE_SHUFFLE
#undef ALRARE_FOUR
}

/// Lane l = the sum over the lanes of vector(first + l), for N vectors; N = the lanes at the top.
template <int N, class V, class Vector> ALRARE_INLINE V sums(const Vector &vector, int first = 0) {
  if constexpr (N == 1)
    return vector(first);
  else
    return fold<N / 2>(sums<N / 2, V>(vector, first), sums<N / 2, V>(vector, first + N / 2));
}

/// Lanes 0 to 3 = the sums over the lanes of a, b, c and d.
template <class V> ALRARE_INLINE V sums_of_four(V a, V b, V c, V d) {
  constexpr int L = lanes_of<V>;
  V all = fold<2>(fold<1>(a, b), fold<1>(c, d));
  if constexpr (L >= 8)
    all = fold<4>(all, all);
  if constexpr (L >= 16)
    all = fold<8>(all, all);
  return all;
}

/// The sum over the lanes.
template <class V> ALRARE_INLINE float total(V v) { return sums_of_four(v, v, v, v)[0]; }

// The polynomials below are weighted minimax fits, made and checked by make_polynomials.py.

/// 2^t for t <= 0, relative error 1e-7; 2^-126 below that.
template <class V> ALRARE_INLINE V exp2_negative(V t) {
  t = larger(t, splat<V>(-126.0f));
  const V magic =
      splat<V>(12582912.0f); // 1.5 * 2^23: its sum with t holds round(t) in the low bits
  const V shifted = t + magic;
  const V f = t - (shifted - magic);
  V p = splat<V>(0.0013276467200108917f);
  p = p * f + 0.009675541682139849f;
  p = p * f + 0.0555071329167267f;
  p = p * f + 0.2402211971769931f;
  p = p * f + 0.6931469670515388f;
  p = p * f + 1.000000071655809f;
  return Of<V>::floats(Of<V>::bits(p) + (Of<V>::bits(shifted) << 23));
}

/// log2(x) for normal x > 0, relative error 1e-7.
template <class V> ALRARE_INLINE V log2_of(V x) {
  // mantissa in [sqrt(1/2), sqrt(2))
  const auto offset = Of<V>::bits(x) - 0x3f3504f3;
  const auto exponent = offset >> 23;
  const V f = Of<V>::floats(Of<V>::bits(x) - (exponent << 23)) - 1.0f;
  V p = splat<V>(0.12583549906608724f);
  p = p * f - 0.20726914370905916f;
  p = p * f + 0.21571589105112698f;
  p = p * f - 0.23894492745411958f;
  p = p * f + 0.2879162309487492f;
  p = p * f - 0.36070367753712373f;
  p = p * f + 0.48091064330016425f;
  p = p * f - 0.7213473468675745f;
  p = p * f + 1.442695003651118f;
  return p * f + __builtin_convertvector(exponent, V);
}

/// sin(y), cos(y) for y in [0, pi/2]; the sine to full relative precision at y = 0.
template <class V> ALRARE_INLINE void sine_cosine(V y, V &sine, V &cosine) {
  const V u = y * y;
  V s = splat<V>(2.6019030389509946e-06f);
  s = s * u - 0.00019807418749452068f;
  s = s * u + 0.008333025140141235f;
  s = s * u - 0.16666656684147044f;
  sine = y + y * (u * s);
  V c = splat<V>(-2.605149500500958e-07f);
  c = c * u + 2.476016137066904e-05f;
  c = c * u - 0.0013888361401522317f;
  c = c * u + 0.04166663625829155f;
  c = c * u - 0.4999999935848532f;
  cosine = c * u + 1.0f;
}

/// Gauss error linear unit x Phi(x) and its slope Phi(x) + x phi(x), absolute error 1e-7 max(1,
/// |x|).
///
/// The second derivative is phi(x) (2 - x^2). Phi(-|x|) = phi(x) times the Mills ratio, a
/// polynomial on [0, 5.5].
template <class V> ALRARE_INLINE void gelu(V x, V &value, V &slope, V &bend) {
  const V size = smaller(Of<V>::floats(Of<V>::bits(x) & 0x7fffffff), splat<V>(5.5f));
  const V phi = exp2_negative(x * x * -0.72134752044448170f) * 0.3989422804014327f;
  V r = splat<V>(-6.119683059207936e-07f);
  r = r * size + 1.575666765401921e-05f;
  r = r * size - 0.00018236915551429387f;
  r = r * size + 0.0012718651924016416f;
  r = r * size - 0.006090687727572418f;
  r = r * size + 0.021849429985392785f;
  r = r * size - 0.06303799825304222f;
  r = r * size + 0.1546646122462873f;
  r = r * size - 0.3326778046225991f;
  r = r * size + 0.626545946371255f;
  r = r * size - 0.9999926413659126f;
  r = r * size + 1.2533140568249392f;
  const V tail = phi * r;
  const V phi_sum = x > V{} ? 1.0f - tail : tail;
  value = x * phi_sum;
  slope = phi_sum + x * phi;
  bend = phi * (2.0f - x * x);
}
template <class V> ALRARE_INLINE void gelu(V x, V &value, V &slope) {
  V bend;
  gelu(x, value, slope, bend);
}

/// max(0, x) + min(0, alpha (exp(x/alpha) - 1)) and its slope.
template <class V> ALRARE_INLINE void celu(V x, float alpha, V &value, V &slope) {
  slope = exp2_negative(smaller(x, V{}) * (1.4426950408889634f / alpha));
  value = larger(x, V{}) + (slope - 1.0f) * alpha;
}

} // namespace

#endif
