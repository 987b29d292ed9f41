// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_TORCH_VERSION_H
#define ALRARE_NNP_TORCH_VERSION_H

#include <string>

namespace alrare {

/// The TorchScript engine for the torch of the build.
constexpr const char *build_engine = "libalrare_torch.so";

/// Whether an engine built with one torch runs with the other: "2.13.0" and "2.13.1+cpu" do, as
/// torch keeps its C++ interface within a minor release and in no other way.
bool same_torch(const std::string &one, const std::string &other);

/// The version that the Python package of torch in this folder names, "" where there is none.
std::string torch_version_in(const std::string &folder);

/// Path of the TorchScript engine for the torch that was found, "" where none fits: the one that
/// was built for its minor release (`libalrare_torch-2.12.so` in the folder, which ends in a
/// slash), or that of the build, if it is of this release, or no torch was found or its version is
/// not known.
std::string torch_engine_in(const std::string &folder, const std::string &built_with,
                            const std::string &found);

/// What to do about a TorchScript engine built with one torch where another is, or none ("").
std::string torch_advice(const std::string &built_with, const std::string &found);

} // namespace alrare

#endif
