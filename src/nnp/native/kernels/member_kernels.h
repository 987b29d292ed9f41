// SPDX-License-Identifier: GPL-2.0-or-later
//
// The way back of the descriptor for several members at a time, one in each lane: what depends on
// the geometry is read once for all of them. Where there is room, the upper half of the lanes has
// the next triple of the same row. Included only by the kernel files.
#ifndef ALRARE_NNP_NATIVE_KERNELS_MEMBER_KERNELS_H
#define ALRARE_NNP_NATIVE_KERNELS_MEMBER_KERNELS_H

#include "nnp/native/kernels/aev_kernels.h"
#include "nnp/native/kernels/register_block.h"

namespace {

using alrare::native::ForceTarget;
using alrare::native::MemberTile;

template <class V> constexpr int members_of = lanes_of<V> < 8 ? lanes_of<V> : 8;
template <class V> constexpr int triples_of = lanes_of<V> / members_of<V>;

/// The values of two triples, each in the lanes of all members; where V has one triple, the first.
template <class V> ALRARE_INLINE V of_triples(const float *first, const float *second) {
#if ALRARE_LANES >= 16
  if constexpr (triples_of<V> == 2)
    return _mm512_mask_broadcastss_ps(splat<V>(*first), 0xff00, _mm_load_ss(second));
#endif
  (void)second;
  return splat<V>(*first);
}

/// The values of the members, for each triple.
template <class V> ALRARE_INLINE V of_members(const float *values) {
#if ALRARE_LANES >= 16
  if constexpr (triples_of<V> == 2)
    return _mm512_maskz_broadcast_f32x8(0xffff, load<Float8>(values));
#endif
  return load<V>(values);
}

/// The sum over the triples: one value for each member.
template <class V> ALRARE_INLINE auto over_triples(V v) {
#if ALRARE_LANES >= 16
  if constexpr (triples_of<V> == 2)
    return reinterpret_cast<Float8>(_mm512_maskz_extractf32x8_ps(0xff, v, 0)) +
           reinterpret_cast<Float8>(_mm512_maskz_extractf32x8_ps(0xff, v, 1));
  else
#endif
    return v;
}
template <class V> using Members = decltype(over_triples(V{})); ///< one vector of these values

/// dE/dAEV of one center, from the panels of the members, into (features, members) whose other
/// members are zero.
template <class V>
void gather_members(const AevTables &tables, const Tile &tile, const MemberTile &members,
                    const Panel &panel, int lane) {
  constexpr int B = members_of<V>;
  const long first = static_cast<long>(panel.first) * tables.features + lane;
  for (int m = 0; m < members.count; ++m) {
    const float *const from = members.gradients[m] + first;
    float *const to = members.center + m;
    for (int s = 0; s < tile.n_spans; ++s)
#pragma GCC unroll 8
      for (int f = tile.spans[s].begin; f < tile.spans[s].end; ++f)
        to[f * B] = from[static_cast<long>(f) * panel.width];
  }
}

/// The product of N values with N vectors.
template <class V> ALRARE_INLINE V dot(const Vectors<V, 0> &, const float *) { return V{}; }
template <class V> ALRARE_INLINE V dot(const Vectors<V, 1> &v, const float *s) {
  return v.first * *s;
}
template <class V, int N> ALRARE_INLINE V dot(const Vectors<V, N> &v, const float *s) {
  return v.first * *s + dot(v.rest, s + 1);
}

/// Sets what the slots of a range get from the radial features.
template <class V>
void radial_members(const AevTables &tables, const Tile &tile, const MemberTile &members,
                    const Range &range) {
  using W = Members<V>;
  constexpr int B = members_of<V>;
  const int size = tables.radial_size;
  for (int k = 0; k < size; k += block) {
    Vectors<W, 8> low, high; // of the gradient, which the edges share
    load_all(low, members.center + (range.feature + k) * B);
    load_all(high, members.center + (range.feature + k + 8) * B);
    for (int e = range.begin; e < range.end; ++e) {
      const float *const slope = tile.radial_slope + static_cast<long>(e) * size + k;
      const W before = k == 0 ? W{} : load<W>(members.pull + e * B);
      store(members.pull + e * B, before + (dot(low, slope) + dot(high, slope + 8)));
    }
  }
  for (int e = range.begin * B; e < range.end * B; e += B) {
    store(members.x + e, W{});
    store(members.y + e, W{});
    store(members.z + e, W{});
  }
}

/// sum, slope += the products of four sections with the gradient of their features
template <class V>
ALRARE_INLINE void add_sections(V &sum, V &slope, V a0, V a1, V a2, V a3, V b0, V b1, V b2, V b3,
                                const float *gradient) {
  constexpr int B = members_of<V>;
  const V g0 = of_members<V>(gradient), g1 = of_members<V>(gradient + B);
  sum += a0 * g0;
  slope += b0 * g0;
  sum += a1 * g1;
  slope += b1 * g1;
  const V g2 = of_members<V>(gradient + 2 * B), g3 = of_members<V>(gradient + 3 * B);
  sum += a2 * g2;
  slope += b2 * g2;
  sum += a3 * g3;
  slope += b3 * g3;
}

/// What `contract_group` computes, for the triples whose terms are at p and q.
template <class V>
ALRARE_INLINE void contract_members(const AevTables &tables, const float *p, const float *q, V mean,
                                    const float *gradient, V &plain, V &along, V &bend) {
  constexpr int L = lanes_of<V>, B = members_of<V>;
  for (int k = 0; k < tables.n_shifts; k += 4) {
    V h0{}, h1{}, h2{}, h3{}, s0{}, s1{}, s2{}, s3{};
    for (int z = 0; z < tables.n_sections; z += 4, gradient += block * B) {
      const int angle = (tables.n_shifts + z) * L, slope = angle + tables.n_sections * L;
      const V a0 = of_triples<V>(p + angle, q + angle);
      const V a1 = of_triples<V>(p + angle + L, q + angle + L);
      const V a2 = of_triples<V>(p + angle + 2 * L, q + angle + 2 * L);
      const V a3 = of_triples<V>(p + angle + 3 * L, q + angle + 3 * L);
      const V b0 = of_triples<V>(p + slope, q + slope);
      const V b1 = of_triples<V>(p + slope + L, q + slope + L);
      const V b2 = of_triples<V>(p + slope + 2 * L, q + slope + 2 * L);
      const V b3 = of_triples<V>(p + slope + 3 * L, q + slope + 3 * L);
      add_sections(h0, s0, a0, a1, a2, a3, b0, b1, b2, b3, gradient);
      add_sections(h1, s1, a0, a1, a2, a3, b0, b1, b2, b3, gradient + 4 * B);
      add_sections(h2, s2, a0, a1, a2, a3, b0, b1, b2, b3, gradient + 8 * B);
      add_sections(h3, s3, a0, a1, a2, a3, b0, b1, b2, b3, gradient + 12 * B);
    }
    const auto add_shift = [&](int shift, V h, V s) {
      const V gauss = of_triples<V>(p + shift * L, q + shift * L);
      const V product = h * gauss;
      plain += product;
      along += product * (mean - tables.angular_shifts[shift]);
      bend += s * gauss;
    };
    add_shift(k, h0, s0);
    add_shift(k + 1, h1, s1);
    add_shift(k + 2, h2, s2);
    add_shift(k + 3, h3, s3);
  }
}

template <class V> ALRARE_INLINE void add_at(float *to, V v) { store(to, load<V>(to) + v); }

/// The gradient of a group's triples on their two edges, as `scatter_group` leaves it.
template <class V>
void group_members(const AevTables &tables, const Tile &tile, const MemberTile &members,
                   const Group &group) {
  constexpr int L = lanes_of<V>, B = members_of<V>, T = triples_of<V>;
  const long stride = static_cast<long>(tables.n_shifts + 2 * tables.n_sections) * L;
  const float *const gradient = members.center + group.feature * B;
  int t = group.first_triple;
  for (int r = group.first_row; r < group.end_row; ++r) {
    const Row row = tile.rows[r];
    const auto [x, y, z, inverse, smooth, smooth_slope] = edge_of_row(tile, row);
    V pull_a{}, x_a{}, y_a{}, z_a{};
    for (int j = 0; j < row.count; j += T) {
      const int b = row.b + j, c = b + T - 1;
      const int one = t + j, two = j + T - 1 < row.count ? one + T - 1 : one;
      V plain{}, along{}, bend{};
      contract_members(
          tables, tile.terms + one / L * stride + one % L, tile.terms + two / L * stride + two % L,
          of_triples<V>(tile.mean + one, tile.mean + two), gradient, plain, along, bend);
      if (T > 1 && one == two) { // the row has no second triple
        plain = keep(plain, B);
        along = keep(along, B);
        bend = keep(bend, B);
      }
      const V weight = of_triples<V>(tile.weight + one, tile.weight + two);
      along = along * weight * -tables.angular_eta;
      bend = bend * weight;
      const V turn = bend * of_triples<V>(tile.cosine + one, tile.cosine + two);
      pull_a += along - turn * inverse +
                plain * (of_triples<V>(tile.smooth + b, tile.smooth + c) * smooth_slope);
      x_a += bend * of_triples<V>(tile.x + b, tile.x + c);
      y_a += bend * of_triples<V>(tile.y + b, tile.y + c);
      z_a += bend * of_triples<V>(tile.z + b, tile.z + c);
      add_at(members.pull + b * B,
             along - turn * of_triples<V>(tile.inverse + b, tile.inverse + c) +
                 plain * (of_triples<V>(tile.smooth_slope + b, tile.smooth_slope + c) * smooth));
      add_at(members.x + b * B, bend * x);
      add_at(members.y + b * B, bend * y);
      add_at(members.z + b * B, bend * z);
    }
    add_at(members.pull + row.a * B, over_triples(pull_a));
    add_at(members.x + row.a * B, over_triples(x_a));
    add_at(members.y + row.a * B, over_triples(y_a));
    add_at(members.z + row.a * B, over_triples(z_a));
    t += row.count;
  }
}

template <class V>
void aev_backward_members(const AevTables &tables, const Tile &tile, const MemberTile &members) {
  int range = 0, group = 0, panel = 0;
  for (int k = 0; k < tables.features * members_of<V>; k += lanes_of<V>)
    store(members.center + k, V{});
  for (int center = 0; center < tile.n_centers; ++center) {
    while (center >= tile.panels[panel].first + tile.panels[panel].width)
      ++panel;
    gather_members<V>(tables, tile, members, tile.panels[panel], center - tile.panels[panel].first);
    for (; range < tile.n_ranges && tile.ranges[range].center == center; ++range)
      radial_members<V>(tables, tile, members, tile.ranges[range]);
    for (; group < tile.n_groups && tile.groups[group].center == center; ++group)
      group_members<V>(tables, tile, members, tile.groups[group]);
  }
}

/// d/dvec of a slot.
template <class V> struct EdgeGradient {
  Members<V> x, y, z;

  static inline __attribute__((always_inline)) EdgeGradient at(const Tile &tile,
                                                               const MemberTile &members,
                                                               int slot) {
    using W = Members<V>;
    constexpr int B = members_of<V>;
    const W pull = load<W>(members.pull + slot * B);
    const float inverse = tile.inverse[slot];
    return {pull * tile.x[slot] + load<W>(members.x + slot * B) * inverse,
            pull * tile.y[slot] + load<W>(members.y + slot * B) * inverse,
            pull * tile.z[slot] + load<W>(members.z + slot * B) * inverse};
  }
};

template <class V>
void member_gradients(const Tile &tile, const MemberTile &members, const int *slots, long n,
                      float *out) {
  constexpr int B = members_of<V>;
  for (long k = 0; k < n; ++k, out += 3 * B) {
    const EdgeGradient<V> gradient = EdgeGradient<V>::at(tile, members, slots[k]);
    store(out, gradient.x);
    store(out + B, gradient.y);
    store(out + 2 * B, gradient.z);
  }
}

/// Adds to forces (members) a part of them, and takes it off those of the neighbor.
template <class W> ALRARE_INLINE void add_part(W part, double *sum, double *neighbor) {
  alignas(64) float values[lanes_of<W>];
  store(values, part);
  for (int m = 0; m < lanes_of<W>; ++m) {
    const double value = static_cast<double>(values[m]);
    sum[m] += value;
    neighbor[m] -= value;
  }
}

template <class V>
void add_member_forces(const Tile &tile, const MemberTile &members, const ForceTarget *targets,
                       long n, double *forces) {
  constexpr int B = members_of<V>;
  alignas(64) double x[B] = {}, y[B] = {}, z[B] = {}; // of the center
  for (long k = 0; k < n; ++k) {
    const ForceTarget &to = targets[k];
    const EdgeGradient<V> gradient = EdgeGradient<V>::at(tile, members, to.slot);
    double *const neighbor = forces + static_cast<long>(to.neighbor) * B;
    add_part(gradient.x, x, neighbor);
    add_part(gradient.y, y, neighbor + B);
    add_part(gradient.z, z, neighbor + 2 * B);
    if (k + 1 < n && targets[k + 1].center == to.center)
      continue;
    double *const center = forces + static_cast<long>(to.center) * B;
    for (int m = 0; m < B; ++m) {
      center[m] += x[m];
      center[B + m] += y[m];
      center[2 * B + m] += z[m];
      x[m] = y[m] = z[m] = 0.0;
    }
  }
}

} // namespace

#endif
