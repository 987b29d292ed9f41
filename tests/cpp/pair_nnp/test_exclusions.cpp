// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/exclusions.h"

#include <doctest/doctest.h>

using alrare::AtomClass;
using alrare::Exclusions;

namespace {

constexpr int all = 1, one = 2, two = 4, three = 8; // bits of groups

/// As `neigh_modify exclude group A B`.
alrare::PairExcluded groups(int a, int b) {
  return [=](const AtomClass &x, const AtomClass &y) {
    return ((x.mask & a) != 0 && (y.mask & b) != 0) || ((x.mask & b) != 0 && (y.mask & a) != 0);
  };
}

alrare::PairExcluded either(const alrare::PairExcluded &a, const alrare::PairExcluded &b) {
  return [=](const AtomClass &x, const AtomClass &y) { return a(x, y) || b(x, y); };
}

const AtomClass plain{all, 1}, excluded{all | one, 1}, deleted{one, 1}, deleted_too{one, 2};

} // namespace

TEST_CASE("an atom excluded from group all is no part of the system") {
  const Exclusions found({plain, excluded}, groups(one, all));
  CHECK(found.removes(excluded));
  CHECK(!found.removes(plain));
  CHECK(!found.hides_pairs());
}

TEST_CASE("a molecule that a fix takes out of group all is removed whole") {
  const Exclusions found({plain, deleted, deleted_too}, groups(one, all));
  CHECK(found.removes(deleted));
  CHECK(found.removes(deleted_too));
  CHECK(!found.removes(plain));
  CHECK(!found.hides_pairs());
  CHECK(Exclusions({deleted, deleted_too}, groups(one, all)).removes(deleted)); // the last one
}

TEST_CASE("an atom excluded from everything by several exclusions is removed") {
  const AtomClass rest{all | two, 1};
  const auto both = either(groups(one, one), groups(one, two));
  CHECK(Exclusions({rest, excluded}, both).removes(excluded));
  CHECK(!Exclusions({rest, excluded, {all | three, 1}}, both).removes(excluded));
}

TEST_CASE("pairs hidden among atoms that stay are told") {
  const Exclusions frozen({plain, excluded}, groups(one, one));
  CHECK(!frozen.removes(excluded));
  CHECK(frozen.hides_pairs());
  CHECK(!Exclusions({plain, excluded}, groups(two, two)).hides_pairs());
}
