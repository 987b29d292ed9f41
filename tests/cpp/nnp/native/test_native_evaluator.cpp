// SPDX-License-Identifier: GPL-2.0-or-later
#include "cluster.h"
#include "frames.h"
#include "instruction_sets.h"
#include "nnp/native/native_evaluator.h"
#include "nnp/native/neighbor_search.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

using doctest::Contains;

namespace {

using alrare::native::NativeEvaluator;

} // namespace

TEST_CASE("every instruction set gives the energies and forces of float64") {
  for (const auto &per_model : reference().as_object())
    for (const std::string &set : instruction_sets()) {
      NativeEvaluator engine(model(per_model.first), {set, 1});
      for (const auto &entry : per_model.second.as_object()) {
        const Frame frame(entry.second);
        const Neighborhood neighborhood =
            alrare::native::find_neighbors(frame.box, engine.metadata().cutoff);
        std::vector<double> energies, forces;
        std::vector<std::vector<double>> gradients;
        engine.evaluate_members(neighborhood, -1, energies, gradients);
        for (const auto &gradient : gradients) {
          const std::vector<double> one = forces_of(neighborhood, gradient);
          forces.insert(forces.end(), one.begin(), one.end());
        }
        const double de = difference(energies, frame.energies);
        const double df = difference(forces, frame.forces);
        INFO(per_model.first, ", ", entry.first, ", ", set);
        CHECK(de < 1e-5);
        CHECK(df < 1e-5);
      }
    }
}

TEST_CASE("the gradient of weights is the weighted sum of the members' gradients") {
  for (const std::string &set : instruction_sets()) {
    NativeEvaluator engine(model("gelu"), {set, 1});
    const Neighborhood neighborhood = alrare::native::find_neighbors(many_atoms().box, 5.1);
    std::vector<double> energies;
    std::vector<std::vector<double>> gradients;
    engine.evaluate_members(neighborhood, -1, energies, gradients);
    Evaluation out;
    engine.evaluate(neighborhood, {0.3, -1.2}, out);
    std::vector<double> expected(out.gradient.size());
    for (std::size_t k = 0; k < expected.size(); ++k)
      expected[k] = 0.3 * gradients[0][k] - 1.2 * gradients[1][k];
    CHECK(difference(out.gradient, expected) < 2e-5);
    CHECK(out.member_energies == energies);

    engine.evaluate(neighborhood, {0.0, 0.0}, out);
    CHECK(out.member_energies == energies);
    CHECK(std::all_of(out.gradient.begin(), out.gradient.end(), [](double g) { return g == 0; }));
  }
}

TEST_CASE("one member alone gives the bits it gives among the others") {
  NativeEvaluator engine(model("gelu"));
  const Neighborhood neighborhood = alrare::native::find_neighbors(many_atoms().box, 5.1);
  Evaluation all, one;
  engine.evaluate(neighborhood, {0.0, 1.0}, all);
  engine.evaluate_one(neighborhood, 1, one);
  CHECK(one.member_energies == std::vector<double>{all.member_energies[1]});
  CHECK(one.gradient == all.gradient);
}

TEST_CASE("a driving member gives the bits it gives alone") {
  NativeEvaluator engine(model("gelu"));
  const Neighborhood neighborhood = alrare::native::find_neighbors(many_atoms().box, 5.1);
  Evaluation one;
  engine.evaluate_one(neighborhood, 1, one);
  std::vector<double> energies;
  std::vector<std::vector<double>> gradients;
  engine.evaluate_members(neighborhood, 1, energies, gradients);
  CHECK(gradients[1] == one.gradient);
  CHECK(energies[1] == one.member_energies[0]);
}

TEST_CASE("atomic energies sum to the members' energies") {
  NativeEvaluator engine(model("gelu"));
  const Neighborhood neighborhood = alrare::native::find_neighbors(many_atoms().box, 5.1);
  Evaluation out;
  engine.evaluate(neighborhood, {1.0, 0.0}, out);
  double self = 0.0;
  for (const std::int64_t s : neighborhood.species)
    self += -13.7 * static_cast<double>((s + 1) * (s + 1));
  const std::vector<double> &atomic = engine.atomic_energies();
  CHECK(atomic.size() == 2 * 400);
  for (std::size_t m = 0; m < 2; ++m) {
    double sum = self;
    for (std::size_t i = 0; i < 400; ++i)
      sum += atomic[m * 400 + i];
    CHECK(std::fabs(sum - out.member_energies[m]) < 1e-9);
  }
}

TEST_CASE("forces of each member from a list are those of its gradient") {
  NativeEvaluator engine(model("gelu"), {"auto", 1}), other(model("gelu"), {"auto", 1});
  Cluster cluster;
  cluster.type[3] = cluster.type[70] = 4; // not seen
  alrare::ListEvaluation out;
  REQUIRE(engine.list_evaluator(true) != nullptr);
  engine.list_evaluator(true)->evaluate_list(cluster.list, true, 0, {0.3, 0.7}, true, out);
  std::vector<double> energies;
  CHECK(difference(out.forces.at(0), cluster.forces(other, {1.0, 0.0}, energies)) < 2e-6);
  CHECK(difference(out.forces.at(1), cluster.forces(other, {0.0, 1.0}, energies)) < 2e-6);
  CHECK(out.member_energies == energies);
  CHECK(out.centers->n_local == cluster.list.n_all - 2);
  engine.list_evaluator(true)->evaluate_list(cluster.list, false, 0, {0.0, 1.0}, true, out);
  CHECK(difference(out.forces.at(0), cluster.forces(other, {1.0, 0.0}, energies)) < 2e-6);
  CHECK(difference(out.forces.at(1), cluster.forces(other, {0.0, 1.0}, energies)) < 1e-14);
  engine.list_evaluator(true)->evaluate_list(cluster.list, true, 1, {1.0}, false, out);
  CHECK(difference(out.forces.at(0), cluster.forces(other, {0.0, 1.0}, energies)) < 1e-14);
  CHECK(out.member_energies == std::vector<double>{energies[1]});

  CHECK(engine.list_evaluator(false) == nullptr); // a gradient by the edges costs no more
  CHECK(NativeEvaluator(model("gelu"), {"auto", 2}).list_evaluator(true) == nullptr);
}

TEST_CASE("any number of threads gives the same bits") {
  const Neighborhood neighborhood = alrare::native::find_neighbors(many_atoms().box, 5.1);
  Evaluation one, three;
  NativeEvaluator(model("gelu"), {"auto", 1}).evaluate(neighborhood, {0.5, 0.5}, one);
  NativeEvaluator(model("gelu"), {"auto", 3}).evaluate(neighborhood, {0.5, 0.5}, three);
  CHECK(difference(one.member_energies, three.member_energies) < 1e-12);
  CHECK(difference(one.gradient, three.gradient) < 1e-6);
}

TEST_CASE("instruction sets agree within float32 rounding") {
  const Neighborhood neighborhood = alrare::native::find_neighbors(many_atoms().box, 5.1);
  Evaluation first, other;
  NativeEvaluator(model("gelu"), {"portable", 1}).evaluate(neighborhood, {0.5, 0.5}, first);
  for (const std::string &set : instruction_sets()) {
    NativeEvaluator(model("gelu"), {set, 1}).evaluate(neighborhood, {0.5, 0.5}, other);
    CHECK(difference(first.member_energies, other.member_energies) < 1e-4);
    CHECK(difference(first.gradient, other.gradient) < 2e-5);
  }
}

TEST_CASE("the order of atoms and edges changes nothing but the rounding") {
  NativeEvaluator engine(model("gelu"));
  Neighborhood forward = alrare::native::find_neighbors(many_atoms().box, 5.1), backward = forward;
  const std::size_t n = forward.n_edges();
  const std::int64_t last = forward.n_local - 1;
  for (std::size_t e = 0; e < n; ++e) {
    backward.edge_i[e] = last - forward.edge_i[n - 1 - e];
    backward.edge_j[e] = last - forward.edge_j[n - 1 - e];
    std::copy_n(&forward.vec[3 * (n - 1 - e)], 3, &backward.vec[3 * e]);
  }
  std::reverse(backward.species.begin(), backward.species.end());
  Evaluation a, b;
  engine.evaluate(forward, {0.5, 0.5}, a);
  engine.evaluate(backward, {0.5, 0.5}, b);
  CHECK(difference(a.member_energies, b.member_energies) < 1e-4);
  std::vector<double> turned(3 * n);
  for (std::size_t e = 0; e < n; ++e)
    std::copy_n(&b.gradient[3 * (n - 1 - e)], 3, &turned[3 * e]);
  CHECK(difference(a.gradient, turned) < 2e-5);
}

TEST_CASE("no atoms, no edges, and ghosts without centers are fine") {
  NativeEvaluator engine(model("gelu"));
  Neighborhood neighborhood;
  Evaluation out;
  engine.evaluate(neighborhood, {0.5, 0.5}, out);
  CHECK(out.member_energies == std::vector<double>{0.0, 0.0});
  CHECK(out.gradient.empty());
  neighborhood.species = {0, 1, 2};
  engine.evaluate(neighborhood, {0.5, 0.5}, out);
  CHECK(out.member_energies == std::vector<double>{0.0, 0.0});
  neighborhood.n_local = 2;
  engine.evaluate(neighborhood, {0.5, 0.5}, out);
  CHECK(std::isfinite(out.member_energies[0]));
  CHECK(out.gradient.empty());
}

TEST_CASE("what does not fit the model is refused in one sentence") {
  CHECK_THROWS_WITH(NativeEvaluator(model("gelu"), {"sse9", 1}),
                    Contains("unknown instruction set 'sse9'"));
  CHECK_THROWS_WITH(NativeEvaluator(model("gelu"), {"auto", 0}), Contains("threads must be >= 1"));
  NativeEvaluator engine(model("gelu"));
  Neighborhood neighborhood;
  Evaluation out;
  CHECK_THROWS_WITH(engine.evaluate(neighborhood, {1.0}, out),
                    Contains("expected 2 weights, got 1"));
  CHECK_THROWS_WITH(engine.evaluate_one(neighborhood, 2, out), Contains("member 2 of 2"));
  neighborhood.n_local = 1;
  neighborhood.species = {3};
  CHECK_THROWS_WITH(engine.evaluate(neighborhood, {1.0, 0.0}, out),
                    Contains("species 3 is unknown"));
  neighborhood.species = {0, 7};
  neighborhood.edge_i = {0};
  neighborhood.edge_j = {1};
  neighborhood.vec = {1.0, 0.0, 0.0};
  CHECK_THROWS_WITH(engine.evaluate(neighborhood, {1.0, 0.0}, out),
                    Contains("species 7 is unknown"));
}
