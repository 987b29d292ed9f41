// SPDX-License-Identifier: GPL-2.0-or-later
// Any bytes as a safetensors file and as a model: tensors that fill it, or one std::runtime_error.
#include "nnp/file/safetensors.h"
#include "nnp/native/model.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

namespace {

/// A file in memory: its descriptor and its path.
struct MemoryFile {
  int descriptor = memfd_create("fuzz", 0);
  std::string path = "/proc/self/fd/" + std::to_string(descriptor);
};

/// The path of a file that holds these bytes.
const std::string &file_of(const std::uint8_t *data, std::size_t size) {
  static const MemoryFile file;
  if (ftruncate(file.descriptor, 0) != 0 ||
      pwrite(file.descriptor, data, size, 0) != static_cast<ssize_t>(size))
    std::abort();
  return file.path;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const std::string &path = file_of(data, size);
  try {
    alrare::SafetensorsFile file(path);
    for (const auto &[name, tensor] : file.tensors())
      file.read(name, tensor.shape);
    const alrare::native::Model model(path);
  } catch (const std::runtime_error &) {
  }
  return 0;
}
