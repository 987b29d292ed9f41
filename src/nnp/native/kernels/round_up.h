// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_KERNELS_ROUND_UP_H
#define ALRARE_NNP_NATIVE_KERNELS_ROUND_UP_H

namespace alrare::native {

/// The smallest multiple of `to` that is not below `n`. Internal linkage, as kernels.h wants it.
static constexpr int round_up(int n, int to) { return (n + to - 1) / to * to; }

} // namespace alrare::native

#endif
