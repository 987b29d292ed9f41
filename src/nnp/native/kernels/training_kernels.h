// SPDX-License-Identifier: GPL-2.0-or-later
//
// The passes of a training step over a tile of atoms of one element: atoms in rows, features in
// the lanes. Derivation: python/alrare/training/gradients.py. Included only by the kernel files.
#ifndef ALRARE_NNP_NATIVE_KERNELS_TRAINING_KERNELS_H
#define ALRARE_NNP_NATIVE_KERNELS_TRAINING_KERNELS_H

#include "nnp/native/kernels/optimizer_kernels.h"
#include "nnp/native/kernels/register_block.h"
#include "nnp/native/kernels/training_types.h"

namespace {

using alrare::native::ForceTerms;
using alrare::native::row_stride;
using alrare::native::TrainingLayer;
using alrare::native::TrainingNetwork;

/// sum[r] += sum over k < depth of a[r * row + k * inner] * b[k * next ...]
template <class V, int R, int N>
ALRARE_INLINE void multiply(Rows<V, R, N> &sum, const float *a, long row, long inner,
                            const float *b, long next, int depth) {
#pragma GCC unroll 4
  for (int k = 0; k < depth; ++k, a += inner, b += next) {
    Vectors<V, N> line;
    load_all(line, b);
    rank_one(sum, line, a, row);
  }
}

/// Calls use(shape, row, column) for the blocks that cover (rows, columns), columns outside.
template <class... Shapes, class Use>
ALRARE_INLINE void for_blocks(int rows, int columns, Use use) {
  int column = 0;
  while (column < columns)
    with_widest<Shapes...>(columns - column, [&](auto shape) {
      using S = decltype(shape);
      for (int row = 0; row < rows; row += S::R)
        use(shape, row, column);
      column += S::width;
    });
}

/// left (rows, depth), see `multiply`, times right (depth, columns) in panels; `finish` gets each
/// vector of the product and its place (row, column).
template <class... Shapes, class Finish>
ALRARE_INLINE void product(const float *left, long left_row, long left_inner, int rows, int depth,
                           const float *right, int columns, Finish finish) {
  for_blocks<Shapes...>(rows, columns, [&](auto shape, int row, int column) {
    using S = decltype(shape);
    Rows<typename S::V, S::R, S::N> sum;
    clear(sum);
    multiply(sum, left + row * left_row, left_row, left_inner,
             right + static_cast<long>(column) * depth, S::width, depth);
    each(sum, row, [&](typename S::V v, int r, int lane) { finish(v, r, column + lane); });
  });
}

/// The same for a left factor whose rows are `row_stride` apart.
template <class... Shapes, class Finish>
ALRARE_INLINE void product(const float *left, int rows, int depth, const float *right, int columns,
                           Finish finish) {
  product<Shapes...>(left, row_stride(depth), 1, rows, depth, right, columns, finish);
}

template <class... Shapes>
void multiply_matrices(const float *left, long left_row, long left_inner, int rows, int depth,
                       const float *right, int columns, float *out) {
  product<Shapes...>(left, left_row, left_inner, rows, depth, right, columns,
                     [&](auto v, int row, int column) {
                       store(out + static_cast<long>(row) * columns + column, v);
                     });
}

template <class V>
ALRARE_INLINE void activate_rows(const TrainingLayer &layer, int first, int rows) {
  const long stride = row_stride(layer.out);
  for (long at = first * stride; at < (first + rows) * stride; at += stride)
    for (int k = 0; k < layer.out; k += lanes_of<V>) {
      V value, slope, bend;
      gelu(load<V>(layer.value + at + k) + load<V>(layer.bias + k), value, slope, bend);
      store(layer.value + at + k, value);
      store(layer.slope + at + k, slope);
      store(layer.bend + at + k, bend);
    }
}

/// With dE/dvalue of a layer: dE/dz, and its product with the second derivative.
template <class V> ALRARE_INLINE void seed(const TrainingLayer &layer, long at, V outer) {
  store(layer.adjoint + at, load<V>(layer.slope + at) * outer);
  store(layer.bend + at, load<V>(layer.bend + at) * outer);
}

/// Energies of the rows, and dE/dz of the last hidden layer.
template <class V>
void read_out_rows(const TrainingNetwork &network, const float *last, int first, int rows) {
  const long stride = row_stride(network.last_in);
  for (int row = first; row < first + rows; ++row) {
    V sum{};
    for (int k = 0; k < network.last_in; k += lanes_of<V>) {
      const V weight = load<V>(network.last_weight + k);
      sum += load<V>(last + row * stride + k) * weight;
      if (network.n_hidden > 0)
        seed(network.hidden[network.n_hidden - 1], row * stride + k, weight);
      else
        store(network.gradient + row * stride + k, weight);
    }
    network.energies[row] = network.last_bias + total(sum);
  }
}

template <class V, class... Shapes>
void energy_pass(const TrainingNetwork &network, int first, int rows) {
  const float *in = network.input;
  for (int l = 0; l < network.n_hidden; ++l) {
    const TrainingLayer &layer = network.hidden[l];
    const long stride = row_stride(layer.out);
    float *const out = layer.value + first * stride;
    product<Shapes...>(in + first * static_cast<long>(row_stride(layer.in)), rows, layer.in,
                       layer.forward, layer.out,
                       [&](auto v, int row, int column) { store(out + row * stride + column, v); });
    activate_rows<V>(layer, first, rows);
    in = layer.value;
  }
  read_out_rows<V>(network, in, first, rows);
  for (int l = network.n_hidden - 1; l >= 0; --l) {
    const TrainingLayer &layer = network.hidden[l];
    const long stride = row_stride(layer.in), start = first * stride;
    const float *const left = layer.adjoint + first * static_cast<long>(row_stride(layer.out));
    product<Shapes...>(left, rows, layer.out, layer.backward, layer.in,
                       [&](auto v, int row, int column) {
                         const long at = start + row * stride + column;
                         if (l > 0)
                           seed(network.hidden[l - 1], at, v);
                         else
                           store(network.gradient + at, v);
                       });
  }
}

/// Tangents of every layer along `direction`, and what they add to the adjoints.
template <class... Shapes> void push_tangents(const TrainingNetwork &network, int first, int rows) {
  const float *in = network.direction + first * static_cast<long>(row_stride(network.features));
  for (int l = 0; l < network.n_hidden; ++l) {
    const TrainingLayer &layer = network.hidden[l];
    const long stride = row_stride(layer.out), start = first * stride;
    product<Shapes...>(in, rows, layer.in, layer.forward, layer.out,
                       [&](auto v, int row, int column) {
                         using V = decltype(v);
                         const long here = row * stride + column, at = start + here;
                         store(layer.tangent + here, v * load<V>(layer.slope + at));
                         store(layer.bend + at, v * load<V>(layer.bend + at));
                       });
    in = layer.tangent;
  }
}

/// Gradient of the read-out; the adjoint of the last hidden layer.
template <class V> void pull_read_out(const TrainingNetwork &network, int first, int rows) {
  const bool hidden = network.n_hidden > 0;
  const TrainingLayer *const layer = hidden ? network.hidden + network.n_hidden - 1 : nullptr;
  const long stride = row_stride(network.last_in), start = first * stride;
  const float *const value = (hidden ? layer->value : network.input) + start;
  const float *const tangent = hidden ? layer->tangent : network.direction + start;
  for (int k = 0; k < network.last_in; k += lanes_of<V>) {
    V sum = load<V>(network.last_gradient + k);
    const V weight = load<V>(network.last_weight + k);
    for (int row = 0; row < rows; ++row) {
      const long here = row * stride + k, at = start + here;
      const V bar = splat<V>(network.bar_energies[first + row]);
      sum += bar * load<V>(value + here) + load<V>(tangent + here);
      if (hidden)
        store(layer->bend + at,
              load<V>(layer->bend + at) + bar * weight * load<V>(layer->slope + at));
    }
    store(network.last_gradient + k, sum);
  }
}

/// Adds bend^T in + adjoint^T tangent_in to the gradient of the layer.
template <class V, class... Shapes>
void add_weight_gradient(const TrainingLayer &layer, int first, int rows, const float *in,
                         const float *tangent_in) {
  const long stride = row_stride(layer.out), in_stride = row_stride(layer.in);
  const float *const bend = layer.bend + first * stride;
  const float *const adjoint = layer.adjoint + first * stride;
  for_blocks<Shapes...>(layer.out, layer.in, [&](auto shape, int row, int column) {
    using S = decltype(shape);
    Rows<typename S::V, S::R, S::N> sum;
    clear(sum);
    multiply(sum, bend + row, 1, stride, in + column, in_stride, rows);
    multiply(sum, adjoint + row, 1, stride, tangent_in + column, in_stride, rows);
    float *const out = layer.weight_gradient + static_cast<long>(row) * layer.in + column;
    each(sum, 0, [&](typename S::V v, int r, int lane) {
      float *const at = out + static_cast<long>(r) * layer.in + lane;
      store(at, load<typename S::V>(at) + v);
    });
  });
  for (int k = 0; k < layer.out; k += lanes_of<V>) {
    V sum = load<V>(layer.bias_gradient + k);
    for (int row = 0; row < rows; ++row)
      sum += load<V>(bend + row * stride + k);
    store(layer.bias_gradient + k, sum);
  }
}

template <class V, class... Shapes>
void tangent_pass(const TrainingNetwork &network, int first, int rows) {
  push_tangents<Shapes...>(network, first, rows);
  pull_read_out<V>(network, first, rows);
  for (int l = network.n_hidden - 1; l >= 0; --l) {
    const TrainingLayer &layer = network.hidden[l];
    const long stride = row_stride(layer.in), start = first * stride;
    if (l == 0) {
      add_weight_gradient<V, Shapes...>(layer, first, rows, network.input + start,
                                        network.direction + start);
      continue;
    }
    const TrainingLayer &below = network.hidden[l - 1];
    add_weight_gradient<V, Shapes...>(layer, first, rows, below.value + start, below.tangent);
    const float *const left = layer.bend + first * static_cast<long>(row_stride(layer.out));
    product<Shapes...>(
        left, rows, layer.out, layer.backward, layer.in, [&](auto v, int row, int column) {
          using W = decltype(v);
          const long at = start + row * stride + column;
          store(below.bend + at, load<W>(below.bend + at) + v * load<W>(below.slope + at));
        });
  }
}

/// sum += a * b over n floats, the rest of n into lane 0
template <class V> ALRARE_INLINE void add_products(V &sum, const float *a, const float *b, int n) {
  int k = 0;
  for (; k + lanes_of<V> <= n; k += lanes_of<V>)
    sum += load<V>(a + k) * load<V>(b + k);
  for (; k < n; ++k)
    sum[0] += a[k] * b[k];
}

/// Calls push(e, x, y, z) with the derivative of the energy by the vector of edge e: for every edge
/// the radial part of it, then for every short edge the angular part.
template <class V, class Push>
ALRARE_INLINE void edge_derivatives(const ForceTerms &terms, const float *gradient, Push push) {
  for (long e = terms.first_edge; e < terms.end_edge; ++e) {
    const std::int64_t s = terms.species[terms.edge_j[e]];
    const float *const g = gradient + terms.row[terms.edge_i[e]] + s * terms.radial_length;
    V product{};
    add_products(product, terms.slope + e * terms.radial_length, g, terms.radial_length);
    const float along = total(product);
    const float *const unit = terms.unit + 3 * e;
    push(e, along * unit[0], along * unit[1], along * unit[2]);
  }
  const int length = terms.angular_length, width = terms.n_species * length;
  for (long a = terms.first_short; a < terms.end_short; ++a) {
    const long e = terms.short_edges[a];
    const int *const features =
        terms.pair_feature + terms.species[terms.edge_j[e]] * terms.n_species;
    const float *const g = gradient + terms.row[terms.edge_i[e]];
    const float *const jacobian = terms.jacobian + 3 * a * width;
    V x{}, y{}, z{};
    for (int t = 0; t < terms.n_species; ++t) {
      add_products(x, jacobian + t * length, g + features[t], length);
      add_products(y, jacobian + width + t * length, g + features[t], length);
      add_products(z, jacobian + 2 * width + t * length, g + features[t], length);
    }
    const V sum = sums_of_four(x, y, z, z);
    push(e, sum[0], sum[1], sum[2]);
  }
}

/// Adds the derivative by the vector of edge e to the forces of its two atoms.
ALRARE_INLINE void add_forces(const ForceTerms &terms, long e, float x, float y, float z,
                              float *forces) {
  float *const i = forces + 3 * terms.edge_i[e], *const j = forces + 3 * terms.edge_j[e];
  i[0] += x, i[1] += y, i[2] += z;
  j[0] -= x, j[1] -= y, j[2] -= z;
}

template <class V> void forces(const ForceTerms &terms, const float *gradient, float *out) {
  edge_derivatives<V>(terms, gradient, [&](long e, float x, float y, float z) {
    add_forces(terms, e, x, y, z, out);
  });
}

template <class V>
void forces_and_strain(const ForceTerms &terms, const float *gradient, float *out, double *strain) {
  edge_derivatives<V>(terms, gradient, [&](long e, float x, float y, float z) {
    add_forces(terms, e, x, y, z, out);
    const double derivative[] = {x, y, z};
    for (int axis = 0; axis < 3; ++axis)
      for (int b = 0; b < 3; ++b)
        strain[3 * axis + b] += derivative[axis] * static_cast<double>(terms.length[e]) *
                                static_cast<double>(terms.unit[3 * e + b]);
  });
}

/// The transpose of `edge_derivatives`; bar(e, axis) is the adjoint of the derivative.
template <class V, class Bar>
ALRARE_INLINE void edge_derivatives_backward(const ForceTerms &terms, Bar bar, float *direction) {
  constexpr int L = lanes_of<V>;
  for (long e = terms.first_edge; e < terms.end_edge; ++e) {
    const std::int64_t s = terms.species[terms.edge_j[e]];
    float *const g = direction + terms.row[terms.edge_i[e]] + s * terms.radial_length;
    const float *const unit = terms.unit + 3 * e;
    const float *const slope = terms.slope + e * terms.radial_length;
    const float along = unit[0] * bar(e, 0) + unit[1] * bar(e, 1) + unit[2] * bar(e, 2);
    int k = 0;
    for (; k + L <= terms.radial_length; k += L)
      store(g + k, load<V>(g + k) + load<V>(slope + k) * along);
    for (; k < terms.radial_length; ++k)
      g[k] += slope[k] * along;
  }
  const int length = terms.angular_length, width = terms.n_species * length;
  for (long a = terms.first_short; a < terms.end_short; ++a) {
    const long e = terms.short_edges[a];
    const int *const features =
        terms.pair_feature + terms.species[terms.edge_j[e]] * terms.n_species;
    const float x = bar(e, 0), y = bar(e, 1), z = bar(e, 2);
    for (int t = 0; t < terms.n_species; ++t) {
      float *const g = direction + terms.row[terms.edge_i[e]] + features[t];
      const float *const jx = terms.jacobian + 3 * a * width + t * length;
      const float *const jy = jx + width, *const jz = jy + width;
      int k = 0;
      for (; k + L <= length; k += L)
        store(g + k,
              load<V>(g + k) + load<V>(jx + k) * x + load<V>(jy + k) * y + load<V>(jz + k) * z);
      for (; k < length; ++k)
        g[k] += jx[k] * x + jy[k] * y + jz[k] * z;
    }
  }
}

template <class V>
void forces_backward(const ForceTerms &terms, const float *bar_forces, float *direction) {
  edge_derivatives_backward<V>(
      terms,
      [&](long e, int axis) {
        return bar_forces[3 * terms.edge_i[e] + axis] - bar_forces[3 * terms.edge_j[e] + axis];
      },
      direction);
}

template <class V>
void forces_and_strain_backward(const ForceTerms &terms, const float *bar_forces,
                                const float *bar_strain, float *direction) {
  edge_derivatives_backward<V>(
      terms,
      [&](long e, int axis) {
        const float *const unit = terms.unit + 3 * e, *const row = bar_strain + 3 * axis;
        return bar_forces[3 * terms.edge_i[e] + axis] - bar_forces[3 * terms.edge_j[e] + axis] +
               terms.length[e] * (row[0] * unit[0] + row[1] * unit[1] + row[2] * unit[2]);
      },
      direction);
}

template <class V, class... Shapes>
constexpr alrare::native::TrainingKernels training_kernels = {energy_pass<V, Shapes...>,
                                                              tangent_pass<V, Shapes...>,
                                                              forces<V>,
                                                              forces_backward<V>,
                                                              forces_and_strain<V>,
                                                              forces_and_strain_backward<V>,
                                                              multiply_matrices<Shapes...>,
                                                              adam,
                                                              sum_of_squares<V>,
                                                              reflect<V>};

} // namespace

#endif
