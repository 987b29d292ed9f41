// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/file/sha256.h"

#include <algorithm>

namespace alrare {

namespace {

/// Section 4.2.2: the first 32 bits of the fractional parts of the cube roots of the first 64
/// primes.
constexpr std::array<std::uint32_t, 64> constants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

std::uint32_t rotated(std::uint32_t x, int n) { return x >> n | x << (32 - n); }

} // namespace

void Sha256::add(const void *bytes, std::size_t size) {
  const auto *next = static_cast<const unsigned char *>(bytes);
  n_bytes_ += size;
  while (size > 0) {
    if (n_rest_ == 0 && size >= rest_.size()) {
      add_block(next);
      next += rest_.size();
      size -= rest_.size();
      continue;
    }
    const std::size_t taken = std::min(size, rest_.size() - n_rest_);
    std::copy_n(next, taken, rest_.begin() + static_cast<std::ptrdiff_t>(n_rest_));
    n_rest_ += taken;
    next += taken;
    size -= taken;
    if (n_rest_ == rest_.size()) {
      add_block(rest_.data());
      n_rest_ = 0;
    }
  }
}

void Sha256::add_block(const unsigned char *block) {
  std::array<std::uint32_t, 64> w{};
  for (std::size_t t = 0; t < 16; ++t)
    w[t] = std::uint32_t(block[4 * t]) << 24 | std::uint32_t(block[4 * t + 1]) << 16 |
           std::uint32_t(block[4 * t + 2]) << 8 | std::uint32_t(block[4 * t + 3]);
  for (std::size_t t = 16; t < 64; ++t) {
    const std::uint32_t a = w[t - 15], b = w[t - 2];
    w[t] = w[t - 16] + w[t - 7] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) +
           (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
  }
  auto [a, b, c, d, e, f, g, h] = state_;
  for (std::size_t t = 0; t < 64; ++t) {
    const std::uint32_t first = h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) +
                                ((e & f) ^ (~e & g)) + constants[t] + w[t];
    const std::uint32_t second =
        (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + first;
    d = c;
    c = b;
    b = a;
    a = first + second;
  }
  const std::array<std::uint32_t, 8> sums = {a, b, c, d, e, f, g, h};
  for (std::size_t k = 0; k < sums.size(); ++k)
    state_[k] += sums[k];
}

std::string Sha256::hex() {
  const std::uint64_t n_bits = 8 * n_bytes_;
  const unsigned char one = 0x80, zero = 0;
  add(&one, 1);
  while (n_rest_ != rest_.size() - 8)
    add(&zero, 1);
  std::array<unsigned char, 8> length{};
  for (std::size_t k = 0; k < length.size(); ++k)
    length[k] = static_cast<unsigned char>(n_bits >> (56 - 8 * k));
  add(length.data(), length.size());
  std::string out;
  for (const std::uint32_t word : state_)
    for (int shift = 28; shift >= 0; shift -= 4)
      out += "0123456789abcdef"[word >> shift & 15U];
  return out;
}

} // namespace alrare
