// SPDX-License-Identifier: GPL-2.0-or-later
//
// The derivatives of the angular features by the edge vectors, features in the lanes. Formulas:
// python/alrare/aev.py. Included only by the kernel files.
#ifndef ALRARE_NNP_NATIVE_KERNELS_JACOBIAN_KERNELS_H
#define ALRARE_NNP_NATIVE_KERNELS_JACOBIAN_KERNELS_H

#include "nnp/native/kernels/kernels.h"
#include "nnp/native/kernels/simd.h"

namespace {

/// Factors of 16 features of one triple: Gaussian and angle term, each with its slope.
struct TripleBlock {
  alignas(64) float gauss[alrare::native::block], gauss_slope[alrare::native::block];
  alignas(64) float angle[alrare::native::block], angle_slope[alrare::native::block];
};

/// Shifts k..k+3, sections z..z+3 of the triple whose terms start at `terms`, `lanes` apart.
ALRARE_INLINE void spread(const alrare::native::AevTables &tables, const float *terms, int lanes,
                          float mean, int k, int z, TripleBlock &out) {
  for (int a = 0; a < 4; ++a) {
    const float gauss = terms[(k + a) * lanes];
    const float slope = gauss * (mean - tables.angular_shifts[k + a]) * -tables.angular_eta;
    for (int b = 0; b < 4; ++b) {
      const float *const angle = terms + (tables.n_shifts + z + b) * lanes;
      out.gauss[4 * a + b] = gauss;
      out.gauss_slope[4 * a + b] = slope;
      out.angle[4 * a + b] = angle[0];
      out.angle_slope[4 * a + b] = angle[tables.n_sections * lanes];
    }
  }
}

/// Adds a triple's part to the rows x, y, z (pair_size apart) of the edge `mine`.
template <class V>
ALRARE_INLINE void add_side(const alrare::native::Tile &tile, const TripleBlock &terms, int mine,
                            int other, float cosine, float weight, float *out, long row) {
  const float cutoffs = tile.smooth_slope[mine] * tile.smooth[other];
  const float inverse = tile.inverse[mine];
  const float x = tile.x[mine], y = tile.y[mine], z = tile.z[mine];
  const float turn_x = (tile.x[other] - x * cosine) * inverse;
  const float turn_y = (tile.y[other] - y * cosine) * inverse;
  const float turn_z = (tile.z[other] - z * cosine) * inverse;
  for (int f = 0; f < alrare::native::block; f += lanes_of<V>, out += lanes_of<V>) {
    const V gauss = load<V>(terms.gauss + f);
    const V along =
        (load<V>(terms.gauss_slope + f) * weight + gauss * cutoffs) * load<V>(terms.angle + f);
    const V bend = gauss * load<V>(terms.angle_slope + f) * weight;
    store(out, load<V>(out) + along * x + bend * turn_x);
    store(out + row, load<V>(out + row) + along * y + bend * turn_y);
    store(out + 2 * row, load<V>(out + 2 * row) + along * z + bend * turn_z);
  }
}

template <class V>
void aev_jacobian(const alrare::native::AevTables &tables, const alrare::native::Tile &tile,
                  const int *slot_species, float *jacobian) {
  constexpr int L = lanes_of<V>;
  const long size = tables.pair_size(), row = tables.n_species * size;
  const long stride = static_cast<long>(tables.n_shifts + 2 * tables.n_sections) * L;
  const auto triple = [&](int t, int a, int b) {
    const float *const terms = tile.terms + t / L * stride + t % L;
    float *const out_a = jacobian + 3 * row * a + slot_species[b] * size;
    float *const out_b = jacobian + 3 * row * b + slot_species[a] * size;
    TripleBlock factors;
    int f = 0;
    for (int k = 0; k < tables.n_shifts; k += 4)
      for (int z = 0; z < tables.n_sections; z += 4, f += alrare::native::block) {
        spread(tables, terms, L, tile.mean[t], k, z, factors);
        add_side<V>(tile, factors, a, b, tile.cosine[t], tile.weight[t], out_a + f, row);
        add_side<V>(tile, factors, b, a, tile.cosine[t], tile.weight[t], out_b + f, row);
      }
  };
  for (int n = 0; n < tile.n_groups; ++n) {
    int t = tile.groups[n].first_triple;
    for (int r = tile.groups[n].first_row; r < tile.groups[n].end_row; ++r)
      for (int j = 0; j < tile.rows[r].count; ++j, ++t)
        triple(t, tile.rows[r].a, tile.rows[r].b + j);
  }
}

} // namespace

#endif
