// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/device.h"
#include "nnp/evaluator.h"
#include "nnp/torch_version.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>

using doctest::Contains;

namespace {

const char *const good = R"({"format": "alrare-ensemble", "format_version": 1,
  "elements": ["H", "C"], "members": 3, "best_member": 1, "cutoff": 5.1, "angular_cutoff": 3.5,
  "receptive_field": 5.1, "units": {"length": "angstrom", "energy": "eV"}, "later": [1, 2]})";

std::string with(const std::string &old_text, const std::string &new_text) {
  std::string text = good;
  const auto at = text.find(old_text);
  if (at == std::string::npos)
    throw std::runtime_error("the test replaces what is not there: " + old_text);
  return text.replace(at, old_text.size(), new_text);
}

/// E_m = (m + 1) * sum over edges of |vec|^2.
class Springs final : public alrare::Evaluator {
public:
  Springs() { metadata_.members = 3; }
  const alrare::Metadata &metadata() const override { return metadata_; }
  std::string description() const override { return "springs"; }
  void evaluate(const alrare::Neighborhood &hood, const std::vector<double> &weights,
                alrare::Evaluation &out) override {
    double squares = 0.0, factor = 0.0;
    for (const double x : hood.vec)
      squares += x * x;
    out.member_energies.clear();
    for (int m = 0; m < 3; ++m) {
      out.member_energies.push_back((m + 1) * squares);
      factor += (m + 1) * weights[m];
    }
    out.gradient.clear();
    for (const double x : hood.vec)
      out.gradient.push_back(2.0 * factor * x);
  }

private:
  alrare::Metadata metadata_;
};

} // namespace

TEST_CASE("metadata are read, and unknown keys are left alone") {
  const alrare::Metadata model = alrare::parse_metadata(good);
  CHECK(model.elements == std::vector<std::string>{"H", "C"});
  CHECK(model.members == 3);
  CHECK(model.best_member == 1);
  CHECK(model.cutoff == 5.1);
  CHECK(model.angular_cutoff == 3.5);
  CHECK(model.receptive_field == 5.1);
  CHECK(!model.double_precision);
  CHECK(
      alrare::parse_metadata(with("\"later\": [1, 2]", "\"dtype\": \"float64\"")).double_precision);
}

TEST_CASE("messages come from as many shells as fit into the receptive field") {
  const auto model = [](const std::string &field) {
    std::string text = with("version\": 1", "version\": 2");
    return alrare::parse_metadata(text.replace(text.find("field\": 5.1"), 11, "field\": " + field));
  };
  CHECK(alrare::parse_metadata(good).message_shells() == 0);
  CHECK(model("5.1").message_shells() == 0);
  CHECK(model("10.2").message_shells() == 1);
  CHECK(model("15.3").message_shells() == 2);
  CHECK(model("11.0").message_shells() == 2); // whatever the messages, no shorter than the field
  CHECK_THROWS_WITH(model("5.0"), Contains("at least the cutoff, 5.1, got 5"));
  CHECK_THROWS_WITH(model("1e300"), Contains("less than 100 cutoffs"));
}

TEST_CASE("a calibration is two factors, or none") {
  CHECK(!alrare::parse_metadata(good).is_calibrated());
  CHECK(
      !alrare::parse_metadata(with("\"later\": [1, 2]", "\"calibration\": null")).is_calibrated());
  const alrare::Metadata model = alrare::parse_metadata(
      with("\"later\": [1, 2]", "\"calibration\": {\"energy\": 2.5, \"force\": 1.5}"));
  CHECK(model.is_calibrated());
  CHECK(model.energy_calibration == 2.5);
  CHECK(model.force_calibration == 1.5);
  CHECK_THROWS_WITH(alrare::parse_metadata(with(
                        "\"later\": [1, 2]", "\"calibration\": {\"energy\": 0, \"force\": 1.5}")),
                    Contains("calibration must be two factors > 0"));
}

TEST_CASE("metadata out of range are refused by name") {
  CHECK_THROWS_WITH(alrare::parse_metadata("[]"), Contains("not an alrare ensemble"));
  CHECK_THROWS_WITH(alrare::parse_metadata(with("alrare-ensemble", "mace")),
                    Contains("not an alrare ensemble"));
  CHECK_THROWS_WITH(alrare::parse_metadata(with("version\": 1", "version\": 3")),
                    Contains("format version 3"));
  CHECK_THROWS_WITH(
      alrare::parse_metadata(with("receptive_field\": 5.1", "receptive_field\": 10.2")),
      Contains("at most the cutoff, 5.1, in format version 1"));
  CHECK_THROWS_WITH(alrare::parse_metadata(with("[\"H\", \"C\"]", "[]")), Contains("elements"));
  CHECK_THROWS_WITH(alrare::parse_metadata(with("[\"H\", \"C\"]", "[\"H\", \"H\"]")),
                    Contains("elements"));
  CHECK_THROWS_WITH(alrare::parse_metadata(with("members\": 3", "members\": 0")),
                    Contains("members"));
  CHECK_THROWS_WITH(alrare::parse_metadata(with("member\": 1", "member\": 3")),
                    Contains("best_member"));
  CHECK_THROWS_WITH(alrare::parse_metadata(with("cutoff\": 5.1", "cutoff\": -1")),
                    Contains("cutoff"));
  CHECK_THROWS_WITH(alrare::parse_metadata(with("cutoff\": 3.5", "cutoff\": 6")),
                    Contains("angular_cutoff"));
  CHECK_THROWS_WITH(alrare::parse_metadata(with("eV", "Ha")), Contains("angstrom and eV"));
}

TEST_CASE("a missing file, an unknown engine and a foreign format are told apart") {
  CHECK_THROWS_WITH(alrare::open_evaluator("/nowhere/ensemble.pt", {}), Contains("does not exist"));
  const std::string path = "test_evaluator.safetensors";
  std::fclose(std::fopen(path.c_str(), "w"));
  CHECK_THROWS_WITH(alrare::open_evaluator(path, {}), Contains(path.c_str()));
  CHECK_THROWS_WITH(alrare::open_evaluator(path, {"auto", "cuda:1", 0, 1}), Contains(path.c_str()));
  CHECK_THROWS_WITH(alrare::open_evaluator(path, {"torchscript", "auto", 0, 1}),
                    Contains("(ensemble.pt)"));
  CHECK_THROWS_WITH(alrare::open_evaluator(path, {"jax", "auto", 0, 1}),
                    Contains("unknown engine 'jax'"));
  std::fclose(std::fopen("test_evaluator.pt", "w"));
  CHECK_THROWS_WITH(alrare::open_evaluator(path, {"torchscript", "cuda", 0, 1}),
                    Contains("'test_evaluator.pt'"));
  CHECK_THROWS_WITH(alrare::open_evaluator("test_evaluator.pt", {"auto", "emulated", 0, 1}),
                    Contains("for tests of ensemble.safetensors"));
  CHECK_THROWS_WITH(alrare::open_evaluator("test_evaluator.pt", {"native", "auto", 0, 1}),
                    Contains("not one that the native engine reads"));
  std::remove(path.c_str());
  std::remove("test_evaluator.pt");
}

TEST_CASE("an engine that does not open names the torch it was built with") {
  const std::string path = "test_evaluator.pt";
  std::fclose(std::fopen(path.c_str(), "w"));
  // beside this program lies no engine; it may have been built without one, too
  std::string told;
  try {
    alrare::open_evaluator(path, {});
  } catch (const std::runtime_error &error) {
    told = error.what();
  }
  CHECK((told.find("it was built with torch ") != std::string::npos ||
         told.find("built without torch") != std::string::npos));
  std::remove(path.c_str());
}

TEST_CASE("builds of one minor release of torch fit, others are told with both versions") {
  CHECK(alrare::same_torch("2.13.0", "2.13.0+cu126"));
  CHECK(alrare::same_torch("2.13.0", "2.13.1"));
  CHECK(!alrare::same_torch("2.1.0", "2.13.0"));
  const std::string other = alrare::torch_advice("2.13.0+cpu", "2.12.1");
  CHECK(
      other.find("built with torch 2.13.0+cpu and torch 2.12.1 is here: install torch==2.13.0,") !=
      std::string::npos);
  CHECK(alrare::torch_advice("unknown", "2.12.1").find("==") == std::string::npos);
  CHECK(alrare::torch_advice("2.13.0", "").find("no torch is here") != std::string::npos);
  CHECK(alrare::torch_advice("2.13.0", "2.13.0+cpu").find("install torch") == std::string::npos);
}

TEST_CASE("an engine is chosen by the minor release of the torch that is there") {
  const auto engine = [](const std::string &found) {
    return alrare::torch_engine_in("./", "2.13.0+cpu", found);
  };
  std::fclose(std::fopen("libalrare_torch-2.12.so", "w"));
  CHECK(engine("2.12.1+cu126") == "./libalrare_torch-2.12.so");
  CHECK(engine("2.13.1") == "./libalrare_torch.so");
  CHECK(engine("") == "./libalrare_torch.so");
  CHECK(engine("2.1.2").empty());
  CHECK(engine("2.11.0").empty());
  CHECK(alrare::torch_engine_in("./", "unknown", "2.11.0") == "./libalrare_torch.so");
  std::remove("libalrare_torch-2.12.so");
}

TEST_CASE("the version of an installed torch is read from its package") {
  {
    std::ofstream file("version.py");
    file << "from typing import Optional\n__version__ = '2.12.1+cpu'\ndebug = False\n";
  }
  CHECK(alrare::torch_version_in(".") == "2.12.1+cpu");
  std::remove("version.py");
  CHECK(alrare::torch_version_in(".").empty());
}

TEST_CASE("the ranks of a machine are dealt out over its devices in turn") {
  for (int rank = 0; rank < 5; ++rank) {
    CHECK(alrare::choose_device("cuda", rank, 2) == rank % 2);
    CHECK(alrare::choose_device("auto", rank, 4) == rank % 4);
    CHECK(alrare::choose_device("cuda:1", rank, 2) == 1);
    CHECK(alrare::choose_device("cpu", rank, 2) == -1);
    CHECK(alrare::choose_device("auto", rank, 0) == -1);
  }
  CHECK_THROWS_WITH(alrare::choose_device("cuda", 0, 0), Contains("has no CUDA device"));
  CHECK_THROWS_WITH(alrare::choose_device("cuda:0", 0, 0), Contains("has no CUDA device"));
  CHECK_THROWS_WITH(alrare::choose_device("cuda:2", 0, 2), Contains("has CUDA devices 0 to 1"));
}

TEST_CASE("one member alone is the evaluation with a unit vector as weights") {
  Springs springs;
  alrare::Neighborhood hood;
  hood.n_local = 1;
  hood.vec = {1.0, 2.0, 3.0, -1.0, 0.5, 0.0};
  alrare::Evaluation all, one;
  springs.evaluate(hood, {0.0, 0.0, 1.0}, all);
  springs.evaluate_one(hood, 2, one);
  CHECK(one.gradient == all.gradient);
  CHECK(one.member_energies == std::vector<double>{all.member_energies[2]});
}

TEST_CASE("gradients of members, weighted, add up to the gradient of the weighted sum") {
  Springs springs;
  alrare::Neighborhood hood;
  hood.n_local = 1;
  hood.vec = {1.0, 2.0, 3.0, -1.0, 0.5, 0.0};
  const std::vector<double> weights = {0.2, 0.3, 0.5};
  alrare::Evaluation whole;
  springs.evaluate(hood, weights, whole);
  std::vector<double> energies;
  std::vector<std::vector<double>> gradients;
  springs.evaluate_members(hood, -1, energies, gradients);
  CHECK(energies == whole.member_energies);
  for (std::size_t k = 0; k < hood.vec.size(); ++k) {
    double sum = 0.0;
    for (std::size_t m = 0; m < 3; ++m)
      sum += weights[m] * gradients[m][k];
    CHECK(std::abs(sum - whole.gradient[k]) < 1e-12);
  }
}
