// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/training/orthogonalize.h"

#include "nnp/native/kernels/instruction_set.h"
#include "nnp/native/size.h"

#include <algorithm>
#include <cmath>

namespace alrare::native {

Orthogonalizer::Orthogonalizer(const std::string &instruction_set)
    : kernels_(find_kernels(instruction_set)) {}

void Orthogonalizer::make_reflection(const float *row, int k) {
  double squares = 0.0; // in double: those of small floats are not zero
  for (int c = k; c < n_; ++c)
    squares += static_cast<double>(row[c]) * static_cast<double>(row[c]);
  const double length = std::sqrt(squares);
  float *const vector = vectors_ + k * stride_;
  std::fill_n(vector, k, 0.0f);
  vector[k] = 1.0f;
  const double first = static_cast<double>(row[k]);
  const double target = first < 0.0 ? length : -length; // the sign that does not cancel
  const double scale = length > 0.0 ? 1.0 / (first - target) : 0.0;
  for (int c = k + 1; c < n_; ++c)
    vector[c] = static_cast<float>(static_cast<double>(row[c]) * scale);
  std::fill_n(vector + n_, stride_ - n_, 0.0f);
  factors_[size(k)] = length > 0.0 ? static_cast<float>((target - first) / target) : 0.0f;
}

void Orthogonalizer::run(float *rows, int n) {
  n_ = n;
  stride_ = round_up(n, width_block);
  const std::size_t count = size(n) * static_cast<std::size_t>(stride_);
  memory_.reserve(2 * count);
  vectors_ = memory_.data();
  work_ = vectors_ + count;
  factors_.resize(size(n));
  std::fill_n(work_, count, 0.0f);
  for (int r = 0; r < n; ++r)
    std::copy_n(rows + static_cast<long>(r) * n, n, work_ + r * stride_);

  const auto reflect = [&](int k, int first_row) {
    const int from = k / width_block * width_block; // the vector is zero before
    kernels_.training.reflect(vectors_ + k * stride_ + from, factors_[size(k)],
                              work_ + first_row * stride_ + from, n - first_row, stride_,
                              static_cast<int>(stride_) - from);
  };
  for (int k = 0; k < n; ++k) {
    make_reflection(work_ + k * stride_, k);
    reflect(k, k + 1);
  }
  std::fill_n(work_, count, 0.0f);
  for (int k = n - 1; k >= 0; --k) {
    work_[k * stride_ + k] = 1.0f;
    reflect(k, k);
  }
  for (int r = 0; r < n; ++r)
    std::copy_n(work_ + r * stride_, n, rows + static_cast<long>(r) * n);
}

} // namespace alrare::native
