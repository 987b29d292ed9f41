// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/torch_device.h"

#include "nnp/device.h"
#include "nnp/torch_version.h"

#include <ATen/Version.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include <stdexcept>
#include <string>

namespace alrare {

c10::Device torch_device(const OpenOptions &options) {
  if (options.device == "cpu" || options.device == "emulated") // do not wake CUDA
    return c10::Device(c10::kCPU);
  const int n_devices =
      torch::cuda::is_available() ? static_cast<int>(torch::cuda::device_count()) : 0;
  const int index = choose_device(options.device, options.node_rank, n_devices);
  if (index < 0)
    return c10::Device(c10::kCPU);
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

void check_torch() {
  const std::string settings = at::show_config();
  const std::string mark = "TORCH_VERSION=";
  const auto at = settings.find(mark);
  if (at == std::string::npos)
    return;
  const auto begin = at + mark.size();
  const std::string runs = settings.substr(begin, settings.find(',', begin) - begin);
  if (!same_torch(TORCH_VERSION, runs))
    throw std::runtime_error("the engine for torch does not fit: " +
                             torch_advice(TORCH_VERSION, runs));
}

} // namespace alrare
