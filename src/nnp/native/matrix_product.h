// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_MATRIX_PRODUCT_H
#define ALRARE_NNP_NATIVE_MATRIX_PRODUCT_H

#include "kernels.h"

namespace alrare::native {

/// A matrix in memory: element (r, c) lies at data[r * row_step + c * column_step].
struct MatrixView {
  const float *data;
  int rows, columns;
  long row_step, column_step;
};

/// Lays matrix(row, column) out as the right factor of a product: see TrainingLayer.
/// `columns` is a multiple of 16.
template <class Matrix>
void pack_panels(const Kernels &kernels, int rows, int columns, float *out, const Matrix &matrix) {
  for (int column = 0, k = 0; column < columns; column += kernels.widths[k]) {
    while (kernels.widths[k] > columns - column)
      ++k;
    for (int row = 0; row < rows; ++row)
      for (int c = column; c < column + kernels.widths[k]; ++c)
        *out++ = matrix(row, c);
  }
}

/// out (rows of left, columns of right) = left times right, one thread.
///
/// Throws std::runtime_error if the inner sizes differ.
void multiply(const Kernels &kernels, const MatrixView &left, const MatrixView &right, float *out);

} // namespace alrare::native

#endif
