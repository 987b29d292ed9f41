// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_FILE_ANI_FILE_H
#define ALRARE_NNP_FILE_ANI_FILE_H

#include "nnp/file/aev_constants.h"
#include "nnp/file/metadata.h"

#include <string>
#include <vector>

namespace alrare {

/// The networks of one element: M members of the same widths.
struct ElementNetworks {
  std::vector<int> sizes;                  ///< (L + 1) widths from the descriptor's length to 1
  std::vector<std::vector<float>> weights; ///< of each layer (M, sizes[l + 1], sizes[l])
  std::vector<std::vector<float>> biases;  ///< of each layer (M, sizes[l + 1])

  [[nodiscard]] std::size_t n_layers() const { return weights.size(); }
};

/// What `ensemble.safetensors` of ANI networks holds (docs/model_format.md), as it stands there.
struct AniFile {
  Metadata metadata;
  AevConstants constants;
  std::vector<double> self_energies;     ///< by element, eV
  std::vector<ElementNetworks> networks; ///< by element
  bool gelu = true;                      ///< else CELU with `celu_alpha`
  double celu_alpha = 0.1;
};

/// Reads and checks a file.
///
/// \throws std::runtime_error with one sentence that names the file when it is damaged or is a
/// model of another kind.
AniFile read_ani_file(const std::string &path);

} // namespace alrare

#endif
