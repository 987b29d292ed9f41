// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_FILE_ZIP_CHECKSUMS_H
#define ALRARE_NNP_FILE_ZIP_CHECKSUMS_H

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace alrare {

/// The CRC-32 that zip archives are checked by (polynomial 0xEDB88320, reflected).
std::uint32_t crc32(const void *bytes, std::size_t size);

/// What the directory of a zip archive says of its entries: the CRC-32 by name (PKWARE APPNOTE,
/// 4.3.12, 4.3.14 and 4.3.16).
///
/// \throws std::runtime_error with one sentence when the file is no whole zip archive.
std::map<std::string, std::uint32_t> zip_checksums(const std::string &path);

} // namespace alrare

#endif
