// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/cuda/ani_descriptor.h"

#include <cstddef>
#include <limits>
#include <vector>

namespace alrare::cuda {

namespace {

class EmulatedDescriptor final : public AniDescriptor {
public:
  EmulatedDescriptor(const AniConstants &constants, int features)
      : constants_(constants), features_(features) {}

  void forward(const AniEdges &edges, float *rows) override {
    for (int k = 0; k < edges.n_centers; ++k) {
      const int i = edges.order[k];
      ani_forward(constants_, edges.edges, edges.first[i], edges.first[i + 1], features_,
                  shared(edges.capacity), rows + row(k));
    }
  }

  void backward(const AniEdges &edges, const float *rows, int count, float *gradients) override {
    const std::ptrdiff_t n_edges = edges.first[edges.n_centers];
    for (int g = 0; g < count; ++g)
      for (int k = 0; k < edges.n_centers; ++k) {
        const int i = edges.order[k];
        ani_backward(constants_, edges.edges, edges.first[i], edges.first[i + 1], features_,
                     shared(edges.capacity), rows + row(g * edges.n_centers + k),
                     gradients + g * 3 * n_edges);
      }
  }

private:
  [[nodiscard]] std::ptrdiff_t row(int k) const {
    return static_cast<std::ptrdiff_t>(k) * features_;
  }

  /// Memory of which nothing is known, as on the device.
  AniShared shared(int capacity) {
    words_.assign(static_cast<std::size_t>(ani_shared_words(features_, capacity)),
                  std::numeric_limits<float>::quiet_NaN());
    return ani_share(words_.data(), capacity);
  }

  AniConstants constants_;
  int features_;
  std::vector<float> words_;
};

} // namespace

std::unique_ptr<AniDescriptor> open_emulated_descriptor(const AniConstants &constants,
                                                        int features) {
  return std::make_unique<EmulatedDescriptor>(constants, features);
}

} // namespace alrare::cuda
