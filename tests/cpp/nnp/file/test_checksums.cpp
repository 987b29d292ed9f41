// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/file/sha256.h"
#include "nnp/file/zip_checksums.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <fstream>
#include <string>

using doctest::Contains;

namespace {

std::string sha256_of(const std::string &text) {
  alrare::Sha256 sum;
  sum.add(text.data(), text.size());
  return sum.hex();
}

std::string little_endian(std::uint64_t value, int size) {
  std::string out;
  for (int k = 0; k < size; ++k, value >>= 8U)
    out += static_cast<char>(value & 0xffU);
  return out;
}

std::string directory_entry(const std::string &name, std::uint32_t sum) {
  return little_endian(0x02014b50, 4) + std::string(12, '\0') + little_endian(sum, 4) +
         std::string(8, '\0') + little_endian(name.size(), 2) + little_endian(3, 2) +
         std::string(14, '\0') + name + "???";
}

/// The record at the end of an archive whose directory is `size` bytes from `begin`.
std::string end_of(std::uint64_t begin, std::uint64_t size) {
  return little_endian(0x06054b50, 4) + std::string(8, '\0') + little_endian(size, 4) +
         little_endian(begin, 4) + little_endian(0, 2);
}

std::map<std::string, std::uint32_t> checksums_of(const std::string &bytes) {
  const std::string path = "test_checksums.zip";
  std::ofstream(path, std::ios::binary) << bytes;
  const auto out = alrare::zip_checksums(path);
  std::remove(path.c_str());
  return out;
}

} // namespace

TEST_CASE("SHA-256 of the examples of FIPS 180") {
  CHECK(sha256_of("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256_of(std::string(1000000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-256 does not depend on the pieces") {
  const std::string text(1000, 'x');
  for (const std::size_t piece :
       {std::size_t(1), std::size_t(63), std::size_t(64), std::size_t(65)}) {
    alrare::Sha256 sum;
    for (std::size_t at = 0; at < text.size(); at += piece)
      sum.add(text.data() + at, std::min(piece, text.size() - at));
    CHECK(sum.hex() == sha256_of(text));
  }
}

TEST_CASE("CRC-32 of its check value") {
  CHECK(alrare::crc32("123456789", 9) == 0xcbf43926);
  CHECK(alrare::crc32("", 0) == 0);
}

TEST_CASE("the checksums of a zip archive are those of its directory") {
  const std::string content = "something", entries = directory_entry("a/one", 0x01020304) +
                                                     directory_entry("a/two", 0xfffefdfc);
  const std::map<std::string, std::uint32_t> expected = {{"a/one", 0x01020304},
                                                         {"a/two", 0xfffefdfc}};
  const std::string archive = content + entries + end_of(content.size(), entries.size());
  CHECK(checksums_of(archive) == expected);
  CHECK(checksums_of(archive + "a comment") == expected);

  const std::string wide = little_endian(0x06064b50, 4) + std::string(36, '\0') +
                           little_endian(entries.size(), 8) + little_endian(content.size(), 8);
  const std::string locator = little_endian(0x07064b50, 4) + std::string(4, '\0') +
                              little_endian(content.size() + entries.size(), 8) +
                              std::string(4, '\0');
  CHECK(checksums_of(content + entries + wide + locator + end_of(0xffffffff, 0xffffffff)) ==
        expected);
}

TEST_CASE("what is no whole zip archive is said") {
  const std::string entries = directory_entry("a/one", 1);
  const std::string archive = entries + end_of(0, entries.size());
  CHECK_THROWS_WITH(checksums_of(""), Contains("too short"));
  CHECK_THROWS_WITH(checksums_of(archive.substr(0, entries.size() + 10)), Contains("missing"));
  CHECK_THROWS_WITH(checksums_of(entries + end_of(5, entries.size())), Contains("damaged"));
  CHECK_THROWS_WITH(checksums_of(entries + end_of(0, entries.size() - 4)), Contains("within"));
  CHECK_THROWS_WITH(checksums_of(entries + end_of(1U << 30U, 5)), Contains("beyond its end"));
  CHECK_THROWS_WITH(checksums_of(entries + end_of(0xffffffff, 0xffffffff)), Contains("64-bit"));
  CHECK_THROWS_WITH(alrare::zip_checksums("nowhere.zip"), Contains("cannot be read"));
}
