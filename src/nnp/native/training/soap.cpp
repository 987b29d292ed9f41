// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/training/soap.h"

#include "nnp/native/kernels/instruction_set.h"
#include "nnp/native/size.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace alrare::native {

namespace {

constexpr float adam_epsilon = 1e-8f; // as EPSILON in python/alrare/training/optimizer.py

MatrixView plain(const float *data, int rows, int columns) {
  return {data, rows, columns, columns, 1};
}

/// The transpose of a matrix (rows, columns) in memory.
MatrixView transposed(const float *data, int rows, int columns) {
  return {data, columns, rows, 1, columns};
}

std::size_t count_of(const SoapParameter &parameter) {
  return size(parameter.rows) * size(parameter.columns);
}

void move_toward(const std::vector<float> &goal, float share, std::vector<float> &mean) {
  for (std::size_t k = 0; k < mean.size(); ++k)
    mean[k] += (goal[k] - mean[k]) * share;
}

float single(double value) { return static_cast<float>(value); }

} // namespace

AdamFactors adam_factors(const std::array<double, 2> &decays, int step) {
  return {single(1.0 - decays[0]), single(1.0 - decays[1]),
          single(1.0 / (1.0 - std::pow(decays[0], step))),
          single(1.0 / std::sqrt(1.0 - std::pow(decays[1], step))), adam_epsilon};
}

Soap::Soap(const std::vector<SoapParameter> &parameters, const SoapSettings &settings,
           const std::string &instruction_set)
    : kernels_(find_kernels(instruction_set)), product_(instruction_set),
      orthogonalizer_(instruction_set), parameters_(parameters), settings_(settings) {
  for (const SoapParameter &parameter : parameters_) {
    State state;
    state.first.resize(count_of(parameter));
    state.second.resize(count_of(parameter));
    if (parameter.is_matrix()) {
      state.left.resize(size(parameter.rows) * size(parameter.rows));
      state.right.resize(size(parameter.columns) * size(parameter.columns));
    }
    states_.push_back(std::move(state));
  }
}

void Soap::begin(std::size_t parameter, const float *left, const float *right) {
  State &state = states_.at(parameter);
  state.base_left.assign(left, left + state.left.size());
  state.base_right.assign(right, right + state.right.size());
}

float Soap::shortening(const std::vector<const float *> &gradients) {
  double squares = 0.0;
  for (std::size_t k = 0; k < gradients.size(); ++k)
    squares += static_cast<double>(kernels_.training.sum_of_squares(
        gradients[k], static_cast<long>(count_of(parameters_[k]))));
  const double length = std::sqrt(squares);
  if (!(length > 0.0 && std::isfinite(length)))
    return 1.0f;
  const double usual = usual_ > 0.0 ? usual_ : length;
  const double shortened = std::min(length, settings_.clip * usual);
  usual_ = std::pow(usual, 0.95) * std::pow(shortened, 0.05);
  return single(shortened / length);
}

void Soap::step(const std::vector<const float *> &gradients, double rate) {
  if (gradients.size() != parameters_.size())
    throw std::runtime_error("expected " + std::to_string(parameters_.size()) +
                             " gradients, one per parameter, got " +
                             std::to_string(gradients.size()));
  for (const State &state : states_)
    if (state.base_left.size() != state.left.size())
      throw std::runtime_error("a matrix has no bases: begin() comes before the first step");
  const float shorter = shortening(gradients);
  ++steps_;
  for (std::size_t k = 0; k < gradients.size(); ++k) {
    const SoapParameter &parameter = parameters_[k];
    const float *gradient = gradients[k];
    if (shorter != 1.0f) {
      gradient_.resize(count_of(parameter));
      std::transform(gradient, gradient + gradient_.size(), gradient_.begin(),
                     [&](float value) { return value * shorter; });
      gradient = gradient_.data();
    }
    if (parameter.is_matrix())
      step_matrix(parameter, states_[k], gradient, single(rate));
    else
      step_vector(parameter, states_[k], gradient, single(rate));
  }
}

void Soap::step_vector(const SoapParameter &parameter, State &state, const float *gradient,
                       float rate) {
  direction_.resize(count_of(parameter));
  kernels_.training.adam(adam_factors(settings_.decays, steps_), gradient, state.first.data(),
                         state.second.data(), direction_.data(),
                         static_cast<long>(direction_.size()));
  for (std::size_t k = 0; k < direction_.size(); ++k)
    parameter.weight[k] -= direction_[k] * rate;
}

void Soap::step_matrix(const SoapParameter &parameter, State &state, const float *gradient,
                       float rate) {
  const int steps = steps_ - 1; // the first gradient only gives the bases
  if (steps == 0) {
    take_statistics(parameter, state, gradient, 1.0f);
    return;
  }
  const int rows = parameter.rows, columns = parameter.columns;
  const std::size_t count = count_of(parameter);
  for (std::vector<float> *work : {&half_, &rotated_, &direction_})
    work->resize(count);
  const float *const left = state.base_left.data(), *const right = state.base_right.data();
  product_.multiply(plain(left, rows, rows), plain(gradient, rows, columns), half_.data());
  product_.multiply(plain(half_.data(), rows, columns), transposed(right, columns, columns),
                    rotated_.data());
  kernels_.training.adam(adam_factors(settings_.decays, steps), rotated_.data(), state.first.data(),
                         state.second.data(), direction_.data(), static_cast<long>(count));
  product_.multiply(transposed(left, rows, rows), plain(direction_.data(), rows, columns),
                    half_.data());
  product_.multiply(plain(half_.data(), rows, columns), plain(right, columns, columns),
                    rotated_.data());
  const float decay = single(static_cast<double>(rate) * settings_.weight_decay);
  for (std::size_t k = 0; k < count; ++k) {
    const float goal = parameter.goal == nullptr ? 0.0f : parameter.goal[k];
    parameter.weight[k] += (goal - parameter.weight[k]) * decay - rotated_[k] * rate;
  }
  if (steps % settings_.statistics == 0)
    take_statistics(parameter, state, gradient,
                    single(1.0 - std::pow(settings_.decays[1], settings_.statistics)));
  if (steps % settings_.refresh == 0)
    refresh(parameter, state);
}

void Soap::take_statistics(const SoapParameter &parameter, State &state, const float *gradient,
                           float share) {
  const MatrixView along = plain(gradient, parameter.rows, parameter.columns);
  const MatrixView across = transposed(gradient, parameter.rows, parameter.columns);
  rotated_.resize(state.left.size());
  product_.multiply(along, across, rotated_.data());
  move_toward(rotated_, share, state.left);
  rotated_.resize(state.right.size());
  product_.multiply(across, along, rotated_.data());
  move_toward(rotated_, share, state.right);
}

void Soap::refresh(const SoapParameter &parameter, State &state) {
  const int m = parameter.rows, n = parameter.columns;
  const std::size_t count = count_of(parameter);
  half_.resize(count);
  rotated_.resize(count);

  turn(state.left, state.base_left, m);
  product_.multiply(plain(turn_.data(), m, m), plain(state.first.data(), m, n), half_.data());
  for (int r = 0; r < m; ++r)
    std::copy_n(state.second.data() + order_[size(r)] * n, n, rotated_.data() + r * n);

  turn(state.right, state.base_right, n);
  product_.multiply(plain(half_.data(), m, n), transposed(turn_.data(), n, n), state.first.data());
  for (int r = 0; r < m; ++r)
    for (int c = 0; c < n; ++c)
      state.second[size(r * n + c)] = rotated_[size(r * n + order_[size(c)])];
}

void Soap::turn(const std::vector<float> &mean, std::vector<float> &base, int n) {
  std::vector<float> next(base.size()), values(size(n));
  product_.multiply(plain(base.data(), n, n), plain(mean.data(), n, n), next.data());
  for (int r = 0; r < n; ++r) {
    const float *const row = base.data() + r * n;
    const float value = std::inner_product(row, row + n, next.data() + r * n, 0.0f);
    values[size(r)] = std::isnan(value) ? std::numeric_limits<float>::lowest() : value;
  }
  order_.resize(size(n));
  std::iota(order_.begin(), order_.end(), 0L);
  std::stable_sort(order_.begin(), order_.end(),
                   [&](long a, long b) { return values[size(a)] > values[size(b)]; });
  std::vector<float> before(base.size());
  before.swap(base);
  for (int r = 0; r < n; ++r)
    std::copy_n(next.data() + order_[size(r)] * n, n, base.data() + r * n);
  orthogonalizer_.run(base.data(), n);
  turn_.resize(base.size());
  product_.multiply(plain(base.data(), n, n), transposed(before.data(), n, n), turn_.data());
}

} // namespace alrare::native
