// SPDX-License-Identifier: GPL-2.0-or-later
#include "../instruction_sets.h"
#include "nnp/native/training/training.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

using doctest::Contains;

namespace {

using alrare::native::DenseNetwork;
using alrare::native::LayerGradient;
using alrare::native::LossWeights;
using alrare::native::MemberGradient;
using alrare::native::TrainingBatch;
using alrare::native::TrainingLabels;

/// Random configurations of 1, 3 and 90 atoms of two elements: descriptors without a geometry.
struct RandomBatch {
  std::mt19937 engine{7};
  std::vector<std::int64_t> species, configuration, edge_i, edge_j, short_edges, strained{0, 2};
  std::vector<float> aev, length, unit, slope, jacobian, energies, forces, strain;
  TrainingBatch batch;

  std::vector<float> draw(std::size_t n) {
    std::normal_distribution<float> normal(0.0f, 0.3f);
    std::vector<float> out(n);
    std::generate(out.begin(), out.end(), [&] { return normal(engine); });
    return out;
  }

  RandomBatch() {
    batch.n_elements = 2;
    batch.radial_length = 5;
    batch.angular_length = 18;
    batch.n_features = 2 * 5 + 3 * 18;
    for (const std::int64_t count : {1, 3, 90}) {
      const auto first = static_cast<std::int64_t>(species.size());
      for (std::int64_t a = 0; a < count; ++a) {
        species.push_back(a % 3 == 0);
        configuration.push_back(batch.n_configurations);
      }
      for (std::int64_t e = 0; e < 4 * (count - 1); ++e) {
        edge_i.push_back(first + e % count);
        edge_j.push_back(first + (e * 7 + 1) % count);
        if (e % 3 != 0)
          short_edges.push_back(static_cast<std::int64_t>(edge_i.size()) - 1);
      }
      ++batch.n_configurations;
    }
    aev = draw(species.size() * static_cast<std::size_t>(batch.n_features));
    unit = draw(edge_i.size() * 3);
    slope = draw(edge_i.size() * 5);
    jacobian = draw(short_edges.size() * 3 * 36);
    energies = draw(3);
    forces = draw(species.size() * 3);
    length = draw(edge_i.size());
    strain = draw(18);
    batch.n_atoms = static_cast<long>(species.size());
    batch.n_edges = static_cast<long>(edge_i.size());
    batch.n_short = static_cast<long>(short_edges.size());
    batch.species = species.data();
    batch.configuration = configuration.data();
    batch.aev = aev.data();
    batch.edge_i = edge_i.data();
    batch.edge_j = edge_j.data();
    batch.length = length.data();
    batch.unit = unit.data();
    batch.slope = slope.data();
    batch.short_edges = short_edges.data();
    batch.jacobian = jacobian.data();
  }
  RandomBatch(const RandomBatch &) = delete;
  RandomBatch &operator=(const RandomBatch &) = delete;
  TrainingLabels labels() const {
    return {energies.data(), forces.data(), 2, strained.data(), strain.data()};
  }
};

/// Weights of two networks of different depth.
struct Member {
  std::vector<std::vector<float>> weights, biases;
  std::vector<float> center, transform;
  std::vector<DenseNetwork> networks;

  explicit Member(RandomBatch &random) {
    const int features = random.batch.n_features;
    center = random.draw(static_cast<std::size_t>(features));
    transform = random.draw(static_cast<std::size_t>(features * features));
    for (const std::vector<int> &widths :
         {std::vector<int>{features, 21, 9, 1}, std::vector<int>{features, 1}})
      for (std::size_t l = 0; l + 1 < widths.size(); ++l) {
        weights.push_back(random.draw(static_cast<std::size_t>(widths[l] * widths[l + 1])));
        biases.push_back(random.draw(static_cast<std::size_t>(widths[l + 1])));
      }
    networks = {
        {{{21, features, weights[0].data(), biases[0].data()},
          {9, 21, weights[1].data(), biases[1].data()},
          {1, 9, weights[2].data(), biases[2].data()}},
         center.data(),
         transform.data()},
        {{{1, features, weights[3].data(), biases[3].data()}}, center.data(), transform.data()}};
  }
  Member(const Member &) = delete;
  Member &operator=(const Member &) = delete;
};

TEST_CASE("the gradient is the slope of the loss along any direction") {
  for (const std::string &name : instruction_sets()) {
    RandomBatch random;
    Member member(random);
    MemberGradient engine(name);
    std::vector<std::vector<LayerGradient>> gradients, ignored;
    const LossWeights weights{0.5, 0.2};
    engine.loss_gradient(random.batch, member.networks, random.labels(), weights, gradients);
    std::vector<const std::vector<float> *> by_weight;
    for (const auto &element : gradients)
      for (const LayerGradient &layer : element)
        by_weight.push_back(&layer.weight);
    for (std::size_t k = 0; k < member.weights.size(); ++k) {
      const std::vector<float> saved = member.weights[k];
      const std::vector<float> direction = random.draw(saved.size());
      double expected = 0.0, loss[2];
      for (std::size_t i = 0; i < saved.size(); ++i)
        expected += static_cast<double>((*by_weight[k])[i]) * static_cast<double>(direction[i]);
      const float step = 3e-3f;
      for (const int side : {0, 1}) {
        for (std::size_t i = 0; i < saved.size(); ++i)
          member.weights[k][i] = saved[i] + (side == 0 ? -step : step) * direction[i];
        loss[side] =
            engine.loss_gradient(random.batch, member.networks, random.labels(), weights, ignored);
      }
      member.weights[k] = saved;
      const double slope = (loss[1] - loss[0]) / (2.0 * static_cast<double>(step));
      CHECK(std::fabs(slope - expected) < 2e-3 * std::fabs(expected) + 1e-3);
    }
  }
}

TEST_CASE("an index out of range or out of order is named") {
  RandomBatch random;
  random.edge_j[0] = 94;
  CHECK_THROWS_WITH(random.batch.check(), Contains("edge_j[0] = 94, expected 0 to 93"));
  random.edge_j[0] = 80;
  CHECK_THROWS_WITH(random.batch.check(),
                    Contains("edge_j[0] = 80, expected an atom of configuration 1"));
  random.edge_j[0] = 1;
  std::swap(random.short_edges[0], random.short_edges[1]);
  CHECK_THROWS_WITH(random.batch.check(), Contains("expected ascending edges"));
  random.strained[1] = 3;
  CHECK_THROWS_WITH(random.labels().check(random.batch),
                    Contains("strained[1] = 3, expected 0 to 2"));
  random.strained[1] = 0;
  CHECK_THROWS_WITH(random.labels().check(random.batch),
                    Contains("strained[1] = 0, expected ascending configurations"));
}

} // namespace
