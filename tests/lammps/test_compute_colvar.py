"""compute colvar: the value of a collective variable of fix colvars, and the input in.colvars."""

import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

CRYSTAL = """
units metal
atom_style atomic
atom_modify map yes
lattice fcc 5.5
region box block 0 3 0 3 0 3
create_box 1 box
create_atoms 1 box
mass 1 39.948
displace_atoms all random 0.2 0.2 0.2 5 units box
pair_style lj/cut 6.0
pair_coeff 1 1 0.0104 3.4
velocity all create 600.0 7 dist gaussian
timestep 0.004
fix nve all nve
"""
WIDTH = 16.5  # of the crystal, Angstrom
COLVARS = """
colvar {
    name gap
    distance {
        group1 { atomNumbers 1 }
        group2 { atomNumbers 40 }
    }
    distance {
        componentCoeff -1.0
        group1 { atomNumbers 40 }
        group2 { atomNumbers 107 }
    }
}
colvar {
    name arrow
    distanceVec {
        group1 { atomNumbers 1 }
        group2 { atomNumbers 40 }
    }
}
harmonic {
    colvars gap
    forceConstant 0.1
    centers 0.5
}
"""
LEAD = "fix lead all colvars atoms.colvars output led\n"
VALUE = "compute cv all colvar gap\nvariable cv equal c_cv\n"
THERMO = "thermo_style custom step c_cv {more}\nthermo_modify format float %.17g\nthermo 1\n"
RECORD = """
fix show all print 1 "$(step) $(v_cv:%.17g)" file values.txt screen no
variable uncertainty equal 1.0
fix pick all al_select 1 candidates.extxyz uncertainty v_uncertainty elements Ar &
  threshold value 0.5 cv v_cv 0 energy 0
"""
DUMP = "dump d all custom 1 all.dump id x y z\ndump_modify d format float %.17g\n"


@pytest.fixture(scope="module", autouse=True)
def _colvars(run_lmp, tmp_path_factory):
    """Skip where LAMMPS has no COLVARS package."""
    answer = run_lmp("", cwd=tmp_path_factory.mktemp("help"), args=("-h",)).stdout
    if not re.search(r"\bcolvars\b", answer):
        pytest.skip("COLVARS is not in this LAMMPS")


@pytest.fixture
def simulate(tmp_path, run_lmp):
    """Run commands on the crystal; return what lmp printed, its lines joined if it fails."""

    def run(commands, *, ranks=1, fails=False):
        (tmp_path / "atoms.colvars").write_text(COLVARS)
        result = run_lmp(CRYSTAL + commands, ranks=ranks, cwd=tmp_path)
        printed = result.stdout + result.stderr
        assert (result.returncode != 0) == fails, printed
        return " ".join(printed.split()) if fails else printed

    return run


def distance(positions, one, other, width=np.inf):
    """Between two atoms, counted from 1, in each frame; (..., atoms, 3) to (...)."""
    apart = positions[..., other - 1, :] - positions[..., one - 1, :]
    if np.isfinite(width):
        apart = apart - width * np.round(apart / width)
    return np.linalg.norm(apart, axis=-1)


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_value_is_that_of_the_step_for_whoever_asks(
    tmp_path, simulate, read_thermo, read_dump, ranks
):
    text = simulate(LEAD + VALUE + RECORD + DUMP + THERMO.format(more="") + "run 20\n", ranks=ranks)
    positions = read_dump(tmp_path / "all.dump")
    expected = distance(positions, 1, 40, WIDTH) - distance(positions, 40, 107, WIDTH)
    assert np.ptp(expected) > 0.01

    (thermo,) = read_thermo(text)
    np.testing.assert_allclose(thermo["c_cv"], expected, rtol=0, atol=1e-10)
    printed = np.loadtxt(tmp_path / "values.txt")
    np.testing.assert_array_equal(printed[:, 1], thermo["c_cv"])
    candidates = read(tmp_path / "candidates.extxyz", ":")
    assert [frame.info["step"] for frame in candidates] == list(range(21))
    np.testing.assert_allclose([frame.info["cv"] for frame in candidates], expected, atol=1e-8)


def test_the_value_follows_a_changed_configuration_a_minimization_and_another_fix(
    simulate, read_thermo
):
    axes = [f"{axis}[{atom}]" for atom in (1, 40, 107) for axis in "xyz"]
    columns = [f"v_p{n}" for n in range(9)]
    positions = "".join(f"variable p{n} equal {axis}\n" for n, axis in enumerate(axes))
    text = simulate(
        LEAD
        + VALUE
        + positions
        + THERMO.format(more=" ".join(columns))
        + "run 2\ndisplace_atoms all random 0.1 0.1 0.1 8 units box\nrun 2\nminimize 0 0 3 30\n"
        + "unfix lead\n"
        + LEAD
        + "run 2\n"
    )
    tables = read_thermo(text)
    assert len(tables) == 4
    for table in tables:
        atoms = np.stack([table[name] for name in columns], axis=-1).reshape(-1, 3, 3)
        expected = distance(atoms, 1, 2, WIDTH) - distance(atoms, 2, 3, WIDTH)
        np.testing.assert_allclose(table["c_cv"], expected, rtol=0, atol=1e-10)
    assert abs(tables[1]["c_cv"][0] - tables[0]["c_cv"][-1]) > 1e-3


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(
    ("commands", "message"),
    [
        (VALUE, "there is no fix colvars, whose variable 'gap' is asked for; define it before"),
        (LEAD + VALUE + "run 1\nunfix lead\n", "there is no fix colvars, whose variable 'gap'"),
        (LEAD + "compute cv all colvar gasp\n", "fix colvars has no variable 'gasp'"),
        (LEAD + "compute cv all colvar arrow\n", "expected a scalar variable, and 'arrow' is"),
    ],
    ids=["no fix", "no fix any more", "no such variable", "a vector"],
)
def test_a_value_that_does_not_exist_is_refused(simulate, commands, message, ranks):
    printed = simulate(commands + THERMO.format(more="") + "run 0\n", ranks=ranks, fails=True)
    assert f"ERROR: compute colvar: {message}" in printed
    assert "Fatal error" not in printed and "Colvars module" not in printed


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("compute cv all colvar", "expected the name of one collective variable, got 0 words"),
        (
            "compute cv all colvar gap x",
            "expected the name of one collective variable, got 2 words",
        ),
        ("group few id 1 2\ncompute cv few colvar gap", "the group must be all (the Colvars file"),
    ],
)
def test_the_command_says_what_it_expects(simulate, command, message):
    printed = simulate(LEAD + command + "\n", fails=True)
    assert f"ERROR: compute colvar: {message}" in printed


def test_a_fix_that_asks_before_the_first_value_is_told_the_order(simulate):
    printed = simulate(VALUE + RECORD + LEAD + "run 1\n", fails=True)
    assert "fix colvars has no variable 'gap'; it reads its file where a run is set up" in printed
    assert "define it before the fixes that use this compute" in printed


SYSTEM = """
units metal
atom_style atomic
atom_modify map yes sort 0 0.0
boundary m m m
region box block -5 5 -5 5 -5 5
create_box 2 box
create_atoms 1 single -1.25 0.0 0.0
create_atoms 1 single 1.25 0.0 0.0
create_atoms 2 single -0.25 0.1 0.0
mass 1 15.999
mass 2 1.008
timestep 0.0005
variable seed index 54322
variable noise_seed index 77124
"""
POTENTIAL = """
pair_style morse 5.0
pair_coeff 1 1 3.0 2.0 2.5
pair_coeff 1 2 2.0 1.5 1.0
pair_coeff 2 2 0.0 1.0 1.0
"""
WATCH = (
    """
fix table all print 1 "$(step) $(v_cv:%.17g) $(v_target:%.17g) $(v_force:%.17g) &
$(v_work:%.17g) $(f_restraint:%.17g)" file table.dat screen no
"""
    + DUMP
)
TRANSFER = """
colvar {
    name transfer
    distance {
        group1 { atomNumbers 1 }
        group2 { atomNumbers 3 }
    }
    distance {
        componentCoeff -1.0
        group1 { atomNumbers 2 }
        group2 { atomNumbers 3 }
    }
}
"""
LED = {"from": -0.6, "to": 0.2, "spring": 10.0, "steps": 60, "relax_steps": 20}


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_work_of_in_colvars_is_the_sum_of_force_times_advance(
    tmp_path, run_lmp, read_dump, ranks
):
    for name, text in {
        "system.lmp": SYSTEM,
        "potential.lmp": POTENTIAL,
        "watch.lmp": WATCH,
        "transfer.colvars": TRANSFER,
    }.items():
        (tmp_path / name).write_text(text)
    variables = {"colvars_file": "transfer.colvars", "colvar": "transfer", **LED}
    words = [word for name, value in variables.items() for word in ("-var", name, str(value))]
    source = resources.files("alrare.exploration") / "inputs" / "in.colvars"
    result = run_lmp(source.read_text(), cwd=tmp_path, ranks=ranks, args=tuple(words))
    assert result.returncode == 0, result.stdout + result.stderr

    step, cv, target, force, work, energy = np.loadtxt(tmp_path / "table.dat").T
    np.testing.assert_array_equal(step, np.arange(61))
    positions = read_dump(tmp_path / "all.dump")
    expected = distance(positions, 1, 3) - distance(positions, 2, 3)
    np.testing.assert_allclose(cv, expected, rtol=0, atol=1e-10)

    advance = 0.8 / 60
    np.testing.assert_allclose(target, -0.6 + advance * step, atol=1e-12)
    np.testing.assert_allclose(force, 10.0 * (target - cv), atol=1e-12)
    np.testing.assert_allclose(energy, 5.0 * (target - cv) ** 2, atol=1e-10)  # Colvars' own
    np.testing.assert_allclose(work, np.cumsum(np.r_[0.0, force[1:]]) * advance, atol=1e-12)
    assert np.abs(work[-1]) > 0.01 and Path(tmp_path / "colvars.colvars.traj").is_file()
