// SPDX-License-Identifier: GPL-2.0-or-later
#include "check.h"

#include "nnp/file/json.h"
#include "nnp/native/descriptor/power_fit.h"
#include "nnp/native/native_evaluator.h"
#include "nnp/native/neighbor_search.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>
#include <sstream>

namespace {

using alrare::Evaluation;
using alrare::Json;
using alrare::Neighborhood;
using alrare::native::Box;
using alrare::native::NativeEvaluator;

std::string data(const std::string &name) {
  const std::string file = __FILE__;
  return file.substr(0, file.rfind('/') + 1) + "data/" + name;
}

std::string model(const std::string &name) { return data("native_" + name + ".safetensors"); }

std::vector<double> numbers(const Json &json) {
  std::vector<double> out;
  for (const Json &value : json.as_array())
    out.push_back(value.as_number());
  return out;
}

/// One configuration of native_reference.json: made in float64 by the Python package.
struct Frame {
  std::vector<double> positions, energies, forces;
  std::vector<std::int64_t> species;
  Box box;

  explicit Frame(const Json &json)
      : positions(numbers(json.at("positions"))), energies(numbers(json.at("energies"))),
        forces(numbers(json.at("forces"))) {
    for (const double s : numbers(json.at("species")))
      species.push_back(static_cast<std::int64_t>(s));
    const std::vector<double> cell = numbers(json.at("cell"));
    std::copy(cell.begin(), cell.end(), box.cell.begin());
    for (std::size_t d = 0; d < 3; ++d)
      box.periodic[d] = json.at("pbc").as_array()[d].as_bool();
    box.n_atoms = static_cast<int>(species.size());
    box.positions = positions.data();
    box.species = species.data();
  }
  Frame(const Frame &) = delete;
  Frame &operator=(const Frame &) = delete;
};

const Json &reference() {
  static const Json json = [] {
    std::ifstream stream(data("native_reference.json"));
    std::stringstream text;
    text << stream.rdbuf();
    return Json::parse(text.str());
  }();
  return json;
}

std::vector<std::string> instruction_sets() {
  std::vector<std::string> out{"portable"};
  for (const std::string name : {"avx2", "avx512"})
    try {
      alrare::native::find_kernels(name);
      out.push_back(name);
    } catch (const std::runtime_error &) {
    }
  return out;
}

std::vector<double> forces_of(const Neighborhood &neighborhood,
                              const std::vector<double> &gradient) {
  std::vector<double> out(3 * neighborhood.species.size(), 0.0);
  for (std::size_t e = 0; e < neighborhood.n_edges(); ++e)
    for (std::size_t c = 0; c < 3; ++c) {
      out[3 * static_cast<std::size_t>(neighborhood.edge_i[e]) + c] += gradient[3 * e + c];
      out[3 * static_cast<std::size_t>(neighborhood.edge_j[e]) + c] -= gradient[3 * e + c];
    }
  return out;
}

double difference(const std::vector<double> &a, const std::vector<double> &b) {
  if (a.size() != b.size())
    return INFINITY;
  double out = 0.0;
  for (std::size_t k = 0; k < a.size(); ++k)
    out = std::max(out, std::fabs(a[k] - b[k]));
  return out;
}

/// A periodic box of random atoms, no two closer than 0.9 Å; large enough for many tiles.
struct RandomBox {
  std::vector<double> positions;
  std::vector<std::int64_t> species;
  Box box;

  RandomBox(int n, std::int64_t n_species, std::array<double, 9> cell) {
    std::mt19937_64 random(3);
    std::uniform_real_distribution<double> uniform;
    box.cell = cell;
    box.periodic = {true, true, true};
    while (static_cast<int>(species.size()) < n) {
      const double a = uniform(random), b = uniform(random), c = uniform(random);
      for (std::size_t d = 0; d < 3; ++d)
        positions.push_back(a * cell[d] + b * cell[3 + d] + c * cell[6 + d]);
      species.push_back(static_cast<std::int64_t>(random() % 64) % n_species);
      refresh();
      const Neighborhood near = alrare::native::find_neighbors(box, 0.9);
      if (near.n_edges() > 0) {
        positions.resize(positions.size() - 3);
        species.pop_back();
      }
    }
    refresh();
  }
  RandomBox(const RandomBox &) = delete;
  RandomBox &operator=(const RandomBox &) = delete;

private:
  void refresh() {
    box.n_atoms = static_cast<int>(species.size());
    box.positions = positions.data();
    box.species = species.data();
  }
};

const RandomBox &many_atoms() {
  static const RandomBox box(400, 3, {16, 0, 0, 2, 17, 0, -3, 1, 18});
  return box;
}

} // namespace

TEST("every instruction set gives the energies and forces of float64") {
  for (const auto &per_model : reference().as_object())
    for (const std::string &set : instruction_sets()) {
      NativeEvaluator engine(model(per_model.first), {set, 1});
      for (const auto &entry : per_model.second.as_object()) {
        const Frame frame(entry.second);
        const Neighborhood neighborhood =
            alrare::native::find_neighbors(frame.box, engine.metadata().cutoff);
        std::vector<double> energies, forces;
        std::vector<std::vector<double>> gradients;
        engine.evaluate_members(neighborhood, energies, gradients);
        for (const auto &gradient : gradients) {
          const std::vector<double> one = forces_of(neighborhood, gradient);
          forces.insert(forces.end(), one.begin(), one.end());
        }
        const double de = difference(energies, frame.energies);
        const double df = difference(forces, frame.forces);
        check::report(de < 1e-5 && df < 1e-5, __FILE__, __LINE__,
                      per_model.first + ", " + entry.first + ", " + set + ": off by " +
                          std::to_string(de * 1e6) + " ueV, " + std::to_string(df * 1e6) +
                          " ueV/A");
      }
    }
}

TEST("the gradient of weights is the weighted sum of the members' gradients") {
  for (const std::string &set : instruction_sets()) {
    NativeEvaluator engine(model("gelu"), {set, 1});
    const Neighborhood neighborhood = alrare::native::find_neighbors(many_atoms().box, 5.1);
    std::vector<double> energies;
    std::vector<std::vector<double>> gradients;
    engine.evaluate_members(neighborhood, energies, gradients);
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

TEST("one member alone gives the bits it gives among the others") {
  NativeEvaluator engine(model("gelu"));
  const Neighborhood neighborhood = alrare::native::find_neighbors(many_atoms().box, 5.1);
  Evaluation all, one;
  engine.evaluate(neighborhood, {0.0, 1.0}, all);
  engine.evaluate_one(neighborhood, 1, one);
  CHECK(one.member_energies == std::vector<double>{all.member_energies[1]});
  CHECK(one.gradient == all.gradient);
}

TEST("atomic energies sum to the members' energies") {
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

TEST("any number of threads gives the same bits") {
  const Neighborhood neighborhood = alrare::native::find_neighbors(many_atoms().box, 5.1);
  Evaluation one, three;
  NativeEvaluator(model("gelu"), {"auto", 1}).evaluate(neighborhood, {0.5, 0.5}, one);
  NativeEvaluator(model("gelu"), {"auto", 3}).evaluate(neighborhood, {0.5, 0.5}, three);
  CHECK(difference(one.member_energies, three.member_energies) < 1e-12);
  CHECK(difference(one.gradient, three.gradient) < 1e-6);
}

TEST("instruction sets agree within float32 rounding") {
  const Neighborhood neighborhood = alrare::native::find_neighbors(many_atoms().box, 5.1);
  Evaluation first, other;
  NativeEvaluator(model("gelu"), {"portable", 1}).evaluate(neighborhood, {0.5, 0.5}, first);
  for (const std::string &set : instruction_sets()) {
    NativeEvaluator(model("gelu"), {set, 1}).evaluate(neighborhood, {0.5, 0.5}, other);
    CHECK(difference(first.member_energies, other.member_energies) < 1e-4);
    CHECK(difference(first.gradient, other.gradient) < 2e-5);
  }
}

TEST("the order of atoms and edges changes nothing but the rounding") {
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

TEST("no atoms, no edges, and ghosts without centers are fine") {
  NativeEvaluator engine(model("gelu"));
  Neighborhood neighborhood;
  Evaluation out;
  engine.evaluate(neighborhood, {0.5, 0.5}, out);
  CHECK(out.member_energies == std::vector<double>{0.0, 0.0} && out.gradient.empty());
  neighborhood.species = {0, 1, 2};
  engine.evaluate(neighborhood, {0.5, 0.5}, out);
  CHECK(out.member_energies == std::vector<double>{0.0, 0.0});
  neighborhood.n_local = 2;
  engine.evaluate(neighborhood, {0.5, 0.5}, out);
  CHECK(std::isfinite(out.member_energies[0]) && out.gradient.empty());
}

TEST("what does not fit the model is refused in one sentence") {
  CHECK_THROWS(NativeEvaluator(model("gelu"), {"sse9", 1}), "unknown instruction set 'sse9'");
  CHECK_THROWS(NativeEvaluator(model("gelu"), {"auto", 0}), "threads must be >= 1");
  NativeEvaluator engine(model("gelu"));
  Neighborhood neighborhood;
  Evaluation out;
  CHECK_THROWS(engine.evaluate(neighborhood, {1.0}, out), "expected 2 weights, got 1");
  CHECK_THROWS(engine.evaluate_one(neighborhood, 2, out), "member 2 of 2");
  neighborhood.n_local = 1;
  neighborhood.species = {3};
  CHECK_THROWS(engine.evaluate(neighborhood, {1.0, 0.0}, out), "species 3 is unknown");
  neighborhood.species = {0, 7};
  neighborhood.edge_i = {0};
  neighborhood.edge_j = {1};
  neighborhood.vec = {1.0, 0.0, 0.0};
  CHECK_THROWS(engine.evaluate(neighborhood, {1.0, 0.0}, out), "species 7 is unknown");
}

TEST("the neighbor search finds what all pairs of images give") {
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> uniform(-20.0, 20.0);
  const std::array<double, 9> cells[] = {{9, 0, 0, 0, 11, 0, 0, 0, 13},
                                         {4, 0, 0, 1.5, 3, 0, -1, 0.8, 5},
                                         {14, 0, 0, -6, 12, 0, 5, 5, 9}};
  for (const auto &cell : cells)
    for (int periodic = 0; periodic < 8; ++periodic) {
      std::vector<double> positions(3 * 12);
      for (double &x : positions)
        x = uniform(random);
      const std::vector<std::int64_t> species(12, 0);
      Box box;
      box.n_atoms = 12;
      box.positions = positions.data();
      box.species = species.data();
      box.cell = cell;
      box.periodic = {(periodic & 1) != 0, (periodic & 2) != 0, (periodic & 4) != 0};
      const double cutoff = 5.1;
      std::size_t expected = 0;
      double squares = 0.0;
      std::array<int, 3> reach;
      for (std::size_t d = 0; d < 3; ++d)
        reach[d] = box.periodic[d] ? 22 : 0;
      for (std::size_t i = 0; i < 12; ++i)
        for (std::size_t j = 0; j < 12; ++j)
          for (int a = -reach[0]; a <= reach[0]; ++a)
            for (int b = -reach[1]; b <= reach[1]; ++b)
              for (int c = -reach[2]; c <= reach[2]; ++c) {
                double r = 0.0;
                for (std::size_t d = 0; d < 3; ++d) {
                  const double x = positions[3 * j + d] - positions[3 * i + d] + a * cell[d] +
                                   b * cell[3 + d] + c * cell[6 + d];
                  r += x * x;
                }
                if (r < cutoff * cutoff && !(i == j && a == 0 && b == 0 && c == 0)) {
                  ++expected;
                  squares += r;
                }
              }
      const Neighborhood found = alrare::native::find_neighbors(box, cutoff);
      double sum = 0.0;
      for (const double x : found.vec)
        sum += x * x;
      CHECK(found.n_edges() == expected);
      CHECK(std::fabs(sum - squares) < 1e-6);
      CHECK(std::is_sorted(found.edge_i.begin(), found.edge_i.end()));
    }
}

TEST("the neighbor search refuses flat cells and positions that are not finite") {
  std::vector<double> positions{0.0, 0.0, NAN};
  const std::vector<std::int64_t> species{0};
  Box box;
  box.n_atoms = 1;
  box.positions = positions.data();
  box.species = species.data();
  CHECK_THROWS(alrare::native::find_neighbors(box, 5.1), "positions must be finite");
  positions[2] = 0.0;
  box.periodic = {true, true, false};
  box.cell = {5, 0, 0, 10, 0, 0, 0, 0, 5};
  CHECK_THROWS(alrare::native::find_neighbors(box, 5.1), "flat");
  box.cell = {0.02, 0, 0, 0, 5, 0, 0, 0, 5};
  CHECK_THROWS(alrare::native::find_neighbors(box, 5.1), "thick in periodic direction 0");
  box.cell = {};
  CHECK_THROWS(alrare::native::find_neighbors(box, 5.1), "longer than");
}

TEST("powers without a logarithm are right to float32, or declined") {
  for (const double exponent : {13.1, 31.0, 7.0, 6.5, 24.3, 63.99}) {
    const alrare::native::PowerFit fit = alrare::native::fit_power(exponent);
    CHECK(fit.power == static_cast<int>(exponent) && fit.coefficients.size() <= 9);
    double worst = 0.0;
    for (int k = 0; k <= 1000; ++k) {
      const double x = k / 1000.0;
      double p = 0.0;
      for (std::size_t c = fit.coefficients.size(); c-- > 0;)
        p = p * x + fit.coefficients[c];
      worst = std::max(worst, std::fabs(p * std::pow(x, fit.power) - std::pow(x, exponent)));
    }
    CHECK(worst < 6e-8);
  }
  CHECK(alrare::native::fit_power(0.7).power == -1);
  CHECK(alrare::native::fit_power(-1.0).power == -1);
}

int main() { return check::run(); }
