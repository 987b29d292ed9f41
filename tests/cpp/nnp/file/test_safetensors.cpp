// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/file/safetensors.h"
#include "nnp/native/model.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>

#include <unistd.h>

using doctest::Contains;

namespace {

using alrare::SafetensorsFile;
using alrare::native::Model;

std::string data(const std::string &name) { return std::string(ALRARE_TEST_DATA "/") + name; }

/// A file with these bytes that goes away with the object.
class Scratch {
public:
  explicit Scratch(const std::string &bytes) {
    char name[] = "/tmp/alrare_test_XXXXXX";
    const int descriptor = mkstemp(name);
    if (descriptor < 0)
      throw std::runtime_error("no scratch file");
    close(descriptor);
    path_ = name;
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~Scratch() { unlink(path_.c_str()); }
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;
  const std::string &path() const { return path_; }

private:
  std::string path_;
};

std::string little_endian(std::uint64_t value) {
  std::string out;
  for (int k = 0; k < 8; ++k, value >>= 8)
    out += static_cast<char>(value & 0xff);
  return out;
}

std::string file_of(const std::string &header, const std::string &values) {
  return little_endian(header.size()) + header + values;
}

std::string bytes_of(const std::vector<float> &values) {
  std::string out(values.size() * 4, '\0');
  std::memcpy(&out[0], values.data(), out.size());
  return out;
}

const std::string two_tensors =
    R"({"__metadata__":{"alrare":"{}"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
    R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})";

std::string replaced(std::string text, const std::string &what, const std::string &by) {
  const auto at = text.find(what);
  if (at == std::string::npos)
    throw std::runtime_error("the test replaces what is not there: " + what);
  return text.replace(at, what.size(), by);
}

#define CHECK_REFUSED(bytes, words)                                                                \
  CHECK_THROWS_WITH(SafetensorsFile(Scratch(bytes).path()), Contains(words))

std::string read_file(const std::string &path) {
  std::ifstream stream(path, std::ios::binary);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// Opening must end: with a model, or with one sentence.
bool opens(const std::string &bytes) {
  const Scratch scratch(bytes);
  try {
    const Model model(scratch.path());
    return true;
  } catch (const std::runtime_error &error) {
    const std::string text = error.what();
    CHECK(text.rfind("model file '", 0) == 0);
    CHECK(text.find('\n') == std::string::npos);
    return false;
  }
}

} // namespace

TEST_CASE("tensors and metadata are read back") {
  const Scratch scratch(file_of(two_tensors, bytes_of({1.5f, -2.0f, 0.25f})));
  SafetensorsFile file(scratch.path());
  CHECK(file.metadata().at("alrare") == "{}");
  CHECK(file.tensors().size() == 2);
  CHECK(file.read("a", {2, 1}) == std::vector<float>{1.5f, -2.0f});
  CHECK(file.read("b", {1}) == std::vector<float>{0.25f});
  CHECK_THROWS_WITH(file.read("a", {1, 2}), Contains("expected shape (1, 2), got (2, 1)"));
  CHECK_THROWS_WITH(file.read("c", {1}), Contains("tensor 'c' is missing"));
}

TEST_CASE("damaged headers are refused") {
  const std::string values = bytes_of({1, 2, 3});
  CHECK_THROWS_WITH(SafetensorsFile("/nowhere/m.safetensors"), Contains("does not exist"));
  CHECK_REFUSED("", "too short");
  CHECK_REFUSED("1234567", "too short");
  CHECK_REFUSED(little_endian(~std::uint64_t(0)) + two_tensors, "not a safetensors file");
  CHECK_REFUSED(little_endian(std::uint64_t(1) << 40) + two_tensors, "not a safetensors file");
  CHECK_REFUSED(little_endian(two_tensors.size() + 13) + two_tensors + values, "not a safetensors");
  CHECK_REFUSED(file_of("[]", ""), "damaged header");
  CHECK_REFUSED(file_of("{", ""), "damaged header");
  CHECK_REFUSED(file_of(two_tensors, values.substr(1)), "truncated or damaged");
  CHECK_REFUSED(file_of(two_tensors, values + "x"), "truncated or damaged");
  const auto with = [&](const std::string &what, const std::string &by) {
    return file_of(replaced(two_tensors, what, by), values);
  };
  CHECK_REFUSED(with("F32", "F64"), "expected dtype F32, got F64");
  CHECK_REFUSED(with("[2,1]", "[2,2]"), "do not fit its shape");
  CHECK_REFUSED(with("[2,1]", "[-2,-1]"), "whole number >= 0");
  CHECK_REFUSED(with("[2,1]", "[0.5,4]"), "whole number >= 0");
  CHECK_REFUSED(with("[2,1]", "[4294967296,4294967296]"), "too large");
  CHECK_REFUSED(with("[2,1]", "[1,1,1,1,1,1,1,1,2]"), "more than 8 dimensions");
  CHECK_REFUSED(with("[8,12]", "[4,8]"), "overlap or leave a hole");
  CHECK_REFUSED(with("[8,12]", "[9,13]"), "overlap or leave a hole");
  CHECK_REFUSED(with("[8,12]", "[12,8]"), "do not fit its shape");
  CHECK_REFUSED(with("[8,12]", "[8]"), "two numbers");
  CHECK_REFUSED(with("\"b\"", "\"a\""), "comes twice");
  CHECK_REFUSED(with("\"{}\"", "7"), "expected a string");
  CHECK_REFUSED(file_of(std::string(200000, '['), ""), "nested too deeply");
  CHECK_REFUSED(file_of(std::string(300000, ' ') + "{}", ""), "a header of 300002 bytes");
}

TEST_CASE("values that are not finite are refused") {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    const Scratch scratch(file_of(two_tensors, bytes_of({1.0f, bad, 0.0f})));
    SafetensorsFile file(scratch.path());
    CHECK_THROWS_WITH(file.read("a", {2, 1}), Contains("not finite"));
  }
}

TEST_CASE("a model must be what its metadata says") {
  const std::string good = read_file(data("native_gelu.safetensors"));
  CHECK(opens(good));
  std::uint64_t length = 0;
  std::memcpy(&length, good.data(), 8);
  const std::string header = good.substr(8, length), values = good.substr(8 + length);
  const auto refused = [&](const std::string &what, const std::string &by) {
    return !opens(file_of(replaced(header, what, by), values));
  };
  CHECK(refused("\\\"members\\\": 2", "\\\"members\\\": 3"));
  CHECK(refused("\\\"members\\\": 2", "\\\"members\\\": 2000000000"));
  CHECK(refused("\\\"zeta\\\": 14.1", "\\\"zeta\\\": 0.5"));
  CHECK(refused("\\\"zeta\\\": 14.1", "\\\"zeta\\\": \\\"x\\\""));
  CHECK(refused("\\\"activation\\\": \\\"gelu\\\"", "\\\"activation\\\": \\\"relu\\\""));
  CHECK(refused("\\\"radial_eta\\\": 19.7", "\\\"radial_eta\\\": -19.7"));
  CHECK(refused("\\\"radial_eta\\\"", "\\\"radial_etb\\\""));
  CHECK(refused("\\\"cutoff\\\": 5.1", "\\\"cutoff\\\": 6.1"));
  CHECK(refused("[16, 12]", "[16, 13]"));
  CHECK(refused("[16, 12]", "[16, 2000000000]"));
  CHECK(refused("[16, 12]", "[16, -12]"));
  CHECK(refused("[16, 12]", "16"));
  CHECK(refused("\\\"alrare-ensemble\\\"", "\\\"other\\\""));
  CHECK(refused("\"alrare\":", "\"alfare\":"));
  CHECK(refused("C.0.bias", "N.0.bias"));
  const std::string gelu = "\\\"activation\\\": \\\"gelu\\\"";
  CHECK(refused(gelu, gelu + ", \\\"family\\\": \\\"schnet\\\""));
}

TEST_CASE("a file cut anywhere is refused") {
  const std::string good = read_file(data("native_odd.safetensors"));
  for (std::size_t n = 0; n < good.size(); n += n < 4000 ? 7 : 61)
    CHECK(!opens(good.substr(0, n)));
}

TEST_CASE("flipped bits and foreign bytes end in a model or in a sentence") {
  const std::string good = read_file(data("native_odd.safetensors"));
  std::uint64_t length = 0;
  std::memcpy(&length, good.data(), 8);
  std::mt19937_64 random(11);
  int opened = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string bad = good;
    const std::uint64_t reach = round % 3 == 0 ? good.size() : 8 + length; // mostly the header
    for (std::uint64_t k = 0; k <= random() % 3; ++k) {
      char &byte = bad[random() % reach];
      byte = round % 2 == 0 ? static_cast<char>(byte ^ (1 << random() % 8))
                            : "0123456789[]{}\",:-eE.\\ "[random() % 23];
    }
    opened += opens(bad) ? 1 : 0;
  }
  CHECK(opened > 0);
}
