#!/bin/sh
# Tells what a bare machine lacks for `make install`, before minutes of downloads.
#
#   check_machine.sh PYTHON COMPILER
python=$1
compiler=$2

need() { # SENTENCE COMMAND...
  sentence=$1
  shift
  "$@" >/dev/null 2>&1 && return
  echo "make: $sentence" >&2
  exit 1
}

need "no $python here: install Python 3.11 or later, or name yours: make PYTHON=/path/to/python3" \
  command -v "$python"
need "$python is older than Python 3.11: install a later one and name it: make PYTHON=python3.11" \
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'
need "$python lacks its venv module: install it (Debian: python3-venv)" \
  "$python" -c 'import ensurepip, venv'
need "$python lacks its headers: install them (Debian: python3-dev)" \
  "$python" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")'
need "no C++ compiler '$compiler': install one (Debian: g++), or name yours: make CXX=clang++" \
  command -v "$compiler"
