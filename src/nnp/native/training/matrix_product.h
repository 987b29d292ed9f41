// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_TRAINING_MATRIX_PRODUCT_H
#define ALRARE_NNP_NATIVE_TRAINING_MATRIX_PRODUCT_H

#include "nnp/native/aligned_buffer.h"
#include "nnp/native/kernels/kernels.h"

#include <string>

namespace alrare::native {

/// A matrix in memory: element (r, c) lies at data[r * row_step + c * column_step].
struct MatrixView {
  const float *data;
  int rows, columns;
  long row_step, column_step;
};

/// Lays a matrix out as the right factor of a product, see TrainingLayer, completed with zeros to
/// `rows` and to `columns`, a multiple of 16.
void pack_panels(const Kernels &kernels, const MatrixView &matrix, int rows, int columns,
                 float *out);

/// Products of matrices on one thread; keeps its memory between calls.
class MatrixProduct {
public:
  explicit MatrixProduct(const std::string &instruction_set = "auto");

  /// out (rows of left, columns of right) = left times right.
  ///
  /// \throws std::runtime_error if the inner sizes differ.
  void multiply(const MatrixView &left, const MatrixView &right, float *out);

private:
  const Kernels &kernels_;
  AlignedBuffer memory_;
};

} // namespace alrare::native

#endif
