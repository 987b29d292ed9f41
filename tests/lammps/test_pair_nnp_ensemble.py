"""pair_style nnp_ensemble in a real lmp: against torchani in float64, and against itself."""

import json
import re
import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from alrare.exploration.lammps_input import write_data_file
from alrare.model.ensemble import Ensemble
from alrare.model.model_file import METADATA_FILE
from alrare.model.torchscript import EnsembleModule, export_torchscript
from ani_reference import random_ensemble, torchani_members
from ase import Atoms
from ase.build import molecule
from ase.io import read

ROOT = Path(__file__).parents[2]
HEXANE = ROOT / "examples" / "hexane" / "hexane.xyz"
EXACT = 1e-8  # of a float64 model: rounding alone, eV, eV/Å
SELF_ENERGIES = (-13.6, -1030.0)
KCAL_PER_MOL = 23.060549  # in one eV, as LAMMPS converts
BAR = 1.602176634e6  # in one eV/Å^3

SETUP = """
units {units}
atom_style atomic
boundary {boundary}
{before}
read_data {folder}/system.data
pair_style {style}
pair_coeff * * {name} {model} {elements}
{after}
compute uq all pair nnp_ensemble
compute virial all pressure NULL pair
thermo_style custom step pe etotal c_virial[*] c_uq[*]
thermo_modify format float %.15g norm no
"""
ONCE = """
dump forces all custom 1 forces.dump id fx fy fz
dump_modify forces format float %.15g
run 0
"""


# --- systems and models -------------------------------------------------------------------------


def hexane(stretch=1.0):
    atoms = read(HEXANE)
    atoms.positions[:, 0] *= stretch
    atoms.rattle(0.05, seed=3)
    return atoms


def small_cell():
    """Two ethanes in a triclinic cell, smaller than twice the cutoff."""
    ethane = molecule("C2H6")
    atoms = ethane + ethane
    atoms.positions[8:] += (4.2, 0.5, 0.3)
    atoms.set_cell([[8.3, 0, 0], [1.1, 7.4, 0], [0.4, -0.9, 7.9]])
    atoms.pbc = True
    atoms.rattle(0.05, seed=2)
    atoms.wrap()
    return atoms


def alkane_box():
    """1,000 atoms: 50 hexanes, each turned about its axis, in a periodic box."""
    rng = np.random.default_rng(7)
    box = Atoms(cell=(2 * 10.8, 5 * 4.9, 5 * 4.9), pbc=True)
    for site in np.ndindex(2, 5, 5):
        one = hexane()
        one.positions -= one.positions.mean(axis=0)
        one.rotate(rng.uniform(0, 360), "x")
        one.positions += (np.array(site) + 0.5) * (10.8, 4.9, 4.9)
        box += one
    box.rattle(0.05, seed=5)
    box.wrap()
    return box


SYSTEMS = {
    "hexane": hexane,
    "stretched": lambda: hexane(1.35),
    "cell": small_cell,
    "box": alkane_box,
}


def loud(ensemble, factor=200.0):
    """Scale the last layers, so that forces are some eV/Å as those of molecules are."""
    weights = dict(ensemble.weights)
    for element, widths in ensemble.metadata.hidden.items():
        for part in ("weight", "bias"):
            name = f"{element}.{len(widths)}.{part}"
            weights[name] = weights[name] * (factor if part == "weight" else 1.0)
    return Ensemble(ensemble.metadata, weights)


SMALL = loud(
    random_ensemble(
        members=3,
        hidden={"H": (16, 8)},
        hidden_default=(16, 8),
        self_energies=SELF_ENERGIES,
        best_member=1,
        seed=4,
    ),
    30.0,
)


def export_double(ensemble, path):
    """The same model in float64, which the contract allows and the driver does not write."""
    content = {**json.loads(ensemble.metadata.to_json()), "dtype": "float64"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.script(EnsembleModule(ensemble, torch.float64).eval())
        torch.jit.save(script, str(path), _extra_files={METADATA_FILE: json.dumps(content)})


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Model files by name."""
    folder = tmp_path_factory.mktemp("models")
    export_torchscript(SMALL, folder / "small.pt")
    export_double(SMALL, folder / "double.pt")
    return {"small": folder / "small.pt", "double": folder / "double.pt"}


@pytest.fixture
def simulate(tmp_path, run_lmp, models):
    """Run commands on a system; returns the finished process, which must have succeeded."""

    def run(
        commands=ONCE,
        *,
        atoms=None,
        model="small",
        style="nnp_ensemble",
        name="",
        elements="H C",
        units="metal",
        boundary=None,
        before="",
        after="",
        ranks=1,
        fails=False,
        types=("H", "C"),
    ):
        atoms = hexane() if atoms is None else atoms
        write_data_file(tmp_path / "system.data", atoms, list(types))
        text = SETUP.format(
            units=units,
            boundary=boundary or ("p p p" if atoms.pbc.all() else "s s s"),
            before=before,
            folder=tmp_path,
            style=style,
            name=name,
            model=models.get(model, model),
            elements=elements,
            after=after,
        )
        result = run_lmp(text + commands, cwd=tmp_path, ranks=ranks)
        assert (result.returncode != 0) == fails, result.stdout + result.stderr
        return result

    return run


@pytest.fixture
def measure(simulate, tmp_path, read_thermo, read_dump):
    """One evaluation: (row of thermo, forces (n, 3))."""

    def run(commands=ONCE, **settings):
        result = simulate(commands, **settings)
        row = {name: values[-1] for name, values in read_thermo(result.stdout)[-1].items()}
        return row, read_dump(tmp_path / "forces.dump")[-1]

    return run


def member_energies(row):
    return np.array([row[f"c_uq[{m}]"] for m in range(3, 6)])


def virial(row):
    return np.array([row[f"c_virial[{k}]"] for k in range(1, 7)])


# --- energies and forces ------------------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS)
def test_lammps_energies_and_forces_equal_torchani(system, measure, tmp_path):
    ensemble = loud(random_ensemble(members=3, self_energies=SELF_ENERGIES, seed=1))
    export_torchscript(ensemble, tmp_path / "full.pt")
    atoms = SYSTEMS[system]()
    energies, forces = torchani_members(atoms, ensemble)
    row, lammps_forces = measure(atoms=atoms, model=tmp_path / "full.pt")
    assert np.abs(forces).max() > 1.0
    assert np.abs(lammps_forces - forces.mean(axis=0)).max() <= 1e-4
    assert np.abs(member_energies(row) - energies).max() <= 1e-5 * len(atoms)
    assert abs(row["PotEng"] - energies.mean()) <= 1e-5 * len(atoms)
    assert row["c_uq[1]"] == pytest.approx(np.std(energies, ddof=1), abs=1e-5 * len(atoms))


@pytest.mark.parametrize("system", ["hexane", "cell"])
def test_a_float64_model_equals_torchani_to_rounding(system, measure):
    atoms = SYSTEMS[system]()
    energies, forces = torchani_members(atoms, SMALL)
    row, lammps_forces = measure(atoms=atoms, model="double")
    assert np.abs(lammps_forces - forces.mean(axis=0)).max() < EXACT
    assert np.abs(member_energies(row) - energies).max() < EXACT


def test_forces_are_minus_the_energy_gradient(simulate, tmp_path, read_dump):
    simulate(
        "fix differences all numdiff 1 1.0e-4\n"
        "dump forces all custom 1 forces.dump id fx fy fz f_differences[*]\n"
        "dump_modify forces format float %.15g\nrun 0\n",
        atoms=small_cell(),
        model="double",
        before="atom_modify map array",
    )
    frame = read_dump(tmp_path / "forces.dump")[-1]
    assert np.abs(frame[:, :3]).max() > 0.1
    assert np.abs(frame[:, :3] - frame[:, 3:]).max() < 1e-6


@pytest.mark.parametrize("forces", ["mean", "best", "1", "3"])
def test_the_forces_asked_for_drive_the_run(forces, measure):
    energies, members = torchani_members(hexane(), SMALL)
    weights = {"mean": [1 / 3, 1 / 3, 1 / 3], "best": [0, 1, 0], "1": [1, 0, 0], "3": [0, 0, 1]}
    row, lammps_forces = measure(style=f"nnp_ensemble forces {forces}", model="double")
    expected = np.tensordot(weights[forces], members, 1)
    assert np.abs(lammps_forces - expected).max() < EXACT
    assert row["PotEng"] == pytest.approx(np.dot(weights[forces], energies), abs=EXACT)
    assert np.abs(member_energies(row) - energies).max() < EXACT  # always those of all


@pytest.mark.parametrize("ranks", [1, 2])
def test_force_std_is_the_largest_deviation_of_an_atom(ranks, measure):
    _, members = torchani_members(small_cell(), SMALL)
    deviation = np.sqrt(((members - members.mean(axis=0)) ** 2).sum(axis=(0, 2)) / 2 / 3)
    row, forces = measure(
        atoms=small_cell(), style="nnp_ensemble force_std yes", model="double", ranks=ranks
    )
    assert row["c_uq[2]"] == pytest.approx(deviation.max(), abs=EXACT)
    assert np.abs(forces - members.mean(axis=0)).max() < EXACT


# --- pressure -----------------------------------------------------------------------------------


def test_pressure_is_the_energy_change_with_the_cell(simulate, read_thermo):
    """Each strain component against central differences of the energy, the box really changed."""
    strain = 1e-4
    cell = small_cell().cell.array
    lx, ly, lz, xy, xz, yz = *cell.diagonal(), cell[1, 0], cell[2, 0], cell[2, 1]
    # what the strain of one component changes in the box of LAMMPS, per unit of strain
    changes = {
        "x": {"x": lx, "xy": xy, "xz": xz},
        "y": {"y": ly, "yz": yz},
        "z": {"z": lz},
        "xy": {"xy": ly, "xz": yz},
        "xz": {"xz": lz},
        "yz": {"yz": lz},
    }
    commands = "run 0\n"
    for parts in changes.values():
        for step in (strain, -2 * strain, strain):  # there, to the other side, and back
            words = ""
            for name, length in parts.items():
                ends = f"{-step * length / 2:.17g} {step * length / 2:.17g}"
                words += f" {name} delta {ends if len(name) == 1 else f'{step * length:.17g}'}"
            commands += f"change_box all{words} remap\nrun 0\n"
    tables = read_thermo(simulate(commands, atoms=small_cell(), model="double").stdout)
    energies = np.array([table["PotEng"][0] for table in tables])
    pressure = virial({name: values[0] for name, values in tables[0].items()})
    assert np.abs(pressure).max() > 1000.0
    for k, name in enumerate(changes):
        higher, lower = energies[1 + 3 * k], energies[2 + 3 * k]
        expected = -(higher - lower) / (2 * strain) / np.linalg.det(cell) * BAR
        assert pressure[k] == pytest.approx(expected, abs=1e-4 * np.abs(pressure).max()), name


def test_virials_of_atoms_add_up_to_the_pressure(measure):
    commands = (
        "compute each all stress/atom NULL pair\ncompute sum all reduce sum c_each[*]\n"
        "thermo_style custom step c_virial[*] c_sum[*]\n"
        "thermo_modify format float %.15g norm no\n"
    )
    row, _ = measure(commands + ONCE, atoms=small_cell())
    total = np.array([row[f"c_sum[{k}]"] for k in range(1, 7)])
    assert np.allclose(-total / small_cell().cell.volume, virial(row), rtol=1e-6, atol=1e-3)


# --- ranks --------------------------------------------------------------------------------------


def test_four_ranks_give_what_one_gives(measure):
    style = "nnp_ensemble force_std yes"
    one, forces = measure(atoms=alkane_box(), style=style)
    for ranks in (2, 4):
        row, others = measure(atoms=alkane_box(), style=style, ranks=ranks)
        assert np.abs(others - forces).max() < 1e-5
        for name in one:
            assert row[name] == pytest.approx(one[name], rel=1e-6, abs=1e-3, nan_ok=True), (
                ranks,
                name,
            )


def test_ranks_without_atoms_change_nothing(measure):
    one, forces = measure(style="nnp_ensemble force_std yes")
    row, others = measure(
        style="nnp_ensemble force_std yes",
        boundary="m m m",
        before="processors 1 1 4",
        after="change_box all z final -40 40",
        ranks=4,
    )
    assert np.abs(others - forces).max() < 1e-6
    for name in ("PotEng", "c_uq[1]", "c_uq[2]", "c_uq[3]"):
        assert row[name] == pytest.approx(one[name], rel=1e-6)


def test_the_example_of_version_1_in_the_documentation_runs(measure, tmp_path, monkeypatch):
    page = (ROOT / "docs" / "model_format.md").read_text()
    _, code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    # torch.jit.script wants source lines, so the example must be a file
    (tmp_path / "export_argon.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        runpy.run_path(str(tmp_path / "export_argon.py"), run_name="export_argon")
    pair = Atoms("Ar2", positions=[(0, 0, 0), (4.0, 0, 0)])
    row, forces = measure(
        atoms=pair, model="argon.pt", elements="Ar", types=("Ar",), boundary="f f f"
    )

    def energy(r, depth):
        x = np.exp(-1.5 * (r - 3.8))
        return depth * (x * x - 2 * x) * (0.5 + 0.5 * np.cos(np.pi * r / 8.0))

    assert row["c_uq[3]"] == pytest.approx(energy(4.0, 0.010), abs=1e-7)
    assert row["c_uq[4]"] == pytest.approx(energy(4.0, 0.012), abs=1e-7)
    slope = (energy(4.001, 0.011) - energy(3.999, 0.011)) / 0.002
    assert forces[0] == pytest.approx([slope, 0, 0], abs=1e-6)
    assert forces[1] == pytest.approx([-slope, 0, 0], abs=1e-6)


def test_an_atom_by_itself_has_its_own_energy(measure):
    far = Atoms("CH", positions=[(0, 0, 0), (30, 0, 0)])
    energies, _ = torchani_members(far, SMALL)
    row, forces = measure(atoms=far, boundary="f f f", ranks=2, model="double")
    assert np.abs(member_energies(row) - energies).max() < EXACT
    assert np.abs(forces).max() == 0.0


# --- dynamics -----------------------------------------------------------------------------------


def test_nve_energy_error_scales_with_the_square_of_the_step(simulate, read_thermo):
    def drift(step):
        result = simulate(
            "velocity all create 300.0 7 dist gaussian\nfix nve all nve\n"
            f"timestep {step}\nthermo 1\nrun {round(0.016 / step)}\n",
            model="double",
        )
        total = read_thermo(result.stdout)[-1]["TotEng"]
        return np.abs(total - total[0]).max()

    coarse, middle, fine = drift(0.0008), drift(0.0004), drift(0.0002)
    assert fine > 1e-9  # above rounding, or there is nothing to scale
    assert coarse / middle == pytest.approx(4.0, rel=0.15)
    assert middle / fine == pytest.approx(4.0, rel=0.15)


def test_two_runs_of_one_input_agree_to_the_last_digit(simulate, tmp_path, read_dump, rounding):
    commands = "velocity all create 300.0 7\nfix nve all nve\ntimestep 0.0005\n" + ONCE.replace(
        "run 0", "run 10"
    )
    frames = []
    for _ in range(2):
        simulate(commands)
        frames.append(read_dump(tmp_path / "forces.dump"))
    assert np.allclose(*frames, rtol=rounding, atol=rounding)


# --- together with other styles -----------------------------------------------------------------

LJ = "pair_coeff * * {name} 0.01 3.0\n"


def test_hybrid_overlay_adds_the_other_style(measure):
    atoms = small_cell()
    alone, forces = measure(atoms=atoms)
    both, sum_forces = measure(
        atoms=atoms,
        style="hybrid/overlay nnp_ensemble lj/cut 5.0",
        name="nnp_ensemble",
        after=LJ.format(name="lj/cut"),
    )
    lj = "pair_style lj/cut 5.0\n" + LJ.format(name="") + "uncompute uq\n"
    lj += "thermo_style custom step pe c_virial[*]\nthermo_modify format float %.15g norm no\n"
    other, lj_forces = measure(lj + ONCE, atoms=atoms)
    assert both["PotEng"] == pytest.approx(alone["PotEng"] + other["PotEng"], abs=1e-4)
    assert np.abs(sum_forces - forces - lj_forces).max() < 1e-5
    assert np.allclose(virial(both), virial(alone) + virial(other), rtol=1e-5, atol=1.0)
    assert both["c_uq[1]"] == pytest.approx(alone["c_uq[1]"], rel=1e-5)


def test_types_mapped_to_null_are_not_seen(measure):
    _, forces = measure(ranks=2)
    with_argon = hexane() + Atoms("Ar2", positions=[(0, 3.5, 0), (0, 0, 3.5)])
    row, others = measure(
        atoms=with_argon,
        types=("H", "C", "Ar"),
        style="hybrid nnp_ensemble zero 5.0",
        name="nnp_ensemble",
        elements="H C NULL",
        after="pair_coeff * 3 zero",
        ranks=2,
    )
    assert np.abs(others[: len(forces)] - forces).max() < 1e-5
    assert np.abs(others[len(forces) :]).max() == 0.0
    energies, _ = torchani_members(hexane(), SMALL)
    assert np.abs(member_energies(row) - energies).max() < 1e-4


def test_real_units_are_metal_units_converted(measure, rounding):
    style = "nnp_ensemble force_std yes"
    metal, forces = measure(atoms=small_cell(), style=style)
    real, real_forces = measure(atoms=small_cell(), style=style, units="real")
    for name in ("PotEng", *(f"c_uq[{k}]" for k in range(1, 6))):
        assert real[name] == pytest.approx(KCAL_PER_MOL * metal[name], rel=max(rounding, 1e-9))
    assert np.allclose(real_forces, KCAL_PER_MOL * forces, rtol=max(rounding, 1e-9))
    # bar in metal, atmospheres in real
    assert np.allclose(virial(real), virial(metal) / 1.01325, rtol=1e-5, atol=1e-2)


# --- what is refused ----------------------------------------------------------------------------


def refusal(result):
    """The one line with LAMMPS's error."""
    lines = [x for x in result.stdout.splitlines() if x.startswith("ERROR")]
    assert len(lines) >= 1, result.stdout + result.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"style": "nnp_ensemble color red"}, "unknown keyword 'color' (expected bias,"),
        ({"style": "nnp_ensemble forces"}, "number of members, got the end of the line"),
        ({"style": "nnp_ensemble forces worst"}, "forces must be mean, best or a member from 1"),
        ({"style": "nnp_ensemble device tpu"}, "device must be auto, cpu, cuda or cuda:N, got"),
        ({"style": "nnp_ensemble engine jax"}, "engine must be auto, native or torchscript, got"),
        ({"style": "nnp_ensemble force_std 1"}, "force_std must be yes or no, got '1'"),
        ({"style": "nnp_ensemble forces 4"}, "forces must be mean, best or a member from 1 to 3"),
        ({"style": "nnp_ensemble forces 0"}, "forces must be mean, best or a member from 1 to 3"),
        ({"model": "nowhere.pt"}, "model file 'nowhere.pt' does not exist or cannot be read"),
        ({"model": "m.safetensors"}, "model file 'm.safetensors': "),
        ({"model": "text.pt"}, "'text.pt': this is not a TorchScript file that this torch can"),
        ({"model": "foreign.pt"}, "'foreign.pt': it is a TorchScript file without alrare.json"),
        ({"model": "version.pt"}, "'version.pt': model metadata: format version 3 is not known"),
        ({"elements": "H"}, "expected 2 elements after '"),
        ({"elements": "H C O"}, "(this box has 2 atom types), got 3: 'H C O'"),
        ({"elements": "H N"}, "element 'N' of atom type 2 is not in"),
        ({"elements": "H NULL", "commands": "run 0"}, "All pair coeffs are not set"),
        ({"before": "newton off"}, "requires newton pair on, got newton off"),
        ({"units": "lj"}, "units must be metal or real, got lj"),
        ({"units": "electron"}, "units must be metal or real, got electron"),
        (
            {"commands": "compute e all pe/atom\ncompute s all reduce sum c_e\n"
             "thermo_style custom step c_s\nrun 0"},
            "energies of single atoms need the native engine",
        ),
        ({"model": "failing.pt"}, "the model failed: "),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_sentence(settings, message, simulate, tmp_path):
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "m.safetensors").write_text("hello")
    write_foreign(tmp_path / "foreign.pt", metadata=None)
    content = json.loads(SMALL.metadata.to_json())
    write_foreign(tmp_path / "version.pt", metadata={**content, "format_version": 3})
    write_foreign(tmp_path / "failing.pt", metadata=content)
    assert message in refusal(simulate(**{"commands": "run 0", **settings}, fails=True))


class Failing(torch.nn.Module):
    """Takes what the contract says and fails."""

    def forward(
        self,
        vec: torch.Tensor,
        edge_i: torch.Tensor,
        edge_j: torch.Tensor,
        species: torch.Tensor,
        n_local: int,
        triples: torch.Tensor,
        weights: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert n_local < 0, "it has a bad day"
        return weights, vec


def write_foreign(path, metadata):
    extra = {} if metadata is None else {METADATA_FILE: json.dumps(metadata)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Failing()), str(path), _extra_files=extra)


def test_a_failure_on_one_rank_ends_all(simulate, tmp_path):
    write_foreign(tmp_path / "failing.pt", json.loads(SMALL.metadata.to_json()))
    result = simulate("run 0", model="failing.pt", ranks=2, fails=True)
    assert "the model failed: " in refusal(result)
    result = simulate("run 0", model="nowhere.pt", ranks=2, fails=True)
    assert refusal(result).count("nowhere.pt") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_cuda_device_that_is_not_there_is_refused(simulate):
    result = simulate("run 0", style="nnp_ensemble device cuda:1", fails=True)
    assert "device cuda:1: this machine, or this build of torch, has no CUDA" in refusal(result)


def test_bonded_neighbors_hidden_by_special_bonds_are_refused(run_lmp, tmp_path, models):
    text = """
units metal
atom_style bond
region box block 0 20 0 20 0 20
create_box 2 box bond/types 1 extra/bond/per/atom 1 extra/special/per/atom 1
create_atoms 2 single 5 5 5
create_atoms 1 single 5 5 6.1
mass * 1.0
bond_style zero
bond_coeff 1
create_bonds single/bond 1 1 2
special_bonds {special}
pair_style nnp_ensemble
pair_coeff * * {model} H C
run 0
"""
    model = models["small"]
    hidden = run_lmp(text.format(special="lj/coul 0 1 1", model=model), cwd=tmp_path)
    assert "special_bonds with a zero factor for 1-2 neighbors" in refusal(hidden)
    seen = run_lmp(text.format(special="lj/coul 1 1 1", model=model), cwd=tmp_path)
    assert seen.returncode == 0, seen.stdout
