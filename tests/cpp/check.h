// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef ALRARE_TESTS_CHECK_H
#define ALRARE_TESTS_CHECK_H

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <string>
#include <vector>

/// A test framework of one page: TEST("claim") { CHECK(...); } and CHECK_THROWS(action, "words").
namespace check {

struct Test {
  const char *claim;
  std::function<void()> body;
};

inline std::vector<Test> &tests() {
  static std::vector<Test> all;
  return all;
}

inline int &failures() {
  static int count = 0;
  return count;
}

struct Registration {
  Registration(const char *claim, std::function<void()> body) { tests().push_back({claim, body}); }
};

inline void report(bool good, const char *file, int line, const std::string &what) {
  if (good)
    return;
  ++failures();
  std::fprintf(stderr, "%s:%d: not true: %s\n", file, line, what.c_str());
}

template <typename Action>
void throws(Action action, const std::string &words, const char *file, int line) {
  try {
    action();
  } catch (const std::exception &e) {
    report(std::string(e.what()).find(words) != std::string::npos, file, line,
           "'" + std::string(e.what()) + "' says '" + words + "'");
    return;
  }
  report(false, file, line, "it throws, saying '" + words + "'");
}

inline int run() {
  for (const Test &test : tests()) {
    const int before = failures();
    try {
      test.body();
    } catch (const std::exception &e) {
      report(false, test.claim, 0, std::string("no exception, but: ") + e.what());
    }
    std::printf("%s  %s\n", failures() == before ? "ok  " : "FAIL", test.claim);
  }
  return failures() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

} // namespace check

#define CHECK_JOIN2(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN2(a, b)
#define TEST(claim)                                                                                \
  static void CHECK_JOIN(body, __LINE__)();                                                        \
  static const check::Registration CHECK_JOIN(test, __LINE__)(claim, &CHECK_JOIN(body, __LINE__)); \
  static void CHECK_JOIN(body, __LINE__)()
#define CHECK(...) check::report((__VA_ARGS__), __FILE__, __LINE__, #__VA_ARGS__)
#define CHECK_THROWS(action, words)                                                                \
  check::throws([&] { (void)(action); }, words, __FILE__, __LINE__)

#endif
