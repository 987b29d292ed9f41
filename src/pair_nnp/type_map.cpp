// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/type_map.h"

#include <algorithm>
#include <cstddef>
#include <stdexcept>

namespace alrare {

namespace {

[[noreturn]] void refuse(const std::string &model, const std::vector<std::string> &known,
                         const std::string &name, std::size_t type) {
  std::string all;
  for (const std::string &element : known)
    all.append(" ").append(element);
  throw std::runtime_error("element '" + name + "' of atom type " + std::to_string(type) +
                           " is not in '" + model + "', which knows:" + all);
}

} // namespace

void TypeMap::assign(const std::string &model, const std::vector<std::string> &known, int n_types,
                     const char *const *names) {
  const auto n = static_cast<std::size_t>(n_types) + 1;
  species.assign(n, -1);
  symbols_.assign(n, "");
  elements.assign(n, nullptr);
  for (std::size_t type = 1; type < n; ++type) {
    const std::string name = names[type - 1];
    if (name == "NULL")
      continue;
    const auto found = std::find(known.begin(), known.end(), name);
    if (found == known.end())
      refuse(model, known, name, type);
    species[type] = static_cast<int>(found - known.begin());
    symbols_[type] = name;
    elements[type] = symbols_[type].data();
  }
}

} // namespace alrare
