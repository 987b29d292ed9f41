"""fix al_select uncertainty v_name: the selection for pair styles that are not alrare's."""

import os
from pathlib import Path

import numpy as np
import pytest
from alrare.exploration.lammps_input import write_data_file
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read

MODEL = Path(__file__).parents[2] / "examples" / "lammps_inputs" / "hexane.safetensors"
EV = 23.060547830619026  # in kcal/mol, as LAMMPS converts

BOX = """
units {units}
atom_style atomic
boundary {boundary}
read_data {start}
{pair}
"""
LJ = """
pair_style lj/cut 6.0
pair_coeff 1 1 {eps1} 3.4
pair_coeff 2 2 {eps2} 3.65
"""
METAL = LJ.format(eps1=0.0104, eps2=0.0143)
MOVE = """
velocity all create 60.0 7 dist gaussian
timestep 0.004
fix nve all nve
"""
LARGEST = """
variable force atom sqrt(fx^2+fy^2+fz^2)
compute largest all reduce max v_force
variable largest equal c_largest
"""
PICK = (
    "fix pick all al_select {every} candidates.extxyz uncertainty v_largest elements Ar Kr {more}\n"
)
RECORD = (
    'fix show all print 1 "$(step) $(v_largest:%.17g) $(pe:%.17g) $(vol:%.17g)"'
    " file values.txt screen no\n"
)
COUNT = (
    "print '$(f_pick) $(f_pick[1]) $(f_pick[2]) $(f_pick[3]) $(f_pick[4]) $(f_pick[5])"
    " $(f_pick[6]) $(f_pick[7])' file counters.txt\n"
)


def crystal():
    """Argon with some krypton, periodic; atoms are off their sites, so that forces differ."""
    atoms = bulk("Ar", "fcc", a=5.5, cubic=True).repeat(3)
    atoms.symbols[::5] = "Kr"
    atoms.rattle(0.05, seed=2)
    return atoms


@pytest.fixture
def simulate(tmp_path, run_lmp):
    """Run commands on a crystal, or on other atoms; return what lmp printed."""

    def run(commands, *, atoms=None, elements=("Ar", "Kr"), ranks=1, fails=False, **setup):
        atoms = crystal() if atoms is None else atoms
        write_data_file(tmp_path / "start.data", atoms, elements)
        setup = {"units": "metal", "pair": METAL, "start": "start.data", **setup}
        text = BOX.format(boundary="p p p" if atoms.pbc.any() else "s s s", **setup)
        result = run_lmp(text + commands, ranks=ranks, cwd=tmp_path)
        printed = " ".join((result.stdout + result.stderr).split())
        assert (result.returncode != 0) == fails, printed
        return printed

    return run


def chosen(folder):
    path = folder / "candidates.extxyz"
    return read(path, ":") if path.stat().st_size else []


def steps(frames):
    return [int(frame.info["step"]) for frame in frames]


def expected(values, *, window, sigma, energy_gap, cap):
    """Rows that the criterion of the documentation selects: columns step, uncertainty, energy."""
    uncertainty, energy = values[:, 1], values[:, 2]
    threshold = uncertainty[:window].mean() + sigma * uncertainty[:window].std(ddof=1)
    picked = []
    for i in range(window, len(values)):
        differs = (np.abs(energy[i] - energy[picked]) > energy_gap).all()
        if uncertainty[i] > threshold and differs and len(picked) < cap:
            picked.append(i)
    return threshold, picked


@pytest.mark.parametrize("ranks", [1, 2])
def test_frames_are_those_of_the_criterion_for_any_pair_style(simulate, tmp_path, ranks):
    pick = PICK.format(every=1, more="threshold adaptive 20 0.5 energy 0.02 max 9")
    simulate(MOVE + LARGEST + pick + RECORD + "run 150\n" + COUNT, ranks=ranks)
    values = np.loadtxt(tmp_path / "values.txt")
    threshold, picked = expected(values, window=20, sigma=0.5, energy_gap=0.02, cap=9)
    frames = chosen(tmp_path)
    assert steps(frames) == picked and len(picked) > 3
    counts = np.loadtxt(tmp_path / "counters.txt")
    assert counts[:3] == pytest.approx([len(picked), values[-1, 1], threshold], rel=1e-9)
    assert counts[5] == (values[20:, 1] > threshold).sum() and counts[6] > 0
    for frame, i in zip(frames, picked, strict=True):
        assert frame.info["uncertainty"] == pytest.approx(values[i, 1], rel=1e-9)
        assert frame.info["potential_energy"] == pytest.approx(values[i, 2], abs=1e-7)
        assert frame.info["threshold"] == pytest.approx(threshold, rel=1e-9)
        assert {"member_energies", "energy_std", "force_std"}.isdisjoint(frame.info)
        assert frame.get_chemical_symbols() == crystal().get_chemical_symbols()
        assert frame.calc is None  # a candidate has no label


def test_two_ranks_select_what_one_does(simulate, tmp_path):
    pick = PICK.format(every=3, more="threshold value 0.1 energy 0.001 max 9")
    found = []
    for ranks in (1, 2):
        simulate(MOVE + LARGEST + pick + "run 90\n", ranks=ranks)
        found.append(chosen(tmp_path))
    alone, together = found
    assert steps(alone) == steps(together) and len(alone) > 3
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-6)


def test_a_run_cut_by_a_restart_selects_what_the_uncut_one_does(simulate, tmp_path):
    pick = PICK.format(every=2, more="threshold adaptive 10 0.5 energy 0.002 max 99")
    whole = MOVE + LARGEST + pick + "run 80\n"
    simulate(whole)
    uncut = steps(chosen(tmp_path))
    assert uncut[0] < 50 < uncut[-1]
    simulate(MOVE + LARGEST + pick + "run 50\nwrite_restart half.restart\nrun 10\n")
    again = "timestep 0.004\nfix nve all nve\n" + LARGEST + pick + "run 30\n"
    simulate("clear\nread_restart half.restart\n" + METAL + again)
    assert steps(chosen(tmp_path)) == uncut


def test_the_energy_gap_is_in_units_of_the_run_and_the_threshold_in_those_of_the_variable(
    simulate, tmp_path
):
    pick = PICK.format(every=1, more="threshold value {} energy {}").replace("largest ", "mine ")
    simulate(LARGEST + "variable mine equal 100*c_largest\n" + pick.format(0.5, 0.1) + "run 0\n")
    [metal] = chosen(tmp_path)
    real = LJ.format(eps1=0.0104 * EV, eps2=0.0143 * EV)
    simulate(
        LARGEST + "variable mine equal 100*c_largest\n" + pick.format(0.5, 0.1 * EV) + "run 0\n",
        units="real",
        pair=real,
    )
    [other] = chosen(tmp_path)
    assert other.info["threshold"] == metal.info["threshold"] == 0.5
    assert other.info["uncertainty"] == pytest.approx(EV * metal.info["uncertainty"], rel=1e-6)
    assert other.info["potential_energy"] == pytest.approx(metal.info["potential_energy"], rel=1e-6)


@pytest.mark.parametrize("ranks", [1, 2])
def test_atoms_too_near_across_the_boundary_are_never_written(simulate, tmp_path, ranks):
    atoms = Atoms("Ar2Kr", [[0.1, 9, 9], [17.7, 9, 9], [9, 9, 9]], cell=[18.0] * 3, pbc=True)
    for near, selected in ((0.45, 0), (0.35, 1)):
        simulate(
            "pair_style hybrid/overlay lj/cut 6.0 zero 6.0\npair_coeff 1 1 lj/cut 0 1\n"
            "pair_coeff 2 2 lj/cut 0 1\npair_coeff * * zero\nvariable one equal 1\n"
            "fix pick all al_select 1 candidates.extxyz uncertainty v_one elements Ar Kr"
            f" threshold value 0 energy 0 min_distance {near}\nrun 0\n" + COUNT,
            atoms=atoms,
            ranks=ranks,
        )
        assert len(chosen(tmp_path)) == selected
        counts = np.loadtxt(tmp_path / "counters.txt")
        assert counts[[0, 5, 7]].tolist() == [selected, 1, 1 - selected]


def test_a_value_that_is_no_number_is_unphysical_and_warned_of_once_a_run(simulate, tmp_path):
    printed = simulate(
        MOVE + "variable mine equal exp(1000)\n"
        "fix pick all al_select 1 candidates.extxyz uncertainty v_mine elements Ar Kr"
        " threshold value 0\nrun 5\n" + COUNT
    )
    assert chosen(tmp_path) == []
    assert np.loadtxt(tmp_path / "counters.txt")[[0, 5, 7]].tolist() == [0, 0, 6]
    warning = "uncertainty: variable 'mine' is inf on step 0; a configuration whose uncertainty is"
    assert printed.count("variable 'mine' is inf") == 1 and warning in printed


def test_the_ensemble_names_the_elements_of_a_variable(simulate, tmp_path):
    methane = molecule("CH4")
    setup = {"atoms": methane, "elements": ("H", "C")}
    pair = f'pair_style nnp_ensemble\npair_coeff * * "{os.path.relpath(MODEL, tmp_path)}" H C\n'
    uq = "compute uq all pair nnp_ensemble\nvariable mine equal 1000*c_uq[1]\n"
    pick = "fix pick all al_select 1 candidates.extxyz uncertainty v_mine threshold value 0 {}\n"
    simulate(uq + pick.format("") + "run 0\nprint '$(v_mine:%.12g)' file mine.txt\n",
             pair=pair, **setup)  # fmt: skip
    [frame] = chosen(tmp_path)
    assert frame.get_chemical_symbols() == methane.get_chemical_symbols()
    assert frame.info["uncertainty"] == pytest.approx(np.loadtxt(tmp_path / "mine.txt"), rel=1e-9)
    printed = simulate(uq + pick.format("elements C H") + "run 0\n", pair=pair, fails=True, **setup)
    assert "elements: atom type 1 is C here and H in the pair_coeff of nnp_ensemble" in printed


def test_elements_in_another_order_than_the_masses_are_warned_of(simulate):
    pick = PICK.format(every=1, more="").replace("Ar Kr", "Kr Ar")
    printed = simulate(LARGEST + pick + "run 0\n")
    warning = (
        "fix al_select: atom type 1 is Kr by its elements, but its mass, 39.948, is that of Ar"
    )
    assert warning in printed


SELECT = "fix pick all al_select 1 candidates.extxyz uncertainty "


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        (
            SELECT + "mine",
            "uncertainty must be energy, force or v_name of an equal-style variable, got 'mine'",
        ),
        (SELECT + "v_", "uncertainty must be energy, force or v_name"),
        (
            SELECT + "v_x elements Ar",
            "elements must be 2 chemical symbols, one for each atom type, got 1",
        ),
        (
            SELECT + "v_x elements Ar Kr Xe max 3",
            "elements must be 2 chemical symbols, one for each atom type, got 3",
        ),
        (
            SELECT + "v_x elements ar kr",
            "elements must be 2 chemical symbols, one for each atom type, got 0",
        ),
        (SELECT + "v_x elements Ar X", "elements must be chemical symbols, got 'X'"),
        (
            SELECT + "v_x elements Ar Kr threshold relative 0.1 1",
            "threshold relative needs the members' energies or forces; with uncertainty v_name",
        ),
        (
            SELECT + "energy elements Ar Kr",
            "elements belongs to uncertainty v_name; otherwise the pair_coeff of nnp_ensemble",
        ),
        (
            SELECT + "v_x\nrun 0",
            "the pair style names no element for atom type 1; give the keyword elements, one for"
            " each of the 2 atom types",
        ),
        (
            SELECT + "v_x elements Ar Kr\nrun 0",
            "fix al_select: uncertainty: variable 'x' does not exist",
        ),
        (
            "variable x atom 1\n" + SELECT + "v_x elements Ar Kr\nrun 0",
            "fix al_select: uncertainty: variable 'x' is not an equal-style variable",
        ),
        (
            "variable x equal 1\n" + SELECT + "v_x elements Ar Kr min_distance 6.1\nrun 0",
            "min_distance must not exceed the cutoff of the pair style, 6 for atom types 1 and 1",
        ),
        (
            "pair_style none\nvariable x equal 1\n" + SELECT + "v_x elements Ar Kr\nrun 0",
            "fix al_select: needs a pair style; give pair_style zero and a cutoff",
        ),
        (
            SELECT + "force\nrun 0",
            "needs exactly one pair style nnp_ensemble (alone or within a hybrid style), and the"
            " pair style is lj/cut; for another one give uncertainty v_name",
        ),
    ],
)
def test_a_wrong_command_is_explained(simulate, commands, message):
    assert message in simulate(commands + "\n", fails=True)


def test_a_restart_refuses_another_kind_of_uncertainty(simulate):
    pick = PICK.format(every=1, more="threshold value 9")
    simulate(LARGEST + pick + "run 0\nwrite_restart half.restart\n")
    printed = simulate(
        "clear\nread_restart half.restart\n" + METAL
        + "fix pick all al_select 1 candidates.extxyz\nrun 0\n",
        fails=True,
    )  # fmt: skip
    assert (
        "was judged by the uncertainty of a variable and this one is by that of energy" in printed
    )
