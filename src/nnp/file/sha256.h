// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_FILE_SHA256_H
#define ALRARE_NNP_FILE_SHA256_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace alrare {

/// The SHA-256 of bytes that come in pieces (FIPS 180-4, sections 4.2.2, 5.3.3 and 6.2).
class Sha256 {
public:
  void add(const void *bytes, std::size_t size);

  /// The digest of all that was added, as 64 hexadecimal digits; nothing can be added afterwards.
  std::string hex();

private:
  void add_block(const unsigned char *block);

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> rest_{}; // not yet a whole block
  std::size_t n_rest_ = 0;
  std::uint64_t n_bytes_ = 0;
};

} // namespace alrare

#endif
