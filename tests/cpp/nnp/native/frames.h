// SPDX-License-Identifier: GPL-2.0-or-later
// Models and configurations with which the engines for ANI are tested.
#ifndef ALRARE_TESTS_NNP_NATIVE_FRAMES_H
#define ALRARE_TESTS_NNP_NATIVE_FRAMES_H

#include "nnp/file/json.h"
#include "nnp/native/neighbor_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

using alrare::Json;
using alrare::Neighborhood;
using alrare::native::Box;

inline std::string data(const std::string &name) {
  return std::string(ALRARE_TEST_DATA "/") + name;
}

inline std::string model(const std::string &name) {
  return data("native_" + name + ".safetensors");
}

inline std::vector<double> numbers(const Json &json) {
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

inline const Json &reference() {
  static const Json json = [] {
    std::ifstream stream(data("native_reference.json"));
    std::stringstream text;
    text << stream.rdbuf();
    return Json::parse(text.str());
  }();
  return json;
}

inline std::vector<double> forces_of(const Neighborhood &neighborhood,
                                     const std::vector<double> &gradient) {
  std::vector<double> out(3 * neighborhood.species.size(), 0.0);
  for (std::size_t e = 0; e < neighborhood.n_edges(); ++e)
    for (std::size_t c = 0; c < 3; ++c) {
      out[3 * static_cast<std::size_t>(neighborhood.edge_i[e]) + c] += gradient[3 * e + c];
      out[3 * static_cast<std::size_t>(neighborhood.edge_j[e]) + c] -= gradient[3 * e + c];
    }
  return out;
}

inline double difference(const std::vector<double> &a, const std::vector<double> &b) {
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

inline const RandomBox &many_atoms() {
  static const RandomBox box(400, 3, {16, 0, 0, 2, 17, 0, -3, 1, 18});
  return box;
}

#endif
