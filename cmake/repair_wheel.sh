#!/bin/sh
# Gives a wheel the tag of the oldest systems that it runs on, and puts libgomp, which bare systems
# lack, into it. Needs auditwheel and patchelf on PATH.
#
#   repair_wheel.sh WHEEL FOLDER
#
# torch stays outside: it is a package of its own, 100 times as large as alrare, and the process that
# loads the engine has it once only. The engine finds it beside alrare, by its rpath. LAMMPS and MPI
# need no such exception: the plugin is linked to neither, LAMMPS has loaded both before it.
set -eu
auditwheel repair --exclude 'libtorch*.so*' --exclude 'libc10*.so*' --wheel-dir "$2" "$1"
