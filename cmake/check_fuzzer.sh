#!/bin/sh
# Whether clang++ can build the fuzz targets; says in one line what is missing.
echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char *, unsigned long) { return 0; }' |
  clang++ -fsanitize=fuzzer,address,undefined -x c++ - -o /dev/null 2>/dev/null && exit
echo "make: no clang++ with libFuzzer, so nothing is fuzzed (Debian: clang libclang-rt-14-dev)" >&2
exit 1
