// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_TRAINING_ORTHOGONALIZE_H
#define ALRARE_NNP_NATIVE_TRAINING_ORTHOGONALIZE_H

#include "nnp/native/aligned_buffer.h"
#include "nnp/native/kernels/kernels.h"

#include <string>
#include <vector>

namespace alrare::native {

/// Orthonormal vectors from n vectors of n components, by Householder's reflections (Golub and Van
/// Loan, Matrix Computations, section 5.2): the transposed Q of a QR decomposition. Any vectors
/// will do, zero and dependent ones too. Keeps its memory between calls.
class Orthogonalizer {
public:
  explicit Orthogonalizer(const std::string &instruction_set = "auto");

  /// Replaces the rows of an (n, n) matrix: row k becomes a unit vector, at right angles to the
  /// others, in the span of the first k + 1 rows.
  void run(float *rows, int n);

private:
  /// Makes reflection k, which takes row k of `rows` to a multiple of unit vector k.
  void make_reflection(const float *row, int k);

  const Kernels &kernels_;
  AlignedBuffer memory_;
  std::vector<float> factors_;
  float *vectors_ = nullptr; ///< (n, stride_): row k is zero before its component k, which is one
  float *work_ = nullptr;    ///< (n, stride_)
  int n_ = 0;
  long stride_ = 0;
};

} // namespace alrare::native

#endif
