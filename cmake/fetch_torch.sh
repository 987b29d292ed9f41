#!/bin/sh
# Puts one torch of each release beside another, for -DALRARE_MORE_TORCH=FOLDER: what an engine is
# compiled and linked with, not what torch needs to run.
#
#   fetch_torch.sh FOLDER PYTHON RELEASE...     fetch_torch.sh /torch python3 2.11 2.12
set -eu
folder=$1
python=$2
shift 2
for release; do
  "$python" -m pip install --quiet --no-deps --target "$folder/$release" "torch==$release.*"
done
