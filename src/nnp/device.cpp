// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/device.h"

#include <stdexcept>

namespace alrare {

int choose_device(const std::string &asked, int node_rank, int n_devices) {
  if (asked == "cpu" || (asked == "auto" && n_devices == 0))
    return -1;
  if (n_devices == 0)
    throw std::runtime_error("device " + asked +
                             ": this machine, or this build of torch, has no "
                             "CUDA device; use device cpu or device auto");
  if (asked.rfind("cuda:", 0) != 0)
    return node_rank % n_devices;
  const int index = std::stoi(asked.substr(5));
  if (index >= n_devices)
    throw std::runtime_error("device " + asked + ": this machine has CUDA devices 0 to " +
                             std::to_string(n_devices - 1));
  return index;
}

} // namespace alrare
