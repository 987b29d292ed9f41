// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/type_map.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using doctest::Contains;

TEST_CASE("types become species of the model, and NULL is not seen") {
  alrare::TypeMap map;
  const char *const names[] = {"C", "NULL", "H", "C"};
  map.assign("m.pt", {"H", "C"}, 4, names);
  CHECK(map.species == std::vector<int>{-1, 1, -1, 0, 1});
  CHECK(map.elements[0] == nullptr);
  CHECK(std::string(map.elements[1]) == "C");
  CHECK(map.elements[2] == nullptr);
  CHECK(std::string(map.elements[3]) == "H");
}

TEST_CASE("an element that the model does not know is named") {
  alrare::TypeMap map;
  const char *const names[] = {"C", "Si"};
  CHECK_THROWS_WITH(map.assign("m.pt", {"H", "C"}, 2, names),
                    Contains("element 'Si' of atom type 2 is not in 'm.pt', which knows: H C"));
}
