// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/exclusions.h"

#include <algorithm>

namespace alrare {

Exclusions::Exclusions(const std::set<AtomClass> &present, const PairExcluded &excluded) {
  const auto is_in_all = [](const AtomClass &atom) { return (atom.mask & 1) != 0; };
  for (const AtomClass &atom : present)
    if (std::all_of(present.begin(), present.end(), [&](const AtomClass &other) {
          return !is_in_all(other) || excluded(atom, other);
        }))
      removed_.insert(atom);
  for (const AtomClass &atom : present)
    for (const AtomClass &other : present)
      hides_pairs_ = hides_pairs_ || (!removes(atom) && !removes(other) && excluded(atom, other));
}

} // namespace alrare
