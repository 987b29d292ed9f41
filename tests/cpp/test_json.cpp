// SPDX-License-Identifier: GPL-2.0-or-later
#include "check.h"

#include "nnp/file/json.h"

using alrare::Json;

TEST("every kind of value is read") {
  const Json json = Json::parse(" {\"a\": [1, -2.5e3, 0], \"b\": {\"c\": null}, \"yes\": true, "
                                "\"no\": false, \"s\": \"x\"} ");
  CHECK(json.at("a").as_array().size() == 3);
  CHECK(json.at("a").as_array()[0].as_int() == 1);
  CHECK(json.at("a").as_array()[1].as_number() == -2500.0);
  CHECK(json.at("b").at("c").kind() == Json::Kind::null);
  CHECK(json.at("yes").as_bool() && !json.at("no").as_bool());
  CHECK(json.at("s").as_string() == "x");
  CHECK(json.has("a") && !json.has("z"));
}

TEST("numbers keep all their digits") {
  CHECK(Json::parse("0.1").as_number() == 0.1);
  CHECK(Json::parse("-1084.37561234567891").as_number() == -1084.37561234567891);
  CHECK(Json::parse("1e-300").as_number() == 1e-300);
}

TEST("escapes become the characters they mean, in UTF-8") {
  CHECK(Json::parse("\"\\\"\\\\\\/\\n\\t\"").as_string() == "\"\\/\n\t");
  CHECK(Json::parse("\"\\u00c5\"").as_string() == "\xC3\x85");                // Å
  CHECK(Json::parse("\"\\ud83d\\ude00\"").as_string() == "\xF0\x9F\x98\x80"); // outside the BMP
}

TEST("a quoted string reads back as itself") {
  const std::string text = "a \"b\" \\ \n \x01 \xC3\x85";
  CHECK(Json::parse(alrare::json_quote(text)).as_string() == text);
}

TEST("what is not JSON is refused with its place") {
  for (const char *text : {"",      "{",       "[1,]",     "{\"a\":1,}", "{'a':1}",
                           "01",    "+1",      ".5",       "1.",         "NaN",
                           "nul",   "\"a",     "\"\x01\"", "\"\\x\"",    "\"\\ud83d\"",
                           "[1] 2", "// x\n1", "1e999",    "{\"a\" 1}",  "-"})
    CHECK_THROWS(Json::parse(text), "at byte");
  CHECK_THROWS(Json::parse("{\"a\": 1, \"a\": 2}"), "'a' comes twice");
  CHECK_THROWS(Json::parse(std::string(100000, '[')), "nested too deeply");
}

TEST("a value of another kind is refused by name") {
  const Json json = Json::parse("{\"a\": 1.5}");
  CHECK_THROWS(json.at("b"), "'b' is missing");
  CHECK_THROWS(json.at("a").as_string(), "expected a string, got a number");
  CHECK_THROWS(json.at("a").as_int(), "expected an integer");
  CHECK_THROWS(json.as_array(), "expected an array, got an object");
}

int main() { return check::run(); }
