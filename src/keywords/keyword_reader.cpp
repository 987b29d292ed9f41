// SPDX-License-Identifier: GPL-2.0-or-later
#include "keywords/keyword_reader.h"

#include "error.h"
#include "lammps.h"
#include "utils.h"

#include <algorithm>
#include <utility>

namespace LAMMPS_NS {

namespace {

/// "a, b or c"
std::string alternatives(const std::vector<std::string> &words) {
  std::string text;
  for (std::size_t k = 0; k < words.size(); ++k)
    text += (k == 0 ? "" : k + 1 == words.size() ? " or " : ", ") + words[k];
  return text;
}

} // namespace

KeywordReader::KeywordReader(LAMMPS *lmp, std::string command, int narg, char **arg, int first)
    : lmp_(lmp), command_(std::move(command)), words_(arg + first, arg + narg) {}

bool KeywordReader::next() {
  if (at_ == words_.size())
    return false;
  keyword_ = words_[at_++];
  return true;
}

const char *KeywordReader::take(const std::string &name, const std::string &expected) {
  if (at_ == words_.size())
    refuse(name, expected, "the end of the line");
  return words_[at_++];
}

std::string KeywordReader::word(const std::string &expected,
                                const std::function<bool(const std::string &)> &fits) {
  std::string value = take(keyword_, expected);
  if (!fits(value))
    refuse(keyword_, expected, "'" + value + "'");
  return value;
}

std::string KeywordReader::one_of(const std::vector<std::string> &words) {
  return word(alternatives(words), [&](const std::string &value) {
    return std::find(words.begin(), words.end(), value) != words.end();
  });
}

std::vector<std::string>
KeywordReader::words_while(const std::function<bool(const std::string &)> &fits) {
  std::vector<std::string> values;
  while (at_ < words_.size() && fits(words_[at_]))
    values.emplace_back(words_[at_++]);
  return values;
}

double KeywordReader::number(const std::string &name) {
  return utils::numeric(FLERR, take(name, "a number"), false, lmp_);
}

bigint KeywordReader::integer(const std::string &name) {
  return utils::bnumeric(FLERR, take(name, "an integer"), false, lmp_);
}

void KeywordReader::refuse(const std::string &name, const std::string &expected,
                           const std::string &got) const {
  lmp_->error->all(FLERR, "{}: {} must be {}, got {}", command_, name, expected, got);
}

void KeywordReader::refuse_keyword(const std::vector<std::string> &known) const {
  lmp_->error->all(FLERR, "{}: unknown keyword '{}' (expected {})", command_, keyword_,
                   alternatives(known));
}

} // namespace LAMMPS_NS
