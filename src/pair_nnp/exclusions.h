// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_PAIR_NNP_EXCLUSIONS_H
#define ALRARE_PAIR_NNP_EXCLUSIONS_H

#include <functional>
#include <set>
#include <tuple>
#include <vector>

namespace alrare {

/// Atoms that `neigh_modify exclude` treats alike: same groups, same type.
struct AtomClass {
  int mask; ///< bit 1 of it: group all
  int type;

  bool operator<(const AtomClass &other) const {
    return std::tie(mask, type) < std::tie(other.mask, other.type);
  }
};

/// Whether pairs of these two classes are left out of the neighbor lists.
using PairExcluded = std::function<bool(const AtomClass &, const AtomClass &)>;

/// What exclusions make of the classes of a system.
///
/// An atom that is excluded from every atom of group all is no part of the system: the fixes that
/// try a deletion (gcmc, charge/regulation) exclude an atom so, and take it out of group all.
class Exclusions {
public:
  Exclusions(const std::set<AtomClass> &present, const PairExcluded &excluded);

  /// Whether atoms of this class are no part of the system.
  bool removes(const AtomClass &atom) const { return removed_.count(atom) != 0; }
  /// Whether atoms that are part of the system do not see each other.
  bool hides_pairs() const { return hides_pairs_; }

private:
  std::set<AtomClass> removed_;
  bool hides_pairs_ = false;
};

} // namespace alrare

#endif
