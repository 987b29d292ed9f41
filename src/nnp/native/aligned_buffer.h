// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_NATIVE_ALIGNED_BUFFER_H
#define ALRARE_NNP_NATIVE_ALIGNED_BUFFER_H

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace alrare::native {

/// Floats on 64-byte boundaries, zero at first.
class AlignedBuffer {
public:
  /// At least `count` floats; what was there is lost when it grows.
  void reserve(std::size_t count) {
    if (count <= size_)
      return;
    const std::size_t bytes = (count * sizeof(float) + 63) / 64 * 64;
    data_.reset(); // the old memory first: it is not needed any more
    size_ = 0;
    data_.reset(static_cast<float *>(std::aligned_alloc(64, bytes)));
    if (!data_)
      throw std::bad_alloc();
    std::memset(data_.get(), 0, bytes);
    size_ = count;
  }

  float *data() const { return data_.get(); }
  std::size_t size() const { return size_; }

private:
  struct Free {
    void operator()(float *p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
  std::size_t size_ = 0;
};

/// Hands out pieces of a buffer one after the other, each on a 64-byte boundary.
///
/// Take the pieces twice with the same code: once to measure, once for the pointers.
class Arena {
public:
  explicit Arena(float *start = nullptr) : start_(start) {}

  float *take(std::size_t count) {
    float *const out = start_ == nullptr ? nullptr : start_ + used_;
    used_ += (count + 15) / 16 * 16;
    return out;
  }
  std::size_t used() const { return used_; }

private:
  float *start_;
  std::size_t used_ = 0;
};

} // namespace alrare::native

#endif
