// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_DEVICE_H
#define ALRARE_NNP_DEVICE_H

#include <string>

namespace alrare {

/// The CUDA device for one process of a machine, -1 for the CPU.
///
/// \param asked      auto | cpu | cuda | cuda:N
/// \param node_rank  rank among the processes of this machine: they are dealt out in turn
/// \param n_devices  CUDA devices of this machine
/// \throws std::runtime_error when the device is not there.
int choose_device(const std::string &asked, int node_rank, int n_devices);

} // namespace alrare

#endif
