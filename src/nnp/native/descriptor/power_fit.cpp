// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/descriptor/power_fit.h"

#include <algorithm>
#include <cmath>

namespace alrare::native {

namespace {

constexpr int samples = 100;
constexpr int max_degree = 8;
constexpr double tolerance = 5e-8;
const double pi = std::acos(-1.0);

using Matrix = std::vector<std::vector<double>>;

/// Least squares through Householder reflections; `rows` and `right` are used up.
std::vector<double> least_squares(Matrix rows, std::vector<double> right) {
  const std::size_t n = rows[0].size();
  for (std::size_t k = 0; k < n; ++k) {
    double norm = 0.0;
    for (std::size_t i = k; i < rows.size(); ++i)
      norm += rows[i][k] * rows[i][k];
    norm = rows[k][k] > 0 ? -std::sqrt(norm) : std::sqrt(norm);
    std::vector<double> v(rows.size(), 0.0);
    for (std::size_t i = k; i < rows.size(); ++i)
      v[i] = rows[i][k];
    v[k] -= norm;
    double size = 0.0;
    for (const double value : v)
      size += value * value;
    if (size == 0.0)
      continue;
    const auto reflect = [&](auto at) {
      double dot = 0.0;
      for (std::size_t i = k; i < rows.size(); ++i)
        dot += v[i] * at(i);
      for (std::size_t i = k; i < rows.size(); ++i)
        at(i) -= 2.0 * dot / size * v[i];
    };
    for (std::size_t j = k; j < n; ++j)
      reflect([&](std::size_t i) -> double & { return rows[i][j]; });
    reflect([&](std::size_t i) -> double & { return right[i]; });
  }
  std::vector<double> out(n, 0.0);
  for (std::size_t k = n; k-- > 0;) {
    double sum = right[k];
    for (std::size_t j = k + 1; j < n; ++j)
      sum -= rows[k][j] * out[j];
    out[k] = sum / rows[k][k];
  }
  return out;
}

double polynomial(const std::vector<double> &coefficients, double x) {
  double out = 0.0;
  for (std::size_t k = coefficients.size(); k-- > 0;)
    out = out * x + coefficients[k];
  return out;
}

/// Weighted minimax fit of x^fraction with weight x^power (Lawson's iteration).
std::vector<double> fit(int power, double fraction, int degree, double &error) {
  std::vector<double> x(samples), importance(samples, 1.0), best;
  for (int i = 0; i < samples; ++i)
    x[static_cast<std::size_t>(i)] = 0.5 - 0.5 * std::cos(pi * (i + 0.5) / samples);
  error = 1.0;
  for (int round = 0; round < 12; ++round) {
    Matrix rows;
    std::vector<double> right;
    for (std::size_t i = 0; i < x.size(); ++i) {
      double entry = std::sqrt(importance[i]) * std::pow(x[i], power);
      right.push_back(entry * std::pow(x[i], fraction));
      std::vector<double> row;
      for (int k = 0; k <= degree; ++k, entry *= x[i])
        row.push_back(entry);
      rows.push_back(std::move(row));
    }
    const std::vector<double> trial = least_squares(std::move(rows), std::move(right));
    double largest = 0.0, total = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double miss =
          std::pow(x[i], power) * std::fabs(polynomial(trial, x[i]) - std::pow(x[i], fraction));
      largest = std::max(largest, miss);
      importance[i] *= miss;
      total += importance[i];
    }
    if (largest < error) {
      error = largest;
      best = trial;
    }
    if (!(total > 0.0))
      break;
    for (double &value : importance)
      value *= samples / total;
  }
  return best;
}

} // namespace

PowerFit fit_power(double exponent) {
  PowerFit out;
  if (!(exponent >= 0.0 && exponent < 1000.0))
    return out;
  const int whole = static_cast<int>(exponent);
  if (exponent == whole) {
    out.power = whole;
    out.coefficients = {1.0};
    return out;
  }
  if (whole < 3)
    return out;
  for (int degree = 2; degree <= max_degree; ++degree) {
    double error = 0.0;
    const std::vector<double> trial = fit(whole, exponent - whole, degree, error);
    if (error <= tolerance) {
      out.power = whole;
      out.coefficients = trial;
      return out;
    }
  }
  return out;
}

} // namespace alrare::native
