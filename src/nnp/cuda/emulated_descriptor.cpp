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
    for (int k = 0; k < edges.n_centers; ++k) {
      const int i = edges.order[k];
      ani_forward(constants_, edges.edges, edges.begin[i], edges.end[i], features_,
                  shared(edges.capacity), rows + row(k));
    }
  }

  void backward(const AniEdges &edges, const float *rows, float *gradient) override {
    for (int k = 0; k < edges.n_centers; ++k) {
      const int i = edges.order[k];
      ani_backward(constants_, edges.edges, edges.begin[i], edges.end[i], features_,
                   shared(edges.capacity), rows + row(k), gradient);
    }
  }

  void add_forces(const AniEdges &edges, const float *gradient, const AniForces &out) override {
    for (int k = 0; k < edges.n_centers; ++k)
      ani_add_forces(gradient, out.neighbors, edges.begin[k], edges.end[k], out.centers[k],
                     out.forces, out.status);
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
