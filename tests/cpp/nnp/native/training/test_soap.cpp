// SPDX-License-Identifier: GPL-2.0-or-later
//
// That its steps are those of SOAP is tested against plain torch: tests/python/training.
#include "../instruction_sets.h"
#include "nnp/native/training/soap.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

namespace {

using alrare::native::Soap;
using alrare::native::SoapSettings;
using doctest::Contains;

constexpr int rows = 21, columns = 37;

std::vector<float> unit_matrix(int n) {
  std::vector<float> out(static_cast<std::size_t>(n * n));
  for (int k = 0; k < n; ++k)
    out[static_cast<std::size_t>(k * n + k)] = 1.0f;
  return out;
}

TEST_CASE("a quadratic is minimized, in a matrix and in a vector") {
  const SoapSettings settings{{0.95, 0.95}, 0.0, 10, 2, 2.0};
  const std::vector<float> left = unit_matrix(rows), right = unit_matrix(columns);
  for (const std::string &name : instruction_sets()) {
    std::vector<float> matrix(rows * columns, 1.0f), vector(columns, 1.0f);
    Soap soap({{rows, columns, matrix.data(), nullptr}, {1, columns, vector.data(), nullptr}},
              settings, name);
    soap.begin(0, left.data(), right.data());
    for (int step = 0; step < 300; ++step) // the matrix is one component of 28 in its bases
      soap.step({matrix.data(), vector.data()}, 0.3 * (1.0 - step / 300.0));
    for (const float weight : matrix)
      CHECK(std::fabs(weight) < 0.05f);
    for (const float weight : vector)
      CHECK(std::fabs(weight) < 0.05f);
  }
}

TEST_CASE("what is missing is refused") {
  const SoapSettings settings{{0.95, 0.95}, 0.0, 10, 2, 2.0};
  std::vector<float> matrix(rows * columns, 1.0f);
  Soap soap({{rows, columns, matrix.data(), nullptr}}, settings);
  CHECK_THROWS_WITH(soap.step({matrix.data()}, 0.1), Contains("a matrix has no bases"));
  CHECK_THROWS_WITH(soap.step({}, 0.1), Contains("expected 1 gradients, one per parameter, got 0"));
}

} // namespace
