// SPDX-License-Identifier: GPL-2.0-or-later
//
// Forward and backward pass of one member's network on a tile: centers in the lanes, weights
// broadcast. Included only by the kernel files.
#ifndef ALRARE_NNP_NATIVE_KERNELS_NETWORK_KERNELS_H
#define ALRARE_NNP_NATIVE_KERNELS_NETWORK_KERNELS_H

#include "nnp/native/kernels/kernels.h"
#include "nnp/native/kernels/register_block.h"
#if ALRARE_LANES >= 16
#include "nnp/native/kernels/pair_kernels.h"
#endif

namespace {

using alrare::native::Activation;
using alrare::native::Layer;
using alrare::native::Network;
using alrare::native::Span;
using alrare::native::Tile;

constexpr int strip = 8; // rows and columns of a weight tile

template <class V> ALRARE_INLINE void activate(const Network &network, V z, V &value, V &slope) {
  if (network.activation == Activation::gelu)
    gelu(z, value, slope);
  else
    celu(z, network.celu_alpha, value, slope);
}

/// Whether a panel is half as wide as the widest vectors, which then hold two rows of it.
template <class V, int R, int N>
constexpr bool is_paired = ALRARE_LANES >= 16 && lanes_of<V> == 8 && R == strip && N == 1;

/// R outputs of a layer for one panel of N vectors: activation(bias + W x) and its slope.
template <class V, int R, int N>
void forward_block(const Network &network, const Layer &layer, int first_out, const Span *spans,
                   int n_spans, const float *in, float *out, float *slopes) {
  constexpr int width = N * lanes_of<V>;
  const float *const weight =
      layer.weight + static_cast<long>(first_out / strip) * layer.in * strip + first_out % strip;
#if ALRARE_LANES >= 16
  if constexpr (is_paired<V, R, N>) {
    forward_pairs(weight, layer.bias + first_out, spans, n_spans, in, first_out,
                  [&](Float16 z, int row) {
                    Float16 value, slope;
                    activate(network, z, value, slope);
                    store(out + row * width, rows_of_pairs(value));
                    store(slopes + row * width, rows_of_pairs(slope));
                  });
    return;
  }
#endif
  Rows<V, R, N> sum;
  fill(sum, layer.bias + first_out);
  for (int s = 0; s < n_spans; ++s) {
    const float *w = weight + spans[s].begin * strip;
    const float *x = in + spans[s].begin * width;
#pragma GCC unroll 4
    for (int k = spans[s].begin; k < spans[s].end; ++k, w += strip, x += width) {
      Vectors<V, N> column;
      load_all(column, x);
      rank_one<1>(sum, column, w);
    }
  }
  each(sum, first_out, [&](V z, int row, int lane) {
    V value, slope;
    activate(network, z, value, slope);
    store(out + row * width + lane, value);
    store(slopes + row * width + lane, slope);
  });
}

/// W^T g for R inputs of a layer, one panel of N vectors; `finish` gets each vector and its offset.
template <class V, int R, int N, class Finish>
ALRARE_INLINE void backward_block(const Layer &layer, int first_in, const float *gradient,
                                  Finish finish) {
#if ALRARE_LANES >= 16
  if constexpr (is_paired<V, R, N>) {
    backward_pairs(layer, first_in, gradient, finish);
    return;
  }
#endif
  constexpr int width = N * lanes_of<V>;
  const long next = static_cast<long>(layer.in) * strip; // weight tile of the next 8 outputs
  const float *w = layer.weight + first_in * strip;
  const float *g = gradient;
  Rows<V, R, N> sum;
  clear(sum);
  for (int o = 0; o < layer.out; o += strip, w += next)
#pragma GCC unroll 8
    for (int k = 0; k < strip; ++k, g += width) {
      Vectors<V, N> column;
      load_all(column, g);
      rank_one<strip>(sum, column, w + k);
    }
  each(sum, first_in, [&](V v, int row, int lane) { finish(v, row * width + lane); });
}

template <class V, int R, int N>
void backward_slope(const Layer &layer, int first_in, const float *gradient, float *slopes) {
  backward_block<V, R, N>(layer, first_in, gradient, [&](auto v, int at) {
    store(slopes + at, load<decltype(v)>(slopes + at) * v);
  });
}

template <class V, int R, int N>
void backward_add(const Layer &layer, int first_in, const float *gradient, float *total) {
  backward_block<V, R, N>(layer, first_in, gradient, [&](auto v, int at) {
    store(total + at, load<decltype(v)>(total + at) + v);
  });
}

/// Energy of each lane: bias + w . x; seeds `slopes` (which holds the last activation's) with
/// scale * w * slope when there is something to go back to.
template <class V, int N>
void read_out(const Network &network, const float *in, float *energies, float scale,
              float *slopes) {
  constexpr int width = N * lanes_of<V>;
  Vectors<V, N> even, odd;
  fill(even, network.last_bias);
  clear(odd);
  for (int k = 0; k < network.last_in; k += 2) {
    Vectors<V, N> column;
    load_all(column, in + k * width);
    add_scaled(even, column, splat<V>(network.last_weight[k]));
    load_all(column, in + (k + 1) * width);
    add_scaled(odd, column, splat<V>(network.last_weight[k + 1]));
  }
  add_scaled(even, odd, splat<V>(1.0f));
  each(even, 0, 0, [&](V v, int, int lane) { store(energies + lane, v); });
  if (slopes == nullptr)
    return;
  for (int k = 0; k < network.last_in; ++k) {
    const V seed = splat<V>(network.last_weight[k] * scale);
    for (int lane = 0; lane < width; lane += lanes_of<V>)
      store(slopes + k * width + lane, load<V>(slopes + k * width + lane) * seed);
  }
}

template <class... Shapes>
void run_layer(const Network &network, const Layer &layer, const Tile &tile, const Span *spans,
               int n_spans, const float *in, float *out, float *slopes) {
  for (int o = 0; o < layer.out; o += strip)
    for (int p = 0; p < tile.n_panels; ++p) {
      const long first = tile.panels[p].first;
      with_shape<Shapes...>(tile.panels[p].width, [&](auto shape) {
        using S = decltype(shape);
        for (int half = 0; half < strip; half += S::R)
          forward_block<typename S::V, S::R, S::N>(network, layer, o + half, spans, n_spans,
                                                   in + first * layer.in, out + first * layer.out,
                                                   slopes + first * layer.out);
      });
    }
}

/// slopes = slopes * W^T gradient
template <class... Shapes>
void run_back(const Layer &layer, const Tile &tile, const float *gradient, float *slopes) {
  for (int k = 0; k < layer.in; k += strip)
    for (int p = 0; p < tile.n_panels; ++p) {
      const long first = tile.panels[p].first;
      with_shape<Shapes...>(tile.panels[p].width, [&](auto shape) {
        using S = decltype(shape);
        for (int half = 0; half < strip; half += S::R)
          backward_slope<typename S::V, S::R, S::N>(layer, k + half, gradient + first * layer.out,
                                                    slopes + first * layer.in);
      });
    }
}

/// total += W^T gradient, for the features that are not all zero
template <class... Shapes>
void run_back_to_aev(const Layer &layer, const Tile &tile, const float *gradient, float *total) {
  for (int s = 0; s < tile.n_spans; ++s)
    for (int k = tile.spans[s].begin; k < tile.spans[s].end; k += strip)
      for (int p = 0; p < tile.n_panels; ++p) {
        const long first = tile.panels[p].first;
        with_shape<Shapes...>(tile.panels[p].width, [&](auto shape) {
          using S = decltype(shape);
          for (int half = 0; half < strip; half += S::R)
            backward_add<typename S::V, S::R, S::N>(layer, k + half, gradient + first * layer.out,
                                                    total + first * layer.in);
        });
      }
}

/// A network without hidden layer: dE/dAEV is its weight.
inline void add_linear(const Network &network, const Tile &tile, float scale, float *total) {
  for (int p = 0; p < tile.n_panels; ++p) {
    const int width = tile.panels[p].width;
    float *const out = total + static_cast<long>(tile.panels[p].first) * network.last_in;
    for (int k = 0; k < network.last_in; ++k)
      for (int lane = 0; lane < width; ++lane)
        out[k * width + lane] += scale * network.last_weight[k];
  }
}

template <class... Shapes>
void run_network(const Network &network, const Tile &tile, float scale, float *energies,
                 float *gradient) {
  const float *in = tile.aev;
  float *slopes = tile.slopes;
  int width = network.last_in;
  for (int l = 0; l < network.n_hidden; ++l) {
    const Layer &layer = network.hidden[l];
    const Span all{0, layer.in};
    const bool first = l == 0;
    if (!first)
      slopes += static_cast<long>(network.hidden[l - 1].out) * tile.lanes;
    run_layer<Shapes...>(network, layer, tile, first ? tile.spans : &all, first ? tile.n_spans : 1,
                         in, tile.layer[l & 1], slopes);
    in = tile.layer[l & 1];
    width = layer.out;
  }
  const bool back = gradient != nullptr;
  for (int p = 0; p < tile.n_panels; ++p) {
    const long first = tile.panels[p].first;
    with_shape<Shapes...>(tile.panels[p].width, [&](auto shape) {
      using S = decltype(shape);
      read_out<typename S::V, S::N>(network, in + first * width, energies + first, scale,
                                    back && network.n_hidden > 0 ? slopes + first * width
                                                                 : nullptr);
    });
  }
  if (!back)
    return;
  if (network.n_hidden == 0)
    add_linear(network, tile, scale, gradient);
  for (int l = network.n_hidden - 1; l > 0; --l) {
    const float *const from = slopes;
    slopes -= static_cast<long>(network.hidden[l - 1].out) * tile.lanes;
    run_back<Shapes...>(network.hidden[l], tile, from, slopes);
  }
  if (network.n_hidden > 0)
    run_back_to_aev<Shapes...>(network.hidden[0], tile, slopes, gradient);
}

} // namespace

#endif
