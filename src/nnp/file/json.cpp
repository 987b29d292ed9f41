// SPDX-License-Identifier: GPL-2.0-or-later
#include "nnp/file/json.h"

#include <cctype>
#include <cmath>
#include <cstdint>
#include <limits>
#include <locale>
#include <sstream>
#include <stdexcept>

namespace alrare {

namespace {

constexpr int max_depth = 64;

const char *name_of(Json::Kind kind) {
  switch (kind) {
  case Json::Kind::null:
    return "null";
  case Json::Kind::boolean:
    return "a boolean";
  case Json::Kind::number:
    return "a number";
  case Json::Kind::string:
    return "a string";
  case Json::Kind::array:
    return "an array";
  case Json::Kind::object:
    return "an object";
  }
  return "nothing";
}

void append_utf8(std::string &out, std::uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

} // namespace

/// Recursive descent over the text, one character of look-ahead.
class JsonParser {
public:
  explicit JsonParser(const std::string &text) : text_(text) {}

  Json document() {
    Json value = this->value(0);
    skip_space();
    if (at_ != text_.size())
      fail("something after the end of the value");
    return value;
  }

private:
  [[noreturn]] void fail(const std::string &what) const {
    throw std::runtime_error("JSON: " + what + " at byte " + std::to_string(at_));
  }

  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }

  char peek() const {
    if (at_ >= text_.size())
      fail("unexpected end");
    return text_[at_];
  }

  void take(char wanted) {
    if (peek() != wanted)
      fail(std::string("expected '") + wanted + "'");
    ++at_;
  }

  bool take_if(char wanted) {
    if (peek() != wanted)
      return false;
    ++at_;
    return true;
  }

  void word(const char *wanted) {
    for (const char *c = wanted; *c != '\0'; ++c) {
      const bool good = at_ < text_.size() && text_[at_] == *c;
      at_ += at_ < text_.size() ? 1 : 0;
      if (!good)
        fail(std::string("expected '") + wanted + "'");
    }
  }

  Json value(int depth) {
    if (depth > max_depth)
      fail("nested too deeply");
    skip_space();
    Json out;
    switch (peek()) {
    case '{':
      object(out, depth);
      break;
    case '[':
      array(out, depth);
      break;
    case '"':
      out.kind_ = Json::Kind::string;
      out.string_ = string();
      break;
    case 't':
      word("true");
      out.kind_ = Json::Kind::boolean;
      out.boolean_ = true;
      break;
    case 'f':
      word("false");
      out.kind_ = Json::Kind::boolean;
      break;
    case 'n':
      word("null");
      break;
    default:
      out.kind_ = Json::Kind::number;
      out.number_ = number();
    }
    return out;
  }

  void object(Json &out, int depth) {
    out.kind_ = Json::Kind::object;
    take('{');
    skip_space();
    if (take_if('}'))
      return;
    do {
      skip_space();
      std::string key = string();
      skip_space();
      take(':');
      if (!out.object_.emplace(key, value(depth + 1)).second)
        fail("the key '" + key + "' comes twice");
      skip_space();
    } while (take_if(','));
    take('}');
  }

  void array(Json &out, int depth) {
    out.kind_ = Json::Kind::array;
    take('[');
    skip_space();
    if (take_if(']'))
      return;
    do {
      out.array_.push_back(value(depth + 1));
      skip_space();
    } while (take_if(','));
    take(']');
  }

  std::uint32_t hex4() {
    std::uint32_t code = 0;
    for (int k = 0; k < 4; ++k) {
      const char c = peek();
      if (!std::isxdigit(static_cast<unsigned char>(c)))
        fail("expected four hexadecimal digits");
      const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
      code = code * 16 + static_cast<std::uint32_t>(digit);
      ++at_;
    }
    return code;
  }

  void unicode_escape(std::string &out) {
    std::uint32_t code = hex4();
    if (code >= 0xD800 && code < 0xDC00) {
      take('\\');
      take('u');
      const std::uint32_t low = hex4();
      if (low < 0xDC00 || low > 0xDFFF)
        fail("broken surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code <= 0xDFFF) {
      fail("broken surrogate pair");
    }
    append_utf8(out, code);
  }

  std::string string() {
    static const std::string escapes = "\"\\/bfnrt";
    static const std::string meanings = "\"\\/\b\f\n\r\t";
    std::string out;
    take('"');
    while (!take_if('"')) {
      char c = peek();
      ++at_;
      if (static_cast<unsigned char>(c) < 0x20)
        fail("control character in a string");
      if (c != '\\') {
        out += c;
        continue;
      }
      c = peek();
      ++at_;
      if (c == 'u') {
        unicode_escape(out);
        continue;
      }
      const auto which = escapes.find(c);
      if (which == std::string::npos)
        fail("unknown escape");
      out += meanings[which];
    }
    return out;
  }

  std::size_t digits() {
    const std::size_t start = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9')
      ++at_;
    if (at_ == start)
      fail("expected a value");
    return at_ - start;
  }

  double number() {
    const std::size_t start = at_;
    take_if('-');
    const bool leading_zero = at_ < text_.size() && text_[at_] == '0';
    if (digits() > 1 && leading_zero)
      fail("a number with a leading zero");
    if (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      digits();
    }
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      ++at_;
      if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-'))
        ++at_;
      digits();
    }
    // strtod follows the process's locale; a host program may have set one with a decimal comma
    std::istringstream stream(text_.substr(start, at_ - start));
    stream.imbue(std::locale::classic());
    double out = 0.0;
    if (!(stream >> out) || !std::isfinite(out))
      fail("a number out of range");
    return out;
  }

  const std::string &text_;
  std::size_t at_ = 0;
};

Json Json::parse(const std::string &text) { return JsonParser(text).document(); }

void Json::expect(Kind wanted) const {
  if (kind_ != wanted)
    throw std::runtime_error(std::string("JSON: expected ") + name_of(wanted) + ", got " +
                             name_of(kind_));
}

bool Json::has(const std::string &key) const {
  return kind_ == Kind::object && object_.count(key) != 0;
}

const Json &Json::at(const std::string &key) const {
  expect(Kind::object);
  const auto found = object_.find(key);
  if (found == object_.end())
    throw std::runtime_error("JSON: the key '" + key + "' is missing");
  return found->second;
}

bool Json::as_bool() const {
  expect(Kind::boolean);
  return boolean_;
}

double Json::as_number() const {
  expect(Kind::number);
  return number_;
}

int Json::as_int() const {
  expect(Kind::number);
  if (number_ != std::floor(number_) || std::fabs(number_) > std::numeric_limits<int>::max())
    throw std::runtime_error("JSON: expected an integer, got " + std::to_string(number_));
  return static_cast<int>(number_);
}

const std::string &Json::as_string() const {
  expect(Kind::string);
  return string_;
}

const std::vector<Json> &Json::as_array() const {
  expect(Kind::array);
  return array_;
}

const std::map<std::string, Json> &Json::as_object() const {
  expect(Kind::object);
  return object_;
}

} // namespace alrare
