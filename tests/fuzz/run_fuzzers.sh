#!/bin/sh
# Runs each fuzz target on a bounded number of inputs, grown from the files of the C++ tests.
#
#   run_fuzzers.sh BUILD_FOLDER RUNS
build=$1
runs=$2
seeds=$(dirname "$0")/../cpp/data

for target in fuzz_json:4096 fuzz_safetensors:8192; do # name:largest input
  name=${target%:*}
  corpus=$build/$name.corpus # what the inputs grow in; begun anew, so that every run is the same
  rm -rf "$corpus" && mkdir "$corpus" || exit 1
  "$build/tests/fuzz/$name" -runs="$runs" -seed=1 -max_len="${target#*:}" -verbosity=0 \
    -artifact_prefix="$build/$name." "$corpus" "$seeds" || exit 1
  echo "$name: $runs inputs, no fault"
done
