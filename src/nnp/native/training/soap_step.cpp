// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/training/soap_step.h"

#include "nnp/native/kernels/instruction_set.h"
#include "nnp/native/size.h"

#include <algorithm>

namespace alrare::native {

namespace {

MatrixView plain(const float *data, int rows, int columns) {
  return {data, rows, columns, columns, 1};
}

/// The transpose of a matrix (rows, columns) in memory.
MatrixView transposed(const float *data, int rows, int columns) {
  return {data, columns, rows, 1, columns};
}

void move_toward(const std::vector<float> &goal, float share, float *mean) {
  for (std::size_t k = 0; k < goal.size(); ++k)
    mean[k] += (goal[k] - mean[k]) * share;
}

} // namespace

SoapStep::SoapStep(const std::string &instruction_set)
    : kernels_(find_kernels(instruction_set)), product_(instruction_set) {}

void SoapStep::take(const SoapMatrix &matrix, const float *gradient, const SoapRates &rates) {
  const int rows = matrix.rows, columns = matrix.columns;
  const std::size_t count = size(rows) * size(columns);
  for (std::vector<float> *work : {&half_, &rotated_, &direction_})
    work->resize(count);

  product_.multiply(transposed(matrix.base_left, rows, rows), plain(gradient, rows, columns),
                    half_.data());
  product_.multiply(plain(half_.data(), rows, columns), plain(matrix.base_right, columns, columns),
                    rotated_.data());
  kernels_.training.adam(rates.adam, rotated_.data(), matrix.first, matrix.second,
                         direction_.data(), static_cast<long>(count));
  product_.multiply(plain(matrix.base_left, rows, rows), plain(direction_.data(), rows, columns),
                    half_.data());
  product_.multiply(plain(half_.data(), rows, columns),
                    transposed(matrix.base_right, columns, columns), rotated_.data());
  for (std::size_t k = 0; k < count; ++k) {
    const float goal = matrix.goal == nullptr ? 0.0f : matrix.goal[k];
    matrix.weight[k] += (goal - matrix.weight[k]) * rates.decay - rotated_[k] * rates.rate;
  }
  if (rates.share == 0.0f)
    return;

  const MatrixView along = plain(gradient, rows, columns);
  const MatrixView across = transposed(gradient, rows, columns);
  rotated_.resize(size(rows) * size(rows));
  product_.multiply(along, across, rotated_.data());
  move_toward(rotated_, rates.share, matrix.left);
  rotated_.resize(size(columns) * size(columns));
  product_.multiply(across, along, rotated_.data());
  move_toward(rotated_, rates.share, matrix.right);
}

} // namespace alrare::native
