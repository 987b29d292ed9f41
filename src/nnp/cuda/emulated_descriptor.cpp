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

  void find(const AniList &list, const AniFound &out) override {
    AniVotes votes{};
    for (int k = 0; k < list.n_centers; ++k)
      ani_find(list, k, out, votes);
  }

  void forward(const AniEdges &edges, float *rows) override {
    for (int k = 0; k < edges.n_centers; ++k)
      ani_forward(constants_, edges, k, features_, shared(edges.capacity), rows);
  }

  void backward(const AniEdges &edges, const float *rows, float *gradient) override {
    for (int k = 0; k < edges.n_centers; ++k)
      ani_backward(constants_, edges, k, features_, shared(edges.capacity), rows, gradient);
  }

  void add_forces(const AniEdges &edges, const float *gradient, const AniForces &out) override {
    for (int k = 0; k < edges.n_centers; ++k)
      ani_add_forces(edges, k, gradient, out);
  }

private:
  /// Memory of which nothing is known, as on the device.
  float *shared(int capacity) {
    words_.assign(static_cast<std::size_t>(ani_shared_words(features_, capacity)),
                  std::numeric_limits<float>::quiet_NaN());
    return words_.data();
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
