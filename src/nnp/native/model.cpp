// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/model.h"

#include "nnp/file/ani_file.h"
#include "nnp/native/kernels/round_up.h"

#include <algorithm>
#include <cstddef>
#include <stdexcept>

namespace alrare::native {

namespace {

/// Where weight (out, in) of a layer lies: tiles of 8 x 8, see Layer.
std::size_t packed(int out, int in, int padded_in) {
  const int tile = out / 8 * (padded_in / 8) + in / 8;
  return static_cast<std::size_t>(tile) * 64 + static_cast<std::size_t>(in % 8 * 8 + out % 8);
}

} // namespace

Model::Model(const std::string &path) {
  AniFile file = read_ani_file(path);
  metadata_ = file.metadata;
  self_energies_ = file.self_energies;
  try {
    descriptor_ = DescriptorTables(file.constants, n_elements());
  } catch (const std::runtime_error &error) {
    throw std::runtime_error("model file '" + path + "': " + error.what());
  }
  layers_.resize(metadata_.elements.size() * static_cast<std::size_t>(n_members()));
  networks_.resize(layers_.size());
  weights_.resize(metadata_.elements.size());
  for (int element = 0; element < n_elements(); ++element) {
    ElementNetworks &networks = file.networks[static_cast<std::size_t>(element)];
    pack(element, networks, file.gelu ? Activation::gelu : Activation::celu,
         static_cast<float>(file.celu_alpha));
    networks = {}; // packed: one copy is enough
  }
}

void Model::pack(int element, const ElementNetworks &networks, Activation activation,
                 float celu_alpha) {
  const std::vector<int> &sizes = networks.sizes;
  const auto members = static_cast<std::size_t>(n_members());
  const std::size_t n_layers = networks.n_layers();
  std::vector<int> widths{tables().features}; // padded
  for (std::size_t l = 1; l + 1 < sizes.size(); ++l)
    widths.push_back(round_up(sizes[l], 8));
  std::size_t total = 0;
  for (std::size_t l = 0; l + 1 < n_layers; ++l)
    total += static_cast<std::size_t>(widths[l]) * static_cast<std::size_t>(widths[l + 1]) +
             static_cast<std::size_t>(round_up(widths[l + 1], 16));
  total += static_cast<std::size_t>(round_up(widths.back(), 16));
  AlignedBuffer &buffer = weights_[static_cast<std::size_t>(element)];
  buffer.reserve(total * members);

  Arena arena(buffer.data());
  for (std::size_t m = 0; m < members; ++m) {
    const std::size_t at = static_cast<std::size_t>(element) * members + m;
    for (std::size_t l = 0; l + 1 < n_layers; ++l) {
      float *const weight =
          arena.take(static_cast<std::size_t>(widths[l]) * static_cast<std::size_t>(widths[l + 1]));
      float *const bias = arena.take(static_cast<std::size_t>(widths[l + 1]));
      const float *value = &networks.weights[l][m * static_cast<std::size_t>(sizes[l + 1]) *
                                                static_cast<std::size_t>(sizes[l])];
      for (int o = 0; o < sizes[l + 1]; ++o) {
        for (int i = 0; i < sizes[l]; ++i)
          weight[packed(o, l == 0 ? feature_places()[static_cast<std::size_t>(i)] : i, widths[l])] =
              *value++;
        bias[o] = networks.biases[l][m * static_cast<std::size_t>(sizes[l + 1]) +
                                     static_cast<std::size_t>(o)];
      }
      layers_[at].push_back({widths[l], widths[l + 1], weight, bias});
    }
    float *const last = arena.take(static_cast<std::size_t>(widths.back()));
    for (int i = 0; i < sizes[n_layers - 1]; ++i)
      last[n_layers == 1 ? feature_places()[static_cast<std::size_t>(i)] : i] =
          networks.weights.back()[m * static_cast<std::size_t>(sizes[n_layers - 1]) +
                                  static_cast<std::size_t>(i)];
    networks_[at] = {static_cast<int>(layers_[at].size()),
                     layers_[at].data(),
                     widths.back(),
                     last,
                     networks.biases.back()[m],
                     activation,
                     celu_alpha};
  }
  int hidden = 0;
  for (std::size_t l = 1; l < widths.size(); ++l) {
    hidden += widths[l];
    sizes_.widest = std::max(sizes_.widest, widths[l]);
  }
  sizes_.slopes = std::max(sizes_.slopes, hidden);
  sizes_.linear = sizes_.linear || n_layers == 1;
}

} // namespace alrare::native
