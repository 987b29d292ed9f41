// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_NNP_FILE_JSON_H
#define ALRARE_NNP_FILE_JSON_H

#include <map>
#include <string>
#include <vector>

namespace alrare {

/// One JSON value (RFC 8259), read-only after parsing.
///
/// The reader is strict: no comments, no trailing commas, no duplicate keys, no NaN, nothing after
/// the value. Every accessor throws std::runtime_error naming what was expected and what came.
class Json {
public:
  enum class Kind { null, boolean, number, string, array, object };

  /// Parses a whole document.

  /// \throws std::runtime_error with the byte offset of the fault.
  static Json parse(const std::string &text);

  Kind kind() const { return kind_; }
  bool is_object() const { return kind_ == Kind::object; }

  /// True when this is an object that has `key`.
  bool has(const std::string &key) const;
  /// The member `key` of an object; throws when it is missing.
  const Json &at(const std::string &key) const;

  bool as_bool() const;
  double as_number() const;
  /// A number without a fractional part that fits an int.
  int as_int() const;
  const std::string &as_string() const;
  const std::vector<Json> &as_array() const;
  const std::map<std::string, Json> &as_object() const;

private:
  friend class JsonParser;
  void expect(Kind wanted) const;

  Kind kind_ = Kind::null;
  bool boolean_ = false;
  double number_ = 0.0;
  std::string string_;
  std::vector<Json> array_;
  std::map<std::string, Json> object_;
};

} // namespace alrare

#endif
