#!/bin/sh
# Tells what a machine lacks for the C++ tests, before they are configured.
#
#   check_doctest.sh COMPILER
echo '#include <doctest/doctest.h>' | "$1" -E -x c++ - >/dev/null 2>&1 && exit
echo "make: no doctest/doctest.h for the C++ tests: install it (Debian: doctest-dev)" >&2
exit 1
