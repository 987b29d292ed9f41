// SPDX-License-Identifier: GPL-2.0-or-later
#define ALRARE_LANES 4
#include "nnp/native/kernels/aev_kernels.h"
#include "nnp/native/kernels/jacobian_kernels.h"
#include "nnp/native/kernels/member_kernels.h"
#include "nnp/native/kernels/network_kernels.h"
#include "nnp/native/kernels/training_kernels.h"

namespace alrare::native {

const Kernels *kernels_portable() {
  static constexpr int widths[] = {8, 4};
  static constexpr Kernels kernels{
      "portable",
      4,
      members_of<Float4>,
      2,
      widths,
      aev_forward<Float4>,
      run_network<Shape<Float4, 4, 2>, Shape<Float4, 8, 1>>,
      aev_backward<Float4>,
      aev_backward_members<Float4>,
      member_gradients<Float4>,
      add_member_forces<Float4>,
      aev_jacobian<Float4>,
      training_kernels<Float4, Shape<Float4, 4, 2>, Shape<Float4, 8, 1>>};
  return &kernels;
}

} // namespace alrare::native
