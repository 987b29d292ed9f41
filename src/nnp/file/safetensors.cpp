// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/file/safetensors.h"

#include "nnp/file/json.h"
#include "nnp/file/sha256.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace alrare {

namespace {

constexpr std::uint64_t max_header = 256 * 1024;
constexpr std::size_t max_rank = 8;

/// A whole number from 0 to 2^53, exact in a double.
std::uint64_t whole(const Json &json) {
  const double value = json.as_number();
  if (!(value >= 0.0 && value <= 9007199254740992.0) || value != std::floor(value))
    throw std::runtime_error("expected a whole number >= 0, got " + std::to_string(value));
  return static_cast<std::uint64_t>(value);
}

SafetensorsFile::Tensor read_entry(const Json &json) {
  const std::string &dtype = json.at("dtype").as_string();
  if (dtype != "F32")
    throw std::runtime_error("expected dtype F32, got " + dtype);
  SafetensorsFile::Tensor out;
  const auto &shape = json.at("shape").as_array();
  if (shape.size() > max_rank)
    throw std::runtime_error("more than 8 dimensions");
  std::uint64_t bytes = 4;
  for (const Json &length : shape) {
    const std::uint64_t n = whole(length);
    if (n != 0 && bytes > (std::uint64_t(1) << 53) / n)
      throw std::runtime_error("its shape is too large");
    bytes *= n;
    out.shape.push_back(static_cast<std::int64_t>(n));
  }
  const auto &offsets = json.at("data_offsets").as_array();
  if (offsets.size() != 2)
    throw std::runtime_error("data_offsets must be two numbers");
  out.begin = whole(offsets[0]);
  out.end = whole(offsets[1]);
  if (out.end < out.begin || out.end - out.begin != bytes)
    throw std::runtime_error("data_offsets do not fit its shape");
  return out;
}

std::string text_of(const std::vector<std::int64_t> &shape) {
  std::string out = "(";
  for (const std::int64_t n : shape)
    out += (out.size() > 1 ? ", " : "") + std::to_string(n);
  return out + ")";
}

} // namespace

SafetensorsFile::SafetensorsFile(const std::string &path) : path_(path) {
  stream_.open(path, std::ios::binary);
  if (!stream_)
    refuse("does not exist or cannot be read");
  read_header();
}

void SafetensorsFile::refuse(const std::string &why) const {
  throw std::runtime_error("model file '" + path_ + "': " + why);
}

void SafetensorsFile::read_header() {
  stream_.seekg(0, std::ios::end);
  const auto size = static_cast<std::int64_t>(stream_.tellg());
  stream_.seekg(0);
  unsigned char raw[8];
  if (size < 8 || !stream_.read(reinterpret_cast<char *>(raw), 8))
    refuse("too short for a safetensors file");
  std::uint64_t length = 0;
  for (int k = 7; k >= 0; --k)
    length = length << 8 | raw[k];
  const auto rest = static_cast<std::uint64_t>(size) - 8;
  if (length > max_header || length > rest)
    refuse("not a safetensors file, or a damaged one (a header of " + std::to_string(length) +
           " bytes)");
  std::string header(static_cast<std::size_t>(length), '\0');
  if (!stream_.read(&header[0], static_cast<std::streamsize>(length)))
    refuse("its header cannot be read");
  data_start_ = 8 + length;
  std::string name;
  try {
    const Json json = Json::parse(header);
    for (const auto &entry : json.as_object()) {
      name = entry.first;
      if (name == "__metadata__")
        for (const auto &item : entry.second.as_object())
          metadata_[item.first] = item.second.as_string();
      else
        tensors_[name] = read_entry(entry.second);
    }
  } catch (const std::runtime_error &error) {
    refuse(name.empty() ? "damaged header: " + std::string(error.what())
                        : "damaged header, entry '" + name + "': " + error.what());
  }
  check_layout(rest - length);
}

void SafetensorsFile::check_layout(std::uint64_t data_size) const {
  std::vector<const Tensor *> order;
  order.reserve(tensors_.size());
  for (const auto &entry : tensors_)
    order.push_back(&entry.second);
  std::sort(order.begin(), order.end(), [](const Tensor *a, const Tensor *b) {
    return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
  });
  std::uint64_t at = 0;
  for (const Tensor *tensor : order) {
    if (tensor->begin != at)
      refuse("damaged header: its tensors overlap or leave a hole");
    at = tensor->end;
  }
  if (at != data_size)
    refuse("truncated or damaged: its tensors take " + std::to_string(at) +
           " bytes, the file has " + std::to_string(data_size));
}

std::vector<float> SafetensorsFile::read(const std::string &name,
                                         const std::vector<std::int64_t> &shape) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    refuse("tensor '" + name + "' is missing");
  const Tensor &tensor = found->second;
  if (tensor.shape != shape)
    refuse("tensor '" + name + "': expected shape " + text_of(shape) + ", got " +
           text_of(tensor.shape));
  std::vector<float> out(static_cast<std::size_t>((tensor.end - tensor.begin) / 4));
  stream_.clear();
  stream_.seekg(static_cast<std::streamoff>(data_start_ + tensor.begin));
  if (!stream_.read(reinterpret_cast<char *>(out.data()),
                    static_cast<std::streamsize>(out.size() * 4)))
    refuse("tensor '" + name + "' cannot be read");
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  for (float &value : out) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    bits = __builtin_bswap32(bits);
    std::memcpy(&value, &bits, 4);
  }
#endif
  for (const float value : out)
    if (!std::isfinite(value))
      refuse("tensor '" + name + "' holds a value that is not finite");
  return out;
}

std::string SafetensorsFile::sha256_after(const std::string &text) {
  Sha256 sum;
  sum.add(text.data(), text.size());
  stream_.clear();
  stream_.seekg(static_cast<std::streamoff>(data_start_));
  std::vector<char> block(std::size_t(1) << 16);
  do {
    stream_.read(block.data(), static_cast<std::streamsize>(block.size()));
    sum.add(block.data(), static_cast<std::size_t>(stream_.gcount()));
  } while (stream_);
  return sum.hex();
}

} // namespace alrare
