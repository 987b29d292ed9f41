#!/bin/sh
# Installs a wheel in a new environment, as a user without a compiler would, and uses it.
#
#   try_wheel.sh WHEEL PYTHON TORCH     try_wheel.sh dist/alrare-*.whl python3 torch==2.13.0
set -eu
wheel=$(realpath "$1")
python=$2
torch=$3
examples=$(realpath "$(dirname "$0")/../../examples/lammps_inputs")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# a PATH with the new environment and these programs, no other: no compiler, no cmake, no git
mkdir "$work/programs"
for program in sh env uname dirname basename cat date ls rm mkdir; do
  ln -s "$(command -v $program)" "$work/programs/$program"
done
"$python" -m venv "$work/new"
cp -r "$examples" "$work/inputs"
cd "$work"
unset PYTHONPATH LAMMPS_PLUGIN_PATH LD_LIBRARY_PATH VIRTUAL_ENV CC CXX
export PATH="$work/new/bin:$work/programs" OMP_NUM_THREADS=1
for program in cc c++ gcc g++ clang clang++ cmake; do
  if command -v $program; then
    echo "try_wheel: $program is on PATH" >&2
    exit 1
  fi
done

echo "installing $torch and $(basename "$wheel")"
install() { pip --disable-pip-version-check install --quiet --only-binary :all: "$1"; }
began=$(date +%s)
install "$torch"
install "$wheel"
echo "installed in $(($(date +%s) - began)) s"
python -c "
from importlib.metadata import distributions
sizes = {d.name: sum(f.locate().stat().st_size for f in d.files or [] if f.locate().is_file())
         for d in distributions()}
largest = sorted(sizes, key=sizes.get, reverse=True)[:8]
for name in dict.fromkeys([*largest, 'alrare']):
    print(f'{sizes[name] / 1e6:8.1f} MB  {name}')
print(f'{sum(sizes.values()) / 1e6:8.1f} MB  in {len(sizes)} packages')"

alrare check
(cd inputs && lmp -in in.hexane_smd -log none > smd.out && test -s candidates.extxyz)
(cd inputs && mpirun -np 2 lmp -in in.alkane_box -log none > box.out && test -s box_candidates.extxyz)
echo "the inputs of examples/lammps_inputs ran"
alrare doctor --keep trial

# the doctor's model by libtorch, which LAMMPS finds beside alrare
cat > inputs/in.libtorch << end
units metal
read_data data.hexane
pair_style nnp_ensemble
pair_coeff * * ../trial/runs/ethane/iter_001/ensemble.pt H C
run 10
end
(cd inputs && lmp -in in.libtorch -log none > libtorch.out)
echo "LAMMPS ran a TorchScript model"
