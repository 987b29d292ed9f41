// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_KEYWORDS_KEYWORD_READER_H
#define ALRARE_KEYWORDS_KEYWORD_READER_H

#include "lmptype.h"

#include <functional>
#include <string>
#include <vector>

namespace LAMMPS_NS {

/// Goes over the keywords of a LAMMPS command, `keyword value ...`, word by word.
///
/// What is wrong ends LAMMPS with one sentence: the command, what it must be, what came.
class KeywordReader {
public:
  /// \param command  as errors name it: "fix al_select"
  /// \param first    index in `arg` of the first keyword
  KeywordReader(class LAMMPS *lmp, std::string command, int narg, char **arg, int first);

  /// Moves on to the next keyword.
  /// \returns false at the end of the line.
  bool next();
  const std::string &keyword() const { return keyword_; }

  /// The next value of the keyword, which must fit.
  /// \param expected  completes "KEYWORD must be ..."
  std::string word(const std::string &expected,
                   const std::function<bool(const std::string &)> &fits);
  /// The next value of the keyword: one of these.
  std::string one_of(const std::vector<std::string> &words);
  /// The next values of the keyword, as many as fit.
  std::vector<std::string> words_while(const std::function<bool(const std::string &)> &fits);
  /// The next value of the keyword.
  /// \param name  what errors call it: "threshold relative: relative_floor"
  double number(const std::string &name);
  bigint integer(const std::string &name);

  /// Ends LAMMPS: "NAME must be EXPECTED, got GOT".
  [[noreturn]] void refuse(const std::string &name, const std::string &expected,
                           const std::string &got) const;
  /// Ends LAMMPS: this is none of the keywords.
  [[noreturn]] void refuse_keyword(const std::vector<std::string> &known) const;

private:
  const char *take(const std::string &name, const std::string &expected);

  class LAMMPS *lmp_;
  std::string command_;
  std::string keyword_;
  std::vector<const char *> words_;
  std::size_t at_ = 0;
};

} // namespace LAMMPS_NS

#endif
