// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/file/zip_checksums.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <stdexcept>
#include <vector>

namespace alrare {

namespace {

using Bytes = std::vector<unsigned char>;

constexpr std::size_t end_size = 22, max_comment = 65535; // of the end of central directory record
constexpr std::size_t locator_size = 20, wide_end_size = 56, entry_size = 46;
constexpr std::uint64_t in_wide_end = 0xFFFFFFFF; // the value is in the 64-bit record

[[noreturn]] void refuse(const std::string &why) {
  throw std::runtime_error("not a whole zip archive (" + why + ")");
}

std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t n = 0; n < table.size(); ++n) {
    std::uint32_t value = n;
    for (int bit = 0; bit < 8; ++bit)
      value = (value & 1U) != 0 ? 0xEDB88320U ^ value >> 1 : value >> 1;
    table[n] = value;
  }
  return table;
}

/// A little-endian number of `size` bytes.
std::uint64_t number(const Bytes &bytes, std::size_t at, std::size_t size) {
  if (at > bytes.size() || bytes.size() - at < size)
    refuse("it ends within a record");
  std::uint64_t value = 0;
  for (std::size_t k = size; k-- > 0;)
    value = value << 8 | bytes[at + k];
  return value;
}

Bytes read(std::ifstream &stream, std::uint64_t begin, std::uint64_t end, std::uint64_t file_size) {
  if (begin > end || end > file_size)
    refuse("a record lies beyond its end");
  Bytes out(static_cast<std::size_t>(end - begin));
  stream.seekg(static_cast<std::streamoff>(begin));
  if (!stream.read(reinterpret_cast<char *>(out.data()), static_cast<std::streamsize>(out.size())))
    refuse("it cannot be read");
  return out;
}

struct Extent {
  std::uint64_t begin, end;
};

/// Where the directory lies, by the record at the end of the file or the 64-bit one before it.
Extent find_directory(std::ifstream &stream, std::uint64_t file_size) {
  const std::uint64_t tail =
      std::min<std::uint64_t>(file_size, end_size + max_comment + locator_size);
  const Bytes last = read(stream, file_size - tail, file_size, file_size);
  if (last.size() < end_size)
    refuse("it is too short");
  std::size_t at = last.size() - end_size + 1;
  do {
    if (at == 0)
      refuse("its directory is missing");
    --at;
  } while (number(last, at, 4) != 0x06054b50);
  const std::uint64_t size = number(last, at + 12, 4), begin = number(last, at + 16, 4);
  if (size != in_wide_end && begin != in_wide_end)
    return {begin, begin + size};
  if (at < locator_size || number(last, at - locator_size, 4) != 0x07064b50)
    refuse("its 64-bit directory is missing");
  const std::uint64_t wide_at = number(last, at - locator_size + 8, 8);
  const Bytes wide = read(stream, wide_at, wide_at + wide_end_size, file_size);
  if (number(wide, 0, 4) != 0x06064b50)
    refuse("its 64-bit directory is missing");
  const std::uint64_t wide_begin = number(wide, 48, 8);
  return {wide_begin, wide_begin + number(wide, 40, 8)};
}

} // namespace

std::uint32_t crc32(const void *bytes, std::size_t size) {
  static const std::array<std::uint32_t, 256> table = make_table();
  const auto *const data = static_cast<const unsigned char *>(bytes);
  std::uint32_t value = 0xFFFFFFFF;
  for (std::size_t k = 0; k < size; ++k)
    value = table[(value ^ data[k]) & 0xFFU] ^ value >> 8;
  return value ^ 0xFFFFFFFF;
}

std::map<std::string, std::uint32_t> zip_checksums(const std::string &path) {
  std::ifstream stream(path, std::ios::binary | std::ios::ate);
  if (!stream)
    refuse("it cannot be read");
  const auto file_size = static_cast<std::uint64_t>(stream.tellg());
  const Extent where = find_directory(stream, file_size);
  const Bytes directory = read(stream, where.begin, where.end, file_size);
  std::map<std::string, std::uint32_t> out;
  for (std::size_t at = 0; at < directory.size();) {
    if (number(directory, at, 4) != 0x02014b50)
      refuse("its directory is damaged");
    const std::size_t name_size = number(directory, at + 28, 2);
    const std::size_t more = number(directory, at + 30, 2) + number(directory, at + 32, 2);
    if (directory.size() - at < entry_size + name_size)
      refuse("it ends within a record");
    const auto *const name = directory.data() + at + entry_size;
    out[std::string(name, name + name_size)] =
        static_cast<std::uint32_t>(number(directory, at + 16, 4));
    at += entry_size + name_size + more;
  }
  return out;
}

} // namespace alrare
