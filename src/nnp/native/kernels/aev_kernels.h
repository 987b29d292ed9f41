// SPDX-License-Identifier: GPL-2.0-or-later
//
// The descriptor and its backward pass on a tile. Formulas: python/alrare/aev.py.
// Radial terms hold the shifts in the lanes, angular terms the triples of one center and one pair
// of species. Included only by the kernel files.
#ifndef ALRARE_NNP_NATIVE_KERNELS_AEV_KERNELS_H
#define ALRARE_NNP_NATIVE_KERNELS_AEV_KERNELS_H

#include "nnp/native/kernels/kernels.h"
#include "nnp/native/kernels/simd.h"

namespace {

using alrare::native::AevTables;
using alrare::native::block;
using alrare::native::Group;
using alrare::native::Panel;
using alrare::native::Range;
using alrare::native::Row;
using alrare::native::Tile;

constexpr float pi = 3.14159265358979323846f;
constexpr float log2_e = 1.44269504088896340736f;

/// Cosine cutoff cos^2(pi d / 2 r) and its slope, written from the cutoff inwards: r - d is exact
/// near r, so both keep their relative precision where they vanish.
template <class V> ALRARE_INLINE void cutoff(V distance, float radius, V &value, V &slope) {
  V s, c;
  sine_cosine(larger(radius - distance, V{}) * (0.5f * pi / radius), s, c);
  value = s * s;
  slope = s * c * (-pi / radius);
}

/// Lengths, unit vectors, angular cutoff of every slot.
template <class V> void edge_terms(const AevTables &tables, const Tile &tile) {
  for (int e = 0; e < tile.n_slots; e += lanes_of<V>) {
    const V x = load<V>(tile.x + e), y = load<V>(tile.y + e), z = load<V>(tile.z + e);
    const V distance = square_root(x * x + y * y + z * z);
    const V inverse = 1.0f / distance;
    store(tile.x + e, x * inverse);
    store(tile.y + e, y * inverse);
    store(tile.z + e, z * inverse);
    store(tile.distance + e, distance);
    store(tile.inverse + e, inverse);
    V value, slope;
    cutoff(distance, tables.angular_cutoff, value, slope);
    store(tile.smooth + e, value);
    store(tile.smooth_slope + e, slope);
    cutoff(distance, tables.radial_cutoff, value, slope);
    store(tile.pull + e, value * 0.25f); // for radial_forward: see Tile
    store(tile.bend_x + e, slope * 0.25f);
  }
}

template <class V> void radial_forward(const AevTables &tables, const Tile &tile) {
  const float eta = -tables.radial_eta * log2_e;
  for (int k = 0; k < tables.radial_size; k += lanes_of<V>) {
    const V shift = load<V>(tables.radial_shifts + k);
    for (int r = 0; r < tile.n_ranges; ++r) {
      const Range &range = tile.ranges[r];
      V sum{};
      for (int e = range.begin; e < range.end; ++e) {
        const V offset = tile.distance[e] - shift;
        const V gauss = exp2_negative(offset * offset * eta);
        const float value = tile.pull[e], slope = tile.bend_x[e];
        sum += gauss * value;
        store(tile.radial_slope + static_cast<long>(e) * tables.radial_size + k,
              gauss * (slope - offset * (2.0f * tables.radial_eta * value)));
      }
      store(tile.rows_aev + static_cast<long>(range.center) * tables.features + range.feature + k,
            sum);
    }
  }
}

/// Cosine, mean distance and product of cutoffs of each triple of a group, one after the other.
template <class V> void list_triples(const Tile &tile, const Group &group) {
  int t = group.first_triple;
  for (int r = group.first_row; r < group.end_row; ++r) {
    const Row row = tile.rows[r];
    const float x = tile.x[row.a], y = tile.y[row.a], z = tile.z[row.a];
    const float distance = 0.5f * tile.distance[row.a], smooth = tile.smooth[row.a];
    for (int j = 0; j < row.count; j += lanes_of<V>) { // writes past the row's end: overwritten
      const int b = row.b + j;
      store(tile.cosine + t + j,
            load<V>(tile.x + b) * x + load<V>(tile.y + b) * y + load<V>(tile.z + b) * z);
      store(tile.mean + t + j, load<V>(tile.distance + b) * 0.5f + distance);
      store(tile.weight + t + j, load<V>(tile.smooth + b) * smooth);
    }
    t += row.count;
  }
  store(tile.cosine + t, V{}); // padding of the last vector
  store(tile.mean + t, splat<V>(1.0f));
  store(tile.weight + t, V{});
}

/// x^(zeta-1) for x in [0, 1]
template <class V> ALRARE_INLINE V powered(const AevTables &tables, V x) {
  if (tables.power < 0)
    return exp2_negative(log2_of(larger(x, splat<V>(1e-30f))) * (tables.zeta - 1.0f));
  V p = splat<V>(tables.power_coefficients[tables.power_degree]);
  for (int k = tables.power_degree - 1; k >= 0; --k)
    p = p * x + tables.power_coefficients[k];
  for (int bits = tables.power; bits != 0; bits >>= 1) {
    if (bits & 1)
      p = p * x;
    x = x * x;
  }
  return p;
}

/// Gaussians (n_shifts), angle terms (n_sections) and their slopes of one vector of triples.
template <class V>
ALRARE_INLINE void triple_terms(const AevTables &tables, V cosine, V mean, float *out) {
  constexpr int L = lanes_of<V>;
  const float eta = -tables.angular_eta * log2_e;
  for (int k = 0; k < tables.n_shifts; ++k, out += L) {
    const V offset = mean - tables.angular_shifts[k];
    store(out, exp2_negative(offset * offset * eta));
  }
  const V scaled = cosine * 0.95f;
  const V sine = square_root(1.0f - scaled * scaled);
  const V cotangent = scaled / sine;
  const float factor = 2.0f * 0.5f * 0.95f * tables.zeta;
  float *const slopes = out + tables.n_sections * L;
  for (int z = 0; z < tables.n_sections; ++z) {
    const float c = tables.section_cos[z], s = tables.section_sin[z];
    const V base = larger(0.5f + (scaled * (0.5f * c) + sine * (0.5f * s)), V{});
    const V lower = powered(tables, base);
    store(out + z * L, lower * base * 2.0f);
    store(slopes + z * L, lower * (c - cotangent * s) * factor);
  }
}

/// The features of shifts k..k+3, sections z..z+3, summed over the triples of a group: 16 floats.
template <class V>
void sum_block(const AevTables &tables, const Tile &tile, const Group &group, int k, int z,
               float *out) {
  constexpr int L = lanes_of<V>;
  const long stride = static_cast<long>(tables.n_shifts + 2 * tables.n_sections) * L;
  const float *terms = tile.terms + group.first_triple / L * stride;
  // Named sums: an array of them would live in memory. Two sections at a time fit 16 registers.
  alignas(64) float sums16[block * L];
  for (int half = 0; half < 4; half += 2) {
    V s00{}, s01{}, s10{}, s11{}, s20{}, s21{}, s30{}, s31{};
    const float *gauss = terms + k * L;
    const float *angle = terms + (tables.n_shifts + z + half) * L;
    for (int t = 0; t < group.n_triples; t += L, gauss += stride, angle += stride) {
      const V weight = load<V>(tile.weight + group.first_triple + t);
      const V a0 = load<V>(angle) * weight, a1 = load<V>(angle + L) * weight;
      const V g0 = load<V>(gauss), g1 = load<V>(gauss + L);
      const V g2 = load<V>(gauss + 2 * L), g3 = load<V>(gauss + 3 * L);
      s00 += g0 * a0;
      s01 += g0 * a1;
      s10 += g1 * a0;
      s11 += g1 * a1;
      s20 += g2 * a0;
      s21 += g2 * a1;
      s30 += g3 * a0;
      s31 += g3 * a1;
    }
    float *const at = sums16 + half * L;
    store(at, s00);
    store(at + L, s01);
    store(at + 4 * L, s10);
    store(at + 5 * L, s11);
    store(at + 8 * L, s20);
    store(at + 9 * L, s21);
    store(at + 12 * L, s30);
    store(at + 13 * L, s31);
  }
  for (int f = 0; f < block; f += L)
    store(out + f, sums<L, V>([&](int i) { return load<V>(sums16 + i * L); }, f));
}

template <class V> void angular_forward(const AevTables &tables, const Tile &tile) {
  constexpr int L = lanes_of<V>;
  const long stride = static_cast<long>(tables.n_shifts + 2 * tables.n_sections) * L;
  for (int n = 0; n < tile.n_groups; ++n) {
    const Group &group = tile.groups[n];
    list_triples<V>(tile, group);
    float *terms = tile.terms + group.first_triple / L * stride;
    for (int t = 0; t < group.n_triples; t += L, terms += stride)
      triple_terms(tables, load<V>(tile.cosine + group.first_triple + t),
                   load<V>(tile.mean + group.first_triple + t), terms);
    float *out = tile.rows_aev + static_cast<long>(group.center) * tables.features + group.feature;
    for (int k = 0; k < tables.n_shifts; k += 4)
      for (int z = 0; z < tables.n_sections; z += 4, out += block)
        sum_block<V>(tables, tile, group, k, z, out);
  }
}

/// Rows (centers, features) into panels (features, width).
inline void to_panels(const AevTables &tables, const Tile &tile) {
  for (int p = 0; p < tile.n_panels; ++p) {
    const Panel panel = tile.panels[p];
    float *const out = tile.aev + static_cast<long>(panel.first) * tables.features;
    for (int s = 0; s < tile.n_spans; ++s)
      for (int f = tile.spans[s].begin; f < tile.spans[s].end; ++f)
        for (int lane = 0; lane < panel.width; ++lane) {
          const int center = panel.first + lane;
          out[f * panel.width + lane] =
              center < tile.n_centers
                  ? tile.rows_aev[static_cast<long>(center) * tables.features + f]
                  : 0.0f;
        }
  }
}

/// Panels (features, width) into rows (centers, features).
inline void to_rows(const AevTables &tables, const Tile &tile, const float *panels) {
  for (int p = 0; p < tile.n_panels; ++p) {
    const Panel panel = tile.panels[p];
    const float *const in = panels + static_cast<long>(panel.first) * tables.features;
    for (int s = 0; s < tile.n_spans; ++s)
      for (int lane = 0; lane < panel.width && panel.first + lane < tile.n_centers; ++lane) {
        float *const row = tile.rows_aev + static_cast<long>(panel.first + lane) * tables.features;
        for (int f = tile.spans[s].begin; f < tile.spans[s].end; ++f)
          row[f] = in[f * panel.width + lane];
      }
  }
}

template <class V> void aev_forward(const AevTables &tables, const Tile &tile) {
  for (long f = 0; f < static_cast<long>(tile.n_centers) * tables.features; f += lanes_of<V>)
    store(tile.rows_aev + f, V{});
  edge_terms<V>(tables, tile);
  radial_forward<V>(tables, tile);
  angular_forward<V>(tables, tile);
  to_panels(tables, tile);
}

template <class V> void radial_backward(const AevTables &tables, const Tile &tile) {
  constexpr int L = lanes_of<V>;
  const int size = tables.radial_size;
  for (int r = 0; r < tile.n_ranges; ++r) {
    const Range &range = tile.ranges[r];
    const float *const gradient =
        tile.rows_aev + static_cast<long>(range.center) * tables.features + range.feature;
    for (int e = range.begin; e < range.end; e += L) // writes past the range: overwritten
      store(tile.pull + e, sums<L, V>([&](int i) {
              const float *const slope = tile.radial_slope + static_cast<long>(e + i) * size;
              V product = load<V>(slope) * load<V>(gradient);
              for (int k = L; k < size; k += L)
                product += load<V>(slope + k) * load<V>(gradient + k);
              return product;
            }));
  }
}

/// For each triple, from g = dE/dA: sum g G T, and sum g G' T and sum g G T' with the cutoffs.
template <class V>
void contract_group(const AevTables &tables, const Tile &tile, const Group &group) {
  constexpr int L = lanes_of<V>;
  const long stride = static_cast<long>(tables.n_shifts + 2 * tables.n_sections) * L;
  const float *terms = tile.terms + group.first_triple / L * stride;
  const float *const gradient =
      tile.rows_aev + static_cast<long>(group.center) * tables.features + group.feature;
  for (int t = 0; t < group.n_triples; t += L, terms += stride) {
    const int at = group.first_triple + t;
    const V weight = load<V>(tile.weight + at), mean = load<V>(tile.mean + at);
    V plain{}, along{}, bend{};
    for (int z = 0; z < tables.n_sections; z += 4) {
      const float *const angle = terms + (tables.n_shifts + z) * L;
      const float *const slope = angle + tables.n_sections * L;
      const V a0 = load<V>(angle), a1 = load<V>(angle + L);
      const V a2 = load<V>(angle + 2 * L), a3 = load<V>(angle + 3 * L);
      const V b0 = load<V>(slope), b1 = load<V>(slope + L);
      const V b2 = load<V>(slope + 2 * L), b3 = load<V>(slope + 3 * L);
      for (int k = 0; k < tables.n_shifts; ++k) {
        const float *const g = gradient + (k / 4) * 4 * tables.n_sections + z * 4 + (k % 4) * 4;
        const V h = a0 * g[0] + a1 * g[1] + (a2 * g[2] + a3 * g[3]);
        const V hb = b0 * g[0] + b1 * g[1] + (b2 * g[2] + b3 * g[3]);
        const V gauss = load<V>(terms + k * L);
        const V hg = h * gauss;
        plain += hg;
        along += hg * (mean - tables.angular_shifts[k]);
        bend += hb * gauss;
      }
    }
    store(tile.plain + at, plain);
    store(tile.along + at, along * weight * -tables.angular_eta);
    store(tile.bend + at, bend * weight);
  }
}

/// The edge that all triples of a row share.
struct RowEdge {
  float x, y, z, inverse, smooth, smooth_slope;
};

ALRARE_INLINE RowEdge edge_of_row(const Tile &tile, const Row &row) {
  return {tile.x[row.a],       tile.y[row.a],      tile.z[row.a],
          tile.inverse[row.a], tile.smooth[row.a], tile.smooth_slope[row.a]};
}

/// The triples' gradient on their two edges: `pull` along the edge's own direction, `bend` towards
/// the other edge, still to be divided by the length.
template <class V> void scatter_group(const Tile &tile, const Group &group) {
  constexpr int L = lanes_of<V>;
  int t = group.first_triple;
  for (int r = group.first_row; r < group.end_row; ++r) {
    const Row row = tile.rows[r];
    const auto [x, y, z, inverse, smooth, smooth_slope] = edge_of_row(tile, row);
    V pull_a{}, x_a{}, y_a{}, z_a{};
    for (int j = 0; j < row.count; j += L) {
      const int b = row.b + j, n = row.count - j < L ? row.count - j : L;
      const V plain = keep(load<V>(tile.plain + t + j), n);
      const V along = keep(load<V>(tile.along + t + j), n);
      const V bend = keep(load<V>(tile.bend + t + j), n);
      const V turn = bend * load<V>(tile.cosine + t + j);
      pull_a += along + plain * (load<V>(tile.smooth + b) * smooth_slope) - turn * inverse;
      x_a += bend * load<V>(tile.x + b);
      y_a += bend * load<V>(tile.y + b);
      z_a += bend * load<V>(tile.z + b);
      store(tile.pull + b, load<V>(tile.pull + b) + along +
                               plain * (load<V>(tile.smooth_slope + b) * smooth) -
                               turn * load<V>(tile.inverse + b));
      store(tile.bend_x + b, load<V>(tile.bend_x + b) + bend * x);
      store(tile.bend_y + b, load<V>(tile.bend_y + b) + bend * y);
      store(tile.bend_z + b, load<V>(tile.bend_z + b) + bend * z);
    }
    const V all = sums_of_four(pull_a, x_a, y_a, z_a);
    tile.pull[row.a] += all[0];
    tile.bend_x[row.a] += all[1];
    tile.bend_y[row.a] += all[2];
    tile.bend_z[row.a] += all[3];
    t += row.count;
  }
}

template <class V>
void aev_backward(const AevTables &tables, const Tile &tile, const float *gradient) {
  to_rows(tables, tile, gradient);
  radial_backward<V>(tables, tile);
  for (int e = 0; e < tile.n_slots; e += lanes_of<V>) {
    store(tile.bend_x + e, V{});
    store(tile.bend_y + e, V{});
    store(tile.bend_z + e, V{});
  }
  for (int n = 0; n < tile.n_groups; ++n) {
    contract_group<V>(tables, tile, tile.groups[n]);
    scatter_group<V>(tile, tile.groups[n]);
  }
  for (int e = 0; e < tile.n_slots; e += lanes_of<V>) {
    const V pull = load<V>(tile.pull + e), inverse = load<V>(tile.inverse + e);
    store(tile.bend_x + e, load<V>(tile.x + e) * pull + load<V>(tile.bend_x + e) * inverse);
    store(tile.bend_y + e, load<V>(tile.y + e) * pull + load<V>(tile.bend_y + e) * inverse);
    store(tile.bend_z + e, load<V>(tile.z + e) * pull + load<V>(tile.bend_z + e) * inverse);
  }
}

} // namespace

#endif
