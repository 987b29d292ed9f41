// SPDX-License-Identifier: GPL-2.0-or-later
//
// Forward and backward pass of one member's network on a tile: centers in the lanes, weights
// broadcast. Included only by the kernel files.
#ifndef ALRARE_NNP_NATIVE_NETWORK_KERNELS_H
#define ALRARE_NNP_NATIVE_NETWORK_KERNELS_H

#include "kernels.h"
#include "simd.h"

namespace {

using alrare::native::Activation;
using alrare::native::Layer;
using alrare::native::Network;
using alrare::native::Span;
using alrare::native::Tile;

constexpr int strip = 8; // rows and columns of a weight tile

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

template <class V> ALRARE_INLINE void activate(const Network &network, V z, V &value, V &slope) {
  if (network.activation == Activation::gelu)
    gelu(z, value, slope);
  else
    celu(z, network.celu_alpha, value, slope);
}

/// R outputs of a layer for one panel of N vectors: activation(bias + W x) and its slope.
template <class V, int R, int N>
void forward_block(const Network &network, const Layer &layer, int first_out, const Span *spans,
                   int n_spans, const float *in, float *out, float *slopes) {
  constexpr int width = N * lanes_of<V>;
  const float *const weight =
      layer.weight + static_cast<long>(first_out / strip) * layer.in * strip + first_out % strip;
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
  backward_block<V, R, N>(layer, first_in, gradient,
                          [&](V v, int at) { store(slopes + at, load<V>(slopes + at) * v); });
}

template <class V, int R, int N>
void backward_add(const Layer &layer, int first_in, const float *gradient, float *total) {
  backward_block<V, R, N>(layer, first_in, gradient,
                          [&](V v, int at) { store(total + at, load<V>(total + at) + v); });
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
