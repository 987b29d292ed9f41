// SPDX-License-Identifier: GPL-2.0-or-later
// The kernels alone, as the C++ compiler compiles them: without torch, so also under sanitizers.
#include "../native/frames.h"
#include "nnp/cuda/ani_descriptor.h"
#include "nnp/file/ani_file.h"
#include "nnp/native/native_evaluator.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <numeric>

using doctest::Contains;
using namespace alrare::cuda;

namespace {

/// The edges of a box as the kernels read them, rows in the order of the atoms turned round.
struct Edges {
  Neighborhood hood = alrare::native::find_neighbors(many_atoms().box, 5.1);
  std::vector<AniEdge> edges;
  std::vector<int> begin, order;

  Edges() {
    begin.assign(static_cast<std::size_t>(hood.n_local) + 1, 0);
    for (std::size_t e = 0; e < hood.n_edges(); ++e) {
      edges.push_back({static_cast<float>(hood.vec[3 * e]), static_cast<float>(hood.vec[3 * e + 1]),
                       static_cast<float>(hood.vec[3 * e + 2]),
                       static_cast<int>(hood.species[static_cast<std::size_t>(hood.edge_j[e])])});
      ++begin[static_cast<std::size_t>(hood.edge_i[e]) + 1];
    }
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    order.resize(static_cast<std::size_t>(hood.n_local));
    std::iota(order.rbegin(), order.rend(), 0);
  }
  Edges(const Edges &) = delete;
  Edges &operator=(const Edges &) = delete;

  [[nodiscard]] AniEdges there() const {
    return {edges.data(), begin.data(), begin.data() + 1, order.data(), hood.n_local, 200};
  }
};

struct Kernels {
  alrare::AniFile file = alrare::read_ani_file(model("gelu"));
  int features = file.constants.features(3);
  std::unique_ptr<AniDescriptor> descriptor =
      open_emulated_descriptor(kernel_constants(file.constants, 3), features);

  [[nodiscard]] std::vector<float> rows(const Edges &edges) const {
    std::vector<float> out(edges.order.size() * static_cast<std::size_t>(features), NAN);
    descriptor->forward(edges.there(), out.data());
    return out;
  }
};

} // namespace

TEST_CASE("descriptors are those of the engine for the CPU") {
  const Edges edges;
  const Kernels kernels;
  const std::vector<float> found = kernels.rows(edges);
  std::vector<float> expected;
  alrare::native::NativeEvaluator(model("gelu")).descriptors(edges.hood, expected);
  const auto length = static_cast<std::size_t>(kernels.features), n = edges.order.size();
  REQUIRE(found.size() == expected.size());
  double largest = 0.0, off = 0.0;
  for (std::size_t k = 0; k < n; ++k)
    for (std::size_t f = 0; f < length; ++f) {
      const double value = expected[(n - 1 - k) * length + f];
      largest = std::max(largest, std::fabs(value));
      off = std::max(off, std::fabs(found[k * length + f] - value));
    }
  CHECK(largest > 1.0);
  CHECK(off < 1e-5);
}

TEST_CASE("the way back is the derivative of the descriptors") {
  Edges edges;
  const Kernels kernels;
  const std::vector<float> rows = kernels.rows(edges);
  std::vector<float> weights(rows.size()), gradient(3 * edges.edges.size(), NAN);
  for (std::size_t k = 0; k < weights.size(); ++k)
    weights[k] = std::sin(0.1F * static_cast<float>(k));
  kernels.descriptor->backward(edges.there(), weights.data(), gradient.data());
  const auto weighted = [&] {
    const std::vector<float> now = kernels.rows(edges);
    return std::inner_product(now.begin(), now.end(), weights.begin(), 0.0);
  };
  const float step = 2e-3F;
  for (std::size_t e = 11; e < edges.edges.size(); e += 2999) {
    float &x = edges.edges[e].y;
    const float before = x;
    x = before + step;
    const double above = weighted();
    x = before - step;
    const double below = weighted();
    x = before;
    const double expected = (above - below) / (2.0 * static_cast<double>(step));
    CHECK(std::fabs(static_cast<double>(gradient[3 * e + 1]) - expected) <
          0.02 + 0.01 * std::fabs(expected));
  }
}

TEST_CASE("edges come from a list, and forces go to both of their atoms") {
  const Kernels kernels;
  const std::vector<AniAtom> atoms = {
      {0, 0, 0, 0}, {1, 0, 0, 1}, {0, 5.2, 0, 2}, {0, 0, 2, -1}, {0, 4, 0, 1}};
  const std::vector<int> centers = {0, 4}, counts = {4, 3};
  const std::vector<int> neighbors = {1, 2, 3, 4, 0, 1, 2, -77};
  std::vector<AniEdge> edges(8);
  std::vector<int> found(8, -1), end(2), begin = {0, 4};
  std::array<int, 2> status{};
  kernels.descriptor->find(
      {atoms.data(), centers.data(), counts.data(), neighbors.data(), 4, 2, 5.1, 3.5},
      {edges.data(), found.data(), end.data(), status.data()});
  CHECK(end == std::vector<int>{2, 7}); // atom 2 is too far from 0, atom 3 not seen
  CHECK(std::vector<int>(found.begin(), found.begin() + 2) == std::vector<int>{1, 4});
  CHECK(std::vector<int>(found.begin() + 4, found.end()) == std::vector<int>{0, 1, 2, -1});
  CHECK(edges[1].y == 4.0F);
  CHECK(edges[1].species == 1);
  CHECK(edges[6].y == doctest::Approx(1.2));
  CHECK(status[0] == 1); // within 3.5 of atom 0: atom 1; of atom 4: atom 2
  CHECK(status[1] == 0);

  std::vector<float> gradient(24, 0.0F);
  gradient[0] = 1.5F;
  gradient[4] = -0.25F;
  std::vector<unsigned long long> sums(15, 0);
  const AniEdges in{edges.data(), begin.data(), end.data(), nullptr, 2, 1};
  kernels.descriptor->add_forces(in, gradient.data(),
                                 {found.data(), centers.data(), sums.data(), status.data()});
  const auto force = [&](std::size_t k) {
    return static_cast<double>(static_cast<long long>(sums[k])) * force_unit;
  };
  CHECK(force(0) == 1.5);
  CHECK(force(1) == -0.25);
  CHECK(force(3) == -1.5);
  CHECK(force(3 * 4 + 1) == 0.25);
  CHECK(status[1] == 0);
  gradient[12] = 5e6F;
  kernels.descriptor->add_forces(in, gradient.data(),
                                 {found.data(), centers.data(), sums.data(), status.data()});
  CHECK(status[1] == 1);
}

TEST_CASE("more terms than the kernels know are refused by name") {
  alrare::AevConstants constants{5.1, 3.5, 19.7, 12.5, 14.1, {0.8}, {0.8}, {0.4}};
  CHECK(kernel_constants(constants, 3).n_sections == 1);
  constants.angular_shifts.assign(65, 1.0);
  CHECK_THROWS_WITH(kernel_constants(constants, 3),
                    Contains("up to 64 angular_shifts, and this one has 65: use device cpu"));
}
