// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_SIZE_H
#define ALRARE_NNP_NATIVE_SIZE_H

#include <cstddef>
#include <cstdint>

namespace alrare::native {

/// A count or an index, not negative, as the containers of the standard library take it.
constexpr std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

} // namespace alrare::native

#endif
