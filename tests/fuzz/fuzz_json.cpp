// SPDX-License-Identifier: GPL-2.0-or-later
// Any bytes as JSON and as a model's metadata: a value, or one std::runtime_error.
#include "nnp/file/json.h"
#include "nnp/file/metadata.h"

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const std::string text(reinterpret_cast<const char *>(data), size);
  try {
    alrare::Json::parse(text);
    alrare::parse_metadata(text);
  } catch (const std::runtime_error &) {
  }
  return 0;
}
