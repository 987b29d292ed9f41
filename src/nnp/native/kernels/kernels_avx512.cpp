// SPDX-License-Identifier: GPL-2.0-or-later
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define ALRARE_LANES 16
#include "nnp/native/kernels/aev_kernels.h"
#include "nnp/native/kernels/jacobian_kernels.h"
#include "nnp/native/kernels/member_kernels.h"
#include "nnp/native/kernels/network_kernels.h"
#include "nnp/native/kernels/training_kernels.h"

namespace alrare::native {

const Kernels *kernels_avx512() {
  static constexpr int widths[] = {48, 32, 16, 8};
  static constexpr Kernels kernels{
      "avx512",
      16,
      members_of<Float16>,
      4,
      widths,
      aev_forward<Float16>,
      run_network<Shape<Float16, 8, 3>, Shape<Float16, 8, 2>, Shape<Float16, 8, 1>,
                  Shape<Float8, 8, 1>>,
      aev_backward<Float16>,
      aev_backward_members<Float16>,
      member_gradients<Float16>,
      add_member_forces<Float16>,
      aev_jacobian<Float16>,
      training_kernels<Float16, Shape<Float16, 8, 3>, Shape<Float16, 8, 2>, Shape<Float16, 8, 1>,
                       Shape<Float8, 8, 1>>};
  return &kernels;
}

} // namespace alrare::native
#else
#include "nnp/native/kernels/kernels.h"

namespace alrare::native {
const Kernels *kernels_avx512() { return nullptr; }
} // namespace alrare::native
#endif
