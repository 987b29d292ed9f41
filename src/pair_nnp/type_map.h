// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_PAIR_NNP_TYPE_MAP_H
#define ALRARE_PAIR_NNP_TYPE_MAP_H

#include <string>
#include <vector>

namespace alrare {

/// What pair_coeff says of the atom types; index 0 is not used.
struct TypeMap {
  std::vector<int> species;     ///< (ntypes + 1) index into the model's elements, -1 = NULL
  std::vector<char *> elements; ///< (ntypes + 1) symbols, null = NULL

  /// \param model  file of the model, for the error
  /// \param known  its elements
  /// \param names  (n_types) an element or "NULL"
  /// \throws std::runtime_error when the model does not know an element.
  void assign(const std::string &model, const std::vector<std::string> &known, int n_types,
              const char *const *names);

private:
  std::vector<std::string> symbols_; // what `elements` points to
};

} // namespace alrare

#endif
