// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/native/training/matrix_product.h"

#include "nnp/native/kernels/instruction_set.h"
#include "nnp/native/size.h"

#include <algorithm>
#include <cstddef>
#include <stdexcept>

namespace alrare::native {

namespace {

/// Columns first..first+count-1 of a row, completed with zeros to `width`.
void pack_row(const MatrixView &matrix, int row, int first, int width, float *out) {
  const int count = row < matrix.rows ? std::clamp(matrix.columns - first, 0, width) : 0;
  const float *const from = matrix.data + row * matrix.row_step + first * matrix.column_step;
  if (matrix.column_step == 1)
    std::copy_n(from, count, out);
  else
    for (int c = 0; c < count; ++c)
      out[c] = from[c * matrix.column_step];
  std::fill_n(out + count, width - count, 0.0f);
}

} // namespace

void pack_panels(const Kernels &kernels, const MatrixView &matrix, int rows, int columns,
                 float *out) {
  for (int column = 0, k = 0; column < columns; column += kernels.widths[k]) {
    while (kernels.widths[k] > columns - column)
      ++k;
    for (int row = 0; row < rows; ++row, out += kernels.widths[k])
      pack_row(matrix, row, column, kernels.widths[k], out);
  }
}

MatrixProduct::MatrixProduct(const std::string &instruction_set)
    : kernels_(find_kernels(instruction_set)) {}

void MatrixProduct::multiply(const MatrixView &left, const MatrixView &right, float *out) {
  if (left.columns != right.rows)
    throw std::runtime_error("a matrix of " + std::to_string(left.columns) +
                             " columns cannot be multiplied with one of " +
                             std::to_string(right.rows) + " rows");
  const int depth = left.columns, columns = round_up(right.columns, width_block);
  const bool padded = columns != right.columns;
  const int whole = left.rows / row_block * row_block, rest = left.rows - whole;
  float *packed, *edge, *product; // `product` takes what does not fit `out`
  const auto take = [&](Arena &arena) {
    packed = arena.take(size(columns) * size(depth));
    edge = arena.take(size(row_block) * size(depth));
    product = arena.take(size((padded ? whole : 0) + row_block) * size(columns));
    return arena.used();
  };
  Arena measure;
  memory_.reserve(take(measure));
  Arena arena(memory_.data());
  take(arena);
  const auto run = [&](const float *from, long row_step, long column_step, int rows, float *to) {
    kernels_.training.multiply(from, row_step, column_step, rows, depth, packed, columns, to);
  };
  const auto copy = [&](const float *from, long first, long rows) {
    for (long r = 0; r < rows; ++r)
      std::copy_n(from + r * columns, right.columns, out + (first + r) * right.columns);
  };

  pack_panels(kernels_, right, depth, columns, packed);
  run(left.data, left.row_step, left.column_step, whole, padded ? product : out);
  if (padded)
    copy(product, 0, whole);
  if (rest == 0)
    return;
  for (int r = 0; r < row_block; ++r) // the last rows, completed with zeros
    pack_row({left.data, left.rows, depth, left.row_step, left.column_step}, whole + r, 0, depth,
             edge + static_cast<long>(r) * depth);
  run(edge, depth, 1, row_block, product);
  copy(product, whole, rest);
}

} // namespace alrare::native
