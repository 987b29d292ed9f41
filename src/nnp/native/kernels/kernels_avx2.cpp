// SPDX-License-Identifier: GPL-2.0-or-later
#if defined(__AVX2__) && defined(__FMA__)
#define ALRARE_LANES 8
#include "nnp/native/kernels/aev_kernels.h"
#include "nnp/native/kernels/jacobian_kernels.h"
#include "nnp/native/kernels/member_kernels.h"
#include "nnp/native/kernels/network_kernels.h"
#include "nnp/native/kernels/training_kernels.h"

namespace alrare::native {

const Kernels *kernels_avx2() {
  static constexpr int widths[] = {24, 16, 8};
  static constexpr Kernels kernels{
      "avx2",
      8,
      members_of<Float8>,
      3,
      widths,
      aev_forward<Float8>,
      run_network<Shape<Float8, 4, 3>, Shape<Float8, 4, 2>, Shape<Float8, 8, 1>>,
      aev_backward<Float8>,
      aev_backward_members<Float8>,
      member_gradients<Float8>,
      add_member_forces<Float8>,
      aev_jacobian<Float8>,
      training_kernels<Float8, Shape<Float8, 4, 3>, Shape<Float8, 4, 2>, Shape<Float8, 8, 1>>};
  return &kernels;
}

} // namespace alrare::native
#else
#include "nnp/native/kernels/kernels.h"

namespace alrare::native {
const Kernels *kernels_avx2() { return nullptr; }
} // namespace alrare::native
#endif
