// SPDX-License-Identifier: GPL-2.0-or-later
#include "../instruction_sets.h"
#include "nnp/native/training/orthogonalize.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace {

using alrare::native::Orthogonalizer;
using Matrix = std::vector<float>;

float &at(Matrix &matrix, int n, int row, int column) {
  return matrix[static_cast<std::size_t>(row * n + column)];
}

double product(Matrix &a, Matrix &b, int n, int row_of_a, int row_of_b) {
  double sum = 0.0;
  for (int c = 0; c < n; ++c)
    sum += static_cast<double>(at(a, n, row_of_a, c)) * static_cast<double>(at(b, n, row_of_b, c));
  return sum;
}

/// The largest deviation of the products of the rows from those of unit vectors at right angles.
double deviation(Matrix &rows, int n) {
  double largest = 0.0;
  for (int r = 0; r < n; ++r)
    for (int s = 0; s <= r; ++s)
      largest = std::max(largest, std::fabs(product(rows, rows, n, r, s) - (r == s ? 1.0 : 0.0)));
  return largest;
}

/// What row r of `before` has outside of the span of the first r + 1 rows of `after`.
double outside(Matrix &before, Matrix &after, int n, int r) {
  double squares = product(before, before, n, r, r);
  for (int s = 0; s <= r; ++s) {
    const double part = product(before, after, n, r, s);
    squares -= part * part;
  }
  return std::sqrt(std::fabs(squares) / product(before, before, n, r, r));
}

Matrix random_rows(int n, std::mt19937 &engine) {
  std::normal_distribution<float> normal;
  Matrix out(static_cast<std::size_t>(n * n));
  std::generate(out.begin(), out.end(), [&] { return normal(engine); });
  return out;
}

TEST_CASE("rows become unit vectors at right angles that span the same") {
  std::mt19937 engine(3);
  for (const std::string &name : instruction_sets()) {
    Orthogonalizer orthogonalizer(name);
    for (const int n : {1, 2, 15, 16, 17, 48, 128}) {
      Matrix rows = random_rows(n, engine);
      for (int c = 0; c < n; ++c) // of very different sizes, as eigenvalues are
        for (int r = 0; r < n; ++r)
          at(rows, n, r, c) *=
              std::pow(10.0f, -10.0f * static_cast<float>(r) / static_cast<float>(n));
      Matrix before = rows;
      orthogonalizer.run(rows.data(), n);
      CHECK(deviation(rows, n) < 2e-6);
      for (int r = 0; r < n; ++r)
        CHECK(outside(before, rows, n, r) < 2e-3);
    }
  }
}

TEST_CASE("rows that are zero, the same, tiny or huge") {
  std::mt19937 engine(4);
  const int n = 20;
  for (const std::string &name : instruction_sets()) {
    Orthogonalizer orthogonalizer(name);
    Matrix rows = random_rows(n, engine);
    for (int c = 0; c < n; ++c) {
      at(rows, n, 2, c) = at(rows, n, 5, c) = 0.0f;
      at(rows, n, 7, c) = at(rows, n, 1, c);
      at(rows, n, 9, c) *= 1e-30f;
      at(rows, n, 11, c) *= 1e30f;
    }
    orthogonalizer.run(rows.data(), n);
    CHECK(deviation(rows, n) < 2e-6);
    Matrix nothing(n * n);
    orthogonalizer.run(nothing.data(), n);
    CHECK(deviation(nothing, n) < 2e-6);
  }
}

} // namespace
