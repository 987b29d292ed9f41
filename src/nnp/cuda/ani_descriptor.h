// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_CUDA_ANI_DESCRIPTOR_H
#define ALRARE_NNP_CUDA_ANI_DESCRIPTOR_H

#include "nnp/cuda/ani_kernels.h"
#include "nnp/file/aev_constants.h"

#include <cstdint>
#include <memory>

namespace alrare::cuda {

/// Runs the kernels: on a CUDA device, or on the CPU, to test them where there is none.
class AniDescriptor {
public:
  virtual ~AniDescriptor() = default;

  /// The edges of a neighbor list.
  virtual void find(const AniList &list, const AniFound &out) = 0;

  /// Descriptors (n, F) of the centers, row by row as `order` says.
  virtual void forward(const AniEdges &edges, float *rows) = 0;

  /// The gradient (n_slots, 3) by the edges from that by the descriptors (n, F).
  virtual void backward(const AniEdges &edges, const float *rows, float *gradient) = 0;

  /// Adds the forces of a gradient (n_slots, 3).
  virtual void add_forces(const AniEdges &edges, const float *gradient, const AniForces &out) = 0;
};

/// \throws std::runtime_error when there are more terms than the kernels know.
AniConstants kernel_constants(const AevConstants &constants, int n_elements);

/// All pointers are of the device that is current.
///
/// \throws std::runtime_error when the kernels cannot be compiled or loaded there.
std::unique_ptr<AniDescriptor> open_cuda_descriptor(const AniConstants &constants, int features);

/// All pointers are of the CPU.
std::unique_ptr<AniDescriptor> open_emulated_descriptor(const AniConstants &constants,
                                                        int features);

} // namespace alrare::cuda

#endif
