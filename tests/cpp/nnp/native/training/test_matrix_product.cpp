// SPDX-License-Identifier: GPL-2.0-or-later
#include "../instruction_sets.h"
#include "nnp/native/training/matrix_product.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

using alrare::native::MatrixProduct;
using doctest::Contains;

TEST_CASE("the product of two matrices of any size, transposed or not") {
  std::mt19937 engine(7);
  const auto draw = [&](std::size_t n) {
    std::normal_distribution<float> normal(0.0f, 0.3f);
    std::vector<float> out(n);
    std::generate(out.begin(), out.end(), [&] { return normal(engine); });
    return out;
  };
  for (const std::string &name : instruction_sets()) {
    MatrixProduct product(name);
    const int k = 37;
    for (const int m : {21, 16, 3})
      for (const int n : {50, 64}) {
        const std::vector<float> a = draw(static_cast<std::size_t>(m * k));
        const std::vector<float> b = draw(static_cast<std::size_t>(k * n));
        std::vector<float> out(static_cast<std::size_t>(m * n));
        product.multiply({a.data(), m, k, 1, m}, {b.data(), k, n, 1, k}, out.data());
        for (int r = 0; r < m; ++r)
          for (int c = 0; c < n; ++c) {
            double sum = 0.0;
            for (int i = 0; i < k; ++i)
              sum += static_cast<double>(a[static_cast<std::size_t>(r + i * m)]) *
                     static_cast<double>(b[static_cast<std::size_t>(i + c * k)]);
            CHECK(std::fabs(sum - static_cast<double>(out[static_cast<std::size_t>(r * n + c)])) <
                  1e-5);
          }
      }
    float nothing = 0.0f;
    CHECK_THROWS_WITH(product.multiply({&nothing, 1, 37, 37, 1}, {&nothing, 50, 1, 1, 1}, &nothing),
                      Contains("a matrix of 37 columns cannot be multiplied with one of 50 rows"));
  }
}
