// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/file/json.h"

#include <doctest/doctest.h>

using alrare::Json;

using doctest::Contains;

TEST_CASE("every kind of value is read") {
  const Json json = Json::parse(" {\"a\": [1, -2.5e3, 0], \"b\": {\"c\": null}, \"yes\": true, "
                                "\"no\": false, \"s\": \"x\"} ");
  CHECK(json.at("a").as_array().size() == 3);
  CHECK(json.at("a").as_array()[0].as_int() == 1);
  CHECK(json.at("a").as_array()[1].as_number() == -2500.0);
  CHECK(json.at("b").at("c").kind() == Json::Kind::null);
  CHECK(json.at("yes").as_bool());
  CHECK(!json.at("no").as_bool());
  CHECK(json.at("s").as_string() == "x");
  CHECK(json.has("a"));
  CHECK(!json.has("z"));
}

TEST_CASE("numbers keep all their digits") {
  CHECK(Json::parse("0.1").as_number() == 0.1);
  CHECK(Json::parse("-1084.37561234567891").as_number() == -1084.37561234567891);
  CHECK(Json::parse("1e-300").as_number() == 1e-300);
}

TEST_CASE("escapes become the characters they mean, in UTF-8") {
  CHECK(Json::parse("\"\\\"\\\\\\/\\n\\t\"").as_string() == "\"\\/\n\t");
  CHECK(Json::parse("\"\\u00c5\"").as_string() == "\xC3\x85");                // Å
  CHECK(Json::parse("\"\\ud83d\\ude00\"").as_string() == "\xF0\x9F\x98\x80"); // outside the BMP
}

TEST_CASE("what is not JSON is refused with its place") {
  for (const char *text : {"",      "{",       "[1,]",     "{\"a\":1,}", "{'a':1}",
                           "01",    "+1",      ".5",       "1.",         "NaN",
                           "nul",   "\"a",     "\"\x01\"", "\"\\x\"",    "\"\\ud83d\"",
                           "[1] 2", "// x\n1", "1e999",    "{\"a\" 1}",  "-"})
    CHECK_THROWS_WITH(Json::parse(text), Contains("at byte"));
  CHECK_THROWS_WITH(Json::parse("{\"a\": 1, \"a\": 2}"), Contains("'a' comes twice"));
  CHECK_THROWS_WITH(Json::parse(std::string(100000, '[')), Contains("nested too deeply"));
}

TEST_CASE("a value of another kind is refused by name") {
  const Json json = Json::parse("{\"a\": 1.5}");
  CHECK_THROWS_WITH(json.at("b"), Contains("'b' is missing"));
  CHECK_THROWS_WITH(json.at("a").as_string(), Contains("expected a string, got a number"));
  CHECK_THROWS_WITH(json.at("a").as_int(), Contains("expected an integer"));
  CHECK_THROWS_WITH(json.as_array(), Contains("expected an array, got an object"));
}
