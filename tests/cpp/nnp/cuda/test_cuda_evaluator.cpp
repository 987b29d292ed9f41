// SPDX-License-Identifier: GPL-2.0-or-later
// The engine for CUDA devices; its kernels are emulated, so that no device is needed.
#include "../native/frames.h"
#include "nnp/evaluator.h"
#include "nnp/native/native_evaluator.h"

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>

using alrare::Evaluation;
using alrare::Evaluator;
using alrare::OpenOptions;
using doctest::Contains;

namespace {

std::unique_ptr<Evaluator> open(const std::string &name, int threads = 1) {
  static void *const library = dlopen(ALRARE_TORCH_ENGINE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr)
    throw std::runtime_error(dlerror());
  auto *const factory =
      reinterpret_cast<alrare::EvaluatorFactory *>(dlsym(library, alrare::cuda_factory_name));
  const OpenOptions options{"auto", "cpu", 0, threads};
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
      engine->evaluate_members(hood, energies, gradients);
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
