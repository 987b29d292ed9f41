// SPDX-License-Identifier: GPL-2.0-or-later
#include "matrix_product.h"

#include "aligned_buffer.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace alrare::native {

void multiply(const Kernels &kernels, const MatrixView &left, const MatrixView &right, float *out) {
  if (left.columns != right.rows)
    throw std::runtime_error("a matrix of " + std::to_string(left.columns) +
                             " columns cannot be multiplied with one of " +
                             std::to_string(right.rows) + " rows");
  const int depth = left.columns, columns = round_up_to(right.columns, width_block);
  const int whole = left.rows / row_block * row_block, rest = left.rows - whole;
  AlignedBuffer memory;
  const auto size = [](long n) { return static_cast<std::size_t>(n); };
  const auto take = [&](Arena &arena, float *&packed, float *&edge, float *&product) {
    packed = arena.take(size(columns) * size(depth));
    edge = arena.take(size(row_block) * size(depth));
    product = arena.take(size(whole + row_block) * size(columns));
    return arena.used();
  };
  float *packed, *edge, *product;
  Arena measure;
  memory.reserve(take(measure, packed, edge, product));
  Arena arena(memory.data());
  take(arena, packed, edge, product);

  pack_panels(kernels, depth, columns, packed, [&](int r, int c) {
    return c < right.columns ? right.data[r * right.row_step + c * right.column_step] : 0.0f;
  });
  kernels.training.multiply(left.data, left.row_step, left.column_step, whole, depth, packed,
                            columns, product);
  if (rest > 0) { // the last rows, completed with zeros
    for (int r = 0; r < rest; ++r)
      for (int k = 0; k < depth; ++k)
        edge[r * static_cast<long>(depth) + k] =
            left.data[(whole + r) * left.row_step + k * left.column_step];
    kernels.training.multiply(edge, depth, 1, row_block, depth, packed, columns,
                              product + static_cast<long>(whole) * columns);
  }
  for (long r = 0; r < left.rows; ++r)
    std::copy_n(product + r * columns, right.columns, out + r * right.columns);
}

} // namespace alrare::native
