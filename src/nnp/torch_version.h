// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_TORCH_VERSION_H
#define ALRARE_NNP_TORCH_VERSION_H

#include <string>

namespace alrare {

/// Whether two versions of torch name one release: "2.13.0" and "2.13.0+cpu" do.
bool same_torch(const std::string &one, const std::string &other);

/// The version that the Python package of torch in this folder names, "" where there is none.
std::string torch_version_in(const std::string &folder);

/// What to do about a TorchScript engine built with one torch where another is, or none ("").
std::string torch_advice(const std::string &built_with, const std::string &found);

} // namespace alrare

#endif
