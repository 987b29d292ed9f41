// SPDX-License-Identifier: GPL-2.0-or-later
// The engine for CUDA devices; its kernels are emulated, so that no device is needed.
#include "../native/cluster.h"
#include "../native/frames.h"
#include "nnp/evaluator.h"
#include "nnp/native/native_evaluator.h"

#include "nnp/trial.h"

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>

using alrare::Evaluation;
using alrare::Evaluator;
using alrare::ListEvaluation;
using alrare::OpenOptions;
using doctest::Contains;

namespace {

std::unique_ptr<Evaluator> open(const std::string &name, int threads = 1) {
  static void *const library = dlopen(ALRARE_TORCH_ENGINE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr)
    throw std::runtime_error(dlerror());
  auto *const factory =
      reinterpret_cast<alrare::EvaluatorFactory *>(dlsym(library, alrare::cuda_factory_name));
  const OpenOptions options{"auto", "emulated", 0, threads};
  return std::unique_ptr<Evaluator>(factory(model(name).c_str(), &options));
}

Neighborhood many_edges() { return alrare::native::find_neighbors(many_atoms().box, 5.1); }

} // namespace

TEST_CASE("the kernels give the energies and forces of float64") {
  for (const auto &per_model : reference().as_object()) {
    const auto engine = open(per_model.first);
    for (const auto &entry : per_model.second.as_object()) {
      const Frame frame(entry.second);
      const Neighborhood hood =
          alrare::native::find_neighbors(frame.box, engine->metadata().cutoff);
      std::vector<double> energies, forces;
      std::vector<std::vector<double>> gradients;
      engine->evaluate_members(hood, -1, energies, gradients);
      for (const auto &gradient : gradients) {
        const std::vector<double> one = forces_of(hood, gradient);
        forces.insert(forces.end(), one.begin(), one.end());
      }
      INFO(per_model.first, ", ", entry.first);
      CHECK(difference(energies, frame.energies) < 1e-5);
      CHECK(difference(forces, frame.forces) < 1e-5);
    }
  }
}

TEST_CASE("on hundreds of atoms they give what the native engine for the CPU gives") {
  alrare::native::NativeEvaluator cpu(model("gelu"));
  const auto engine = open("gelu");
  Evaluation a, b;
  cpu.evaluate(many_edges(), {0.3, -1.2}, a);
  engine->evaluate(many_edges(), {0.3, -1.2}, b);
  CHECK(difference(a.member_energies, b.member_energies) < 1e-4);
  CHECK(difference(a.gradient, b.gradient) < 2e-5);
  CHECK(difference(*cpu.center_energies(), *engine->center_energies()) < 1e-5);
  CHECK(engine->self_energy(2) == cpu.self_energy(2));
}

TEST_CASE("the same bits again, with more threads, and of a member alone") {
  const auto engine = open("gelu"), other = open("gelu", 2);
  const Neighborhood hood = many_edges();
  Evaluation a, b;
  engine->evaluate(hood, {0.5, 0.5}, a);
  engine->evaluate(hood, {0.5, 0.5}, b);
  CHECK(a.member_energies == b.member_energies);
  CHECK(a.gradient == b.gradient);
  other->evaluate(hood, {0.5, 0.5}, b);
  CHECK(difference(a.member_energies, b.member_energies) < 1e-4); // torch sums by threads

  engine->evaluate(hood, {0.0, 1.0}, a);
  engine->evaluate_one(hood, 1, b);
  CHECK(b.member_energies == std::vector<double>{a.member_energies[1]});
  CHECK(b.gradient == a.gradient);
}

TEST_CASE("no atoms, no edges, and ghosts without centers are fine on a device") {
  const auto engine = open("gelu");
  Neighborhood hood;
  Evaluation out;
  engine->evaluate(hood, {0.5, 0.5}, out);
  CHECK(out.member_energies == std::vector<double>{0.0, 0.0});
  CHECK(out.gradient.empty());
  hood.species = {0, 1, 2};
  hood.n_local = 2;
  engine->evaluate(hood, {0.5, 0.5}, out);
  CHECK(std::isfinite(out.member_energies[0]));
  CHECK(out.gradient.empty());
}

TEST_CASE("what does not fit the model is refused in one sentence on a device, too") {
  const auto engine = open("gelu");
  Neighborhood hood;
  Evaluation out;
  CHECK_THROWS_WITH(engine->evaluate(hood, {1.0}, out), Contains("expected 2 weights, got 1"));
  CHECK_THROWS_WITH(engine->evaluate_one(hood, 2, out), Contains("member 2 of 2"));
  hood.n_local = 1;
  hood.species = {0, 7};
  hood.edge_i = {0};
  hood.edge_j = {1};
  hood.vec = {1.0, 0.0, 0.0};
  CHECK_THROWS_WITH(engine->evaluate(hood, {1.0, 0.0}, out), Contains("species 7 is unknown"));
  CHECK_THROWS_WITH(open("no"), Contains("native_no.safetensors"));
}

TEST_CASE("from a neighbor list come the forces of its edges") {
  const auto engine = open("gelu"), other = open("gelu");
  Cluster cluster;
  ListEvaluation out;
  std::vector<double> energies;
  const auto check = [&](bool new_list) {
    engine->list_evaluator(true)->evaluate_list(cluster.list, new_list, 0, {0.3, 0.7}, false, out);
    const std::vector<double> expected = cluster.forces(*other, {0.3, 0.7}, energies);
    CHECK(out.member_energies == energies);
    REQUIRE(out.forces.size() == 1);
    CHECK(difference(out.forces[0], expected) < 1e-7);
    for (std::size_t d = 0; d < 3; ++d) { // to the last bit
      double sum = 0.0;
      for (std::size_t k = d; k < out.forces[0].size(); k += 3)
        sum += out.forces[0][k];
      CHECK(sum == 0.0);
    }
  };
  check(true);
  for (std::size_t k = 0; k < cluster.positions.size(); ++k)
    cluster.positions[k] += 0.05 * std::sin(static_cast<double>(k));
  check(false);
  cluster.type[3] = cluster.type[70] = 4; // not seen
  check(false);
  CHECK(out.centers->n_local == cluster.list.n_all - 2);
  Evaluation by_edges;
  engine->evaluate(many_edges(), {0.5, 0.5}, by_edges); // other edges in between
  check(false);
  cluster.list.n_centers = 0;
  check(false);
}

TEST_CASE("the forces of each member from a neighbor list") {
  const auto engine = open("gelu"), other = open("gelu");
  const Cluster cluster;
  ListEvaluation out, one;
  std::vector<double> energies;
  engine->list_evaluator(true)->evaluate_list(cluster.list, true, 0, {0.5, 0.5}, true, out);
  REQUIRE(out.forces.size() == 2);
  CHECK(difference(out.forces[0], cluster.forces(*other, {1.0, 0.0}, energies)) < 1e-7);
  CHECK(difference(out.forces[1], cluster.forces(*other, {0.0, 1.0}, energies)) < 1e-7);
  CHECK(out.member_energies == energies);
  engine->list_evaluator(true)->evaluate_list(cluster.list, false, 1, {1.0}, false, one);
  CHECK(one.forces[0] == out.forces[1]);
  CHECK(one.member_energies == std::vector<double>{energies[1]});
}

TEST_CASE("atoms at the same place and positions that are no numbers are named on a device") {
  const auto engine = open("gelu");
  Cluster cluster;
  ListEvaluation out;
  cluster.list.name_of = [](int i) { return "number " + std::to_string(i + 1); };
  const auto run = [&] {
    engine->list_evaluator(true)->evaluate_list(cluster.list, true, 0, {0.5, 0.5}, false, out);
  };
  std::copy_n(&cluster.positions[15], 3, &cluster.positions[30]);
  CHECK_THROWS_WITH(run(), Contains("atoms number 6 and number 11 are at the same place"));
  cluster.positions[30] = NAN;
  CHECK_THROWS_WITH(run(), Contains("the position of atom number 11 is not a number"));
}

namespace {

/// The engine for the CPU with a fault.
class Faulty final : public Evaluator {
public:
  explicit Faulty(double energy, double gradient) : energy_(energy), gradient_(gradient) {}
  [[nodiscard]] const alrare::Metadata &metadata() const override { return right_.metadata(); }
  [[nodiscard]] std::string description() const override { return "faulty"; }
  void evaluate(const Neighborhood &hood, const std::vector<double> &weights,
                Evaluation &out) override {
    right_.evaluate(hood, weights, out);
    out.member_energies[1] += energy_;
    out.gradient[out.gradient.size() / 2] += gradient_;
  }

private:
  alrare::native::NativeEvaluator right_{model("gelu")};
  double energy_, gradient_;
};

} // namespace

TEST_CASE("an engine is compared with the one for the CPU before it is used") {
  for (const std::string name : {"gelu", "celu", "odd"}) {
    alrare::native::NativeEvaluator cpu(model(name));
    CHECK_NOTHROW(alrare::compare_engines(*open(name), cpu));
  }
  alrare::native::NativeEvaluator cpu(model("gelu"));
  const auto tried = [&](double energy, double gradient) {
    Faulty faulty(energy, gradient);
    alrare::compare_engines(faulty, cpu);
  };
  CHECK_NOTHROW(tried(0.0, 0.0));
  CHECK_THROWS_WITH(tried(0.1, 0.0), Contains("faulty gives other numbers than the CPU"));
  CHECK_THROWS_WITH(tried(0.0, 0.1), Contains("forces 0.1 of"));
  CHECK_THROWS_WITH(tried(NAN, 0.0), Contains("an energy of faulty is not finite"));
  CHECK_THROWS_WITH(tried(0.0, NAN), Contains("a force of faulty is not finite"));
}
