// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_nnp/element_masses.h"

#include <doctest/doctest.h>

using alrare::element_of_mass;
using alrare::is_element;

TEST_CASE("a mass of another element of the model contradicts") {
  CHECK(element_of_mass("H", 12.011, {"H", "C"}) == "C");
  CHECK(element_of_mass("C", 1.008, {"H", "C"}) == "H");
}

TEST_CASE("the right mass, an isotope and a mass of no element of the model do not") {
  CHECK(element_of_mass("H", 1.0, {"H", "C"}).empty());
  CHECK(element_of_mass("H", 2.014, {"H", "C"}).empty());
  CHECK(element_of_mass("H", 15.999, {"H", "C"}).empty());
  CHECK(element_of_mass("Xx", 1.5, {"H", "Xx"}).empty());
}

TEST_CASE("symbols of elements are known as they are written") {
  for (const char *symbol : {"H", "Cu", "Rn", "U", "Lr"})
    CHECK(is_element(symbol));
  for (const char *other : {"", "h", "CU", "X", "D", "NULL"})
    CHECK_FALSE(is_element(other));
}
