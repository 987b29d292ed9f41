"""The native engine in a real lmp: against torchani in float64, and what only it can do."""

import re
from pathlib import Path

import numpy as np
import pytest
from alrare.exploration.lammps_input import write_data_file
from alrare.model.ensemble import Ensemble
from alrare.model.torchscript import export_torchscript
from ani_reference import random_ensemble, torchani_members
from ase import Atoms
from ase.build import molecule
from ase.io import read
from safetensors.torch import load_file

HEXANE = Path(__file__).parents[2] / "examples" / "hexane" / "hexane.xyz"
ELEMENTS = ("H", "C", "N", "O")
HIDDEN = {"H": (64, 32), "C": (48, 32, 16), "N": (32, 16), "O": (40,)}
FORCES = 1e-5  # eV/Å, against float64
ENERGY = 1e-6  # eV an atom
SETUP = """
units metal
atom_style atomic
boundary {boundary}
{before}
read_data system.data
pair_style nnp_ensemble {style}
pair_coeff * * {model} {elements}
{after}
compute uq all pair nnp_ensemble
thermo_style custom step pe c_uq[*]
thermo_modify format float %.17g norm no
thermo 1
dump forces all custom 1 forces.dump id fx fy fz {columns}
dump_modify forces format float %.17g
"""
MOVE = "velocity all create 300.0 7\nfix nve all nve\ntimestep 0.0005\n"


# --- systems and models -------------------------------------------------------------------------


def hexane(stretch=1.0):
    atoms = read(HEXANE)
    atoms.positions[:, 0] *= stretch
    atoms.rattle(0.05, seed=3)
    return atoms


def broken_hexane():
    atoms = hexane(1.1)
    atoms.positions[atoms.positions[:, 0] > atoms.positions[:, 0].mean(), 0] += 2.0
    return atoms


def random_box(symbols, seed=0):
    """Atoms in a triclinic cell, at least 0.9 Å from each other, 10 Å³ for each."""
    rng = np.random.default_rng(seed)
    n = len(Atoms(symbols))
    shape = np.array([[1, 0, 0], [0.3, 1.1, 0], [-0.2, 0.1, 0.9]])
    cell = shape * (10.0 * n) ** (1 / 3)
    points = []
    while len(points) < n:
        point = rng.random(3) @ cell
        gaps = [(point - other) @ np.linalg.inv(cell) for other in points]
        if all(np.linalg.norm((gap - np.round(gap)) @ cell) > 0.9 for gap in gaps):
            points.append(point)
    return Atoms(symbols, points, cell=cell, pbc=True)


def small_cell():
    """A cell smaller than the cutoff in every direction."""
    atoms = molecule("C2H6")
    atoms.set_cell([[4.6, 0, 0], [1.1, 4.4, 0], [0.4, -0.9, 4.9]])
    atoms.pbc = True
    atoms.rattle(0.05, seed=2)
    atoms.wrap()
    return atoms


SYSTEMS = {
    "hexane": hexane,
    "stretched": lambda: hexane(1.35),
    "broken": broken_hexane,
    "one element": lambda: random_box("C40"),
    "two elements": lambda: random_box("C30H60"),
    "three elements": lambda: random_box("C20H40O15"),
    "four elements": lambda: random_box("C20H40N10O15"),
    "small cell": small_cell,
    "at the cutoffs": lambda: Atoms(
        "CHHC", [[0, 0, 0], [3.4999999, 0, 0], [0, 3.5, 0], [0, 0, 5.0999999]]
    ),
    "isolated": lambda: Atoms("CHO", [[0, 0, 0], [30, 0, 0], [0, 20, 0]]),
}
OPEN = {"isolated": "f f f"}  # a box shrunk to it would be too flat for LAMMPS


@pytest.fixture(scope="module")
def ensemble():
    """Untrained, scaled until forces reach some eV/Å as in a real model."""
    plain = random_ensemble(
        elements=ELEMENTS,
        members=3,
        hidden=HIDDEN,
        self_energies=(-13.6, -1030.0, -1485.0, -2040.0),
        best_member=1,
        seed=4,
    )
    return Ensemble(plain.metadata, {name: 3.0 * w for name, w in plain.weights.items()})


@pytest.fixture(scope="module")
def model(ensemble, tmp_path_factory):
    """Its master file; the export lies beside it."""
    path = tmp_path_factory.mktemp("model") / "ensemble.safetensors"
    ensemble.save(path)
    export_torchscript(ensemble, path.with_suffix(".pt"))
    return path


@pytest.fixture(params=["cpu", "emulated"])
def device(request, pytestconfig):
    """Where the engine runs: on the CPU, and by its kernels for CUDA, without such a device."""
    given = pytestconfig.getoption("--device")
    if given != "auto" and request.param == "emulated":
        pytest.skip(f"the kernels run on {given}")
    return request.param if given == "auto" else given


@pytest.fixture
def simulate(tmp_path, run_lmp, model, device):
    """Run commands on a system; returns the finished process."""

    def run(
        commands="run 0\n", *, atoms=None, file=None, style="", ranks=1, fails=False,
        before="", after="", columns="", boundary=None, args=(),
    ):  # fmt: skip
        atoms = hexane() if atoms is None else atoms
        write_data_file(tmp_path / "system.data", atoms, list(ELEMENTS))
        file = file or model
        if not re.search("device|engine", style) and Path(file).suffix == ".safetensors":
            style += f" device {device}"
        text = SETUP.format(
            boundary=boundary or ("p p p" if atoms.pbc.all() else "s s s"),
            style=style, model=file, elements=" ".join(ELEMENTS),
            before=before, after=after, columns=columns,
        )  # fmt: skip
        result = run_lmp(text + commands, cwd=tmp_path, ranks=ranks, args=args)
        assert (result.returncode != 0) == fails, result.stdout + result.stderr
        return result

    return run


@pytest.fixture
def measure(simulate, tmp_path, read_thermo, read_dump):
    """Run; returns (columns of thermo, (frames, n, 3 + more) rows of the dump)."""

    def run(commands="run 0\n", **settings):
        result = simulate(commands, **settings)
        return read_thermo(result.stdout)[-1], read_dump(tmp_path / "forces.dump")

    return run


def member_energies(table):
    return np.array([table[f"c_uq[{m}]"][-1] for m in range(3, 6)])


# --- energies and forces ------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("system", SYSTEMS)
def test_energies_and_forces_are_those_of_torchani_in_float64(system, ranks, measure, ensemble):
    atoms = SYSTEMS[system]()
    energies, forces = torchani_members(atoms, ensemble)
    table, rows = measure(atoms=atoms, ranks=ranks, boundary=OPEN.get(system))
    assert system in ("isolated", "at the cutoffs") or np.abs(forces).max() > 1.0
    assert np.abs(rows[-1] - forces.mean(axis=0)).max() <= FORCES
    assert np.abs(member_energies(table) - energies).max() <= ENERGY * max(10, len(atoms))
    spread = np.std(energies, ddof=1)
    assert table["c_uq[1]"][-1] == pytest.approx(spread, abs=ENERGY * max(10, len(atoms)))


def test_ranks_without_atoms_change_nothing(measure, ensemble):
    _, forces = torchani_members(hexane(), ensemble)
    _, rows = measure(
        boundary="m m m",
        before="processors 1 1 4",
        after="change_box all z final -40 40",
        style="force_std yes",
        ranks=4,
    )
    assert np.abs(rows[-1] - forces.mean(axis=0)).max() <= FORCES


def test_both_engines_give_the_same(measure, model):
    atoms = random_box("C20H40N10O15")
    native, rows = measure(atoms=atoms)
    script, others = measure(atoms=atoms, file=model.with_suffix(".pt"), style="engine torchscript")
    assert np.abs(rows - others).max() < 2 * FORCES
    assert np.abs(member_energies(native) - member_energies(script)).max() < ENERGY * len(atoms)


def test_threads_change_nothing(measure):
    atoms = random_box("C60H120N30O30")
    one, rows = measure(atoms=atoms, style="force_std yes")
    two, others = measure(atoms=atoms, style="force_std yes", before="package omp 2")
    assert np.abs(rows - others).max() < 1e-5
    for name in one:
        assert two[name] == pytest.approx(one[name], rel=1e-6, nan_ok=True)


# --- every N ------------------------------------------------------------------------------------


@pytest.mark.parametrize("also", ["", " force_std yes"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_ensemble_steps_are_those_of_every_1_to_the_last_bit(ranks, also, measure):
    always, forces = measure(MOVE + "run 60\n", style="forces best" + also, ranks=ranks)
    sometimes, others = measure(MOVE + "run 60\n", style="forces best every 5" + also, ranks=ranks)
    assert np.array_equal(forces, others)
    assert np.array_equal(always["PotEng"], sometimes["PotEng"])
    for name in (f"c_uq[{k}]" for k in range(1, 6)):
        assert np.array_equal(always[name][::5], sometimes[name][::5])
        between = sometimes[name][:60].reshape(12, 5)  # keep the values of the ensemble step
        assert np.array_equal(between, between[:, :1].repeat(5, axis=1))
    assert len(set(always["c_uq[1]"])) > 15


def test_what_the_ensemble_is_asked_does_not_change_the_run_of_its_best_member(measure, device):
    atoms = random_box("C20H40N10O15")
    stress = "compute s all stress/atom NULL virial\nfix use all ave/atom 1 1 3 c_s[1]\n"
    asked = [("", ""), (" force_std yes", ""), (" force_std yes every 7", "")]
    if device == "cpu":  # forces and virials are summed in two ways on a GPU
        asked.append((" force_std yes every 7", stress))
    first, *others = (
        measure(MOVE + more + "run 60\n", style="forces best" + what, atoms=atoms)[1]
        for what, more in asked
    )
    assert all(np.array_equal(first, other) for other in others)


def test_the_first_step_of_a_run_is_a_ensemble_step(simulate, read_thermo):
    commands = MOVE + "run 3\nset group all type/fraction 2 0.0 7\nrun 1 pre yes\n"
    first, second = read_thermo(simulate(commands, style="forces 1 every 10").stdout)
    assert second["Step"][0] == 3
    assert first["c_uq[1]"][-1] == first["c_uq[1]"][0] != second["c_uq[1]"][0]


def test_fix_al_select_judges_ensemble_steps_only(simulate, tmp_path):
    watch = "fix pick all al_select {n} found.extxyz threshold value 0.0 energy 0.0 max 100\n"
    found = {}
    for name, style, n in (
        ("every step", "forces best every 4", 1),
        ("fourth", "forces best", 4),
        ("out of step", "forces best every 4", 6),
        ("twelfth", "forces best", 12),
    ):
        simulate(MOVE + watch.format(n=n) + "run 24\n", style=style)
        found[name] = (tmp_path / "found.extxyz").read_text()
    assert found["every step"].count("energy_std=") == 7
    assert found["every step"] == found["fourth"]
    assert found["out of step"].count("energy_std=") == 3
    assert found["out of step"] == found["twelfth"]


# --- single atoms -------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 2])
def test_fix_pair_gives_the_spread_of_single_atoms(ranks, measure, ensemble):
    atoms = random_box("C20H40N10O15")
    _, forces = torchani_members(atoms, ensemble)
    deviation = np.sqrt(((forces - forces.mean(axis=0)) ** 2).sum(axis=(0, 2)) / 2 / 3)
    table, rows = measure(
        atoms=atoms,
        ranks=ranks,
        style="force_std yes",
        after="fix spread all pair 1 nnp_ensemble energy_std 0 force_std 0",
        columns="f_spread[1] f_spread[2]",
    )
    assert np.abs(rows[-1][:, 4] - deviation).max() < FORCES
    assert table["c_uq[2]"][-1] == pytest.approx(deviation.max(), abs=FORCES)
    # independent atoms: the spread of the sum is of the order of the root of the sum of squares
    root = np.sqrt((rows[-1][:, 3] ** 2).sum())
    assert 0.05 * root < table["c_uq[1]"][-1] < 20 * root


def test_more_members_than_the_engine_takes_at_a_time_spread_as_theirs(measure, tmp_path):
    many = random_ensemble(elements=ELEMENTS, members=11, hidden=HIDDEN, seed=5)
    many = Ensemble(many.metadata, {name: 3.0 * w for name, w in many.weights.items()})
    many.save(tmp_path / "many.safetensors")
    atoms = random_box("C20H40N10O15")
    _, forces = torchani_members(atoms, many)
    deviation = np.sqrt(((forces - forces.mean(axis=0)) ** 2).sum(axis=(0, 2)) / 10 / 3)
    _, rows = measure(
        atoms=atoms,
        file=tmp_path / "many.safetensors",
        style="force_std yes",
        after="fix spread all pair 1 nnp_ensemble force_std 0",
        columns="f_spread",
    )
    assert np.abs(rows[-1][:, :3] - forces.mean(axis=0)).max() <= FORCES
    assert np.abs(rows[-1][:, 3] - deviation).max() < FORCES


@pytest.mark.parametrize("bias", ["linear -2.0", "bounded 3.0 0.5"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_bias_drives_by_the_gradient_of_its_energy(ranks, bias, measure):
    atoms, settings = broken_hexane(), {"style": f"bias {bias}", "ranks": ranks}
    row, dump = measure(atoms=atoms, **settings)
    assert row["c_uq[1]"][-1] > 0.01  # the members disagree
    bias_energy, mean = row["c_uq[8]"][-1], member_energies(row).mean()
    assert row["PotEng"][-1] == pytest.approx(mean + bias_energy, abs=1e-9)
    assert abs(bias_energy) > 1e-3
    forces, kick, ends = dump[-1][:, :3], 5e-3, []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * kick * forces / np.linalg.norm(forces)
        ends.append(measure(atoms=moved, **settings)[0]["PotEng"][-1])
    slope = (ends[0] - ends[1]) / (2 * kick)
    assert slope == pytest.approx(-np.linalg.norm(forces), rel=1e-3)


def test_the_energy_spread_of_a_lone_atom_is_that_of_the_system(measure, ensemble):
    far = Atoms("CH", [[0, 0, 0], [30, 0, 0]])
    energies = np.array([torchani_members(far[[k]], ensemble)[0] for k in (0, 1)])
    _, rows = measure(
        atoms=far,
        boundary="f f f",
        after="fix spread all pair 1 nnp_ensemble energy_std 0",
        columns="f_spread",
    )
    assert np.abs(rows[-1][:, 3] - energies.std(axis=1, ddof=1)).max() < 1e-6


def test_single_atoms_have_no_spread_between_ensemble_steps(measure):
    _, rows = measure(
        MOVE + "run 4\n",
        style="forces best every 4 force_std yes",
        after="fix spread all pair 1 nnp_ensemble energy_std 0 force_std 0",
        columns="f_spread[1] f_spread[2]",
    )
    assert (rows[[0, 4], :, 3:] > 0.0).all()
    assert (rows[1:4, :, 3:] == 0.0).all()


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("what", ["weights", "self energies"])
def test_a_damaged_model_is_refused(what, suffix, simulate, tmp_path, model):
    data = bytearray(model.with_suffix(suffix).read_bytes())
    if what == "weights":
        at = data.index(load_file(model)["H.0.bias"][0].numpy().tobytes()) + 2
        data[at] ^= 0x10
    else:
        at = data.index(b"-1030.0") + 3
        data[at : at + 1] = b"1"
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(data)
    result = simulate(file=path, fails=True)
    assert f"{path}': damaged: " in result.stdout, result.stdout


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"style": "every 10"}, "one member must drive the run: add forces best, or forces K"),
        ({"style": "forces 1 every 0"}, "every must be a number of steps, at least 1, got '0'"),
        ({"style": "device cuda:99"}, "ensemble.safetensors': device cuda:99: this machine"),
        ({"style": "engine torchscript"}, "is not one that the TorchScript engine reads"),
        (
            {"style": "engine native", "pt": True},
            "is not one that the native engine reads: it evaluates ANI",
        ),
        ({"file": "damaged.safetensors"}, "model file 'damaged.safetensors': "),
        (
            {"after": "fix spread all pair 1 nnp_ensemble force_std 0"},
            "Fix pair cannot extract property",
        ),
        (
            {"after": "fix spread all pair 1 nnp_ensemble energy_std 0", "pt": True},
            "Fix pair cannot extract property",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(settings, message, simulate, tmp_path, model):
    (tmp_path / "damaged.safetensors").write_bytes(model.read_bytes()[:1000])
    settings = dict(settings)
    if settings.pop("pt", False):
        settings["file"] = model.with_suffix(".pt")
    result = simulate(**settings, fails=True)
    errors = [line for line in result.stdout.splitlines() if line.startswith("ERROR")]
    assert errors, result.stdout + result.stderr
    assert message in errors[0]
