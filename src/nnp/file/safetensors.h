// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_FILE_SAFETENSORS_H
#define ALRARE_NNP_FILE_SAFETENSORS_H

#include <cstdint>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace alrare {

/// A safetensors file: 8 bytes header length (little-endian), a JSON header, the tensors' bytes.
///
/// Strict and bounded, since a model file may come from anywhere: the header is at most 256 KiB,
/// the tensors are float32, lie back to back without overlap or hole, and fill the file to its end.
/// Nothing larger than the file is ever allocated. Format:
/// https://github.com/huggingface/safetensors
class SafetensorsFile {
public:
  struct Tensor {
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0; ///< bytes from the end of the header
    std::uint64_t end = 0;
  };

  /// Opens the file and checks its header.

  /// \throws std::runtime_error with one sentence that starts
  /// with the path.
  explicit SafetensorsFile(const std::string &path);

  const std::string &path() const { return path_; }
  /// The strings under "__metadata__".
  const std::map<std::string, std::string> &metadata() const { return metadata_; }
  const std::map<std::string, Tensor> &tensors() const { return tensors_; }

  /// The values of a tensor that must have this shape, in row-major order.
  ///
  /// \throws std::runtime_error when it is missing, has another shape, cannot be read, or holds a
  /// value that is not finite.
  std::vector<float> read(const std::string &name, const std::vector<std::int64_t> &shape);

  /// The SHA-256, in hexadecimal, of a text followed by the bytes of all tensors.
  std::string sha256_after(const std::string &text);

private:
  [[noreturn]] void refuse(const std::string &why) const;
  void read_header();
  void check_layout(std::uint64_t data_size) const;

  std::string path_;
  std::ifstream stream_;
  std::uint64_t data_start_ = 0;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, Tensor> tensors_;
};

} // namespace alrare

#endif
