"""pair_style labeller: energy, forces and virial are those of a label server, in any run."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from alrare.errors import SimulationError
from alrare.exploration.label_protocol import Peer
from alrare.exploration.label_server import LabelServer
from alrare.exploration.lammps_input import write_data_file
from alrare.labelling.worker import Label
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

BAR = 1.6021765e6  # of LAMMPS, in one eV/Å³
KCAL = 23.060549  # of LAMMPS, in one eV
COLUMNS = "pxx pyy pzz pyz pxz pxy"


class Labels:
    """Labels by an ASE calculator, which remembers what it was asked for."""

    def __init__(self, calculator: Calculator, *, stress: bool = True, fail_at: int = -1) -> None:
        self.calculator, self.stress, self.fail_at = calculator, stress, fail_at
        self.frames: list[Atoms] = []

    def __call__(self, frame: Atoms, step: int) -> Label:
        if step == self.fail_at:
            raise SimulationError("unphysical: two atoms are at one place")
        frame.info["step"] = step
        self.frames.append(frame)
        energy = self.calculator.get_property("energy", frame)
        forces = self.calculator.get_property("forces", frame)
        with_stress = self.stress and frame.pbc.any()
        stress = self.calculator.get_property("stress", frame) if with_stress else None
        return Label(energy, forces, 0.0, stress)


def crystal() -> Atoms:
    """A sheared cell of copper and gold without symmetry, in LAMMPS's orientation."""
    cell = bulk("Cu", "fcc", a=3.7, cubic=True) * (2, 2, 1)
    cell.symbols[1] = "Au"
    cell.rattle(0.05, seed=1)
    cell.set_cell([[7.5, 0, 0], [0.4, 7.3, 0], [-0.3, 0.5, 3.8]], scale_atoms=True)
    return cell


def elements_of(structure: Atoms) -> list[str]:
    return list(dict.fromkeys(structure.get_chemical_symbols()))


def start(structure: Atoms, folder: Path, units: str = "metal", extra: str = "") -> str:
    """Write the data file; return the commands until the potential."""
    write_data_file(folder / "structure.data", structure, elements_of(structure))
    return (
        f"units {units}\natom_style atomic\natom_modify map yes\n"
        f"boundary {'p p p' if structure.pbc.all() else 'm m m'}\n{extra}"
        "read_data structure.data\npair_style labeller ${labeller}\n"
        f"pair_coeff * * {' '.join(elements_of(structure))}\n"
    )


DUMP = "dump forces all custom 1 forces.dump id fx fy fz\ndump_modify forces format float %.15g\n"
MOVE = "velocity all create 300 7 loop all\nfix move all nve\n"


@pytest.fixture
def labelled_run(run_lmp, tmp_path) -> Callable[..., tuple]:
    """Return a function: run an input with a server for a structure; the run and the labels."""

    def run(structure, text, labels=None, *, units="metal", ranks=1, extra="", served=None):
        labels = labels or Labels(EMT() if structure.pbc.all() else LennardJones(sigma=1.2))
        with LabelServer(structure if served is None else served, labels) as server:
            commands = start(structure, tmp_path, units, extra) + text
            arguments = ("-var", "labeller", str(server.socket), "-log", "log.lammps")
            return run_lmp(commands, cwd=tmp_path, ranks=ranks, args=arguments), labels

    return run


def log(folder: Path) -> str:
    return (folder / "log.lammps").read_text()


def refused(run, said: str) -> None:
    """Check that a run ended with one sentence of ours, which says something."""
    assert run.returncode != 0
    (error,) = set(re.findall(r"ERROR.*", run.stdout + run.stderr))
    assert re.search(said, error), error


def test_energy_and_forces_of_a_molecule_are_those_of_the_calculator(
    labelled_run, tmp_path, read_dump, read_thermo
):
    ethane = molecule("C2H6")
    ethane.rattle(0.05, seed=2)
    ethane.positions += 3.0  # its coordinates arrive as they are
    text = f"{DUMP}thermo_style custom step pe press\nthermo_modify format float %.15g\nrun 0\n"
    run, labels = labelled_run(ethane, text)
    assert run.returncode == 0, run.stdout
    np.testing.assert_allclose(labels.frames[0].positions, ethane.positions, atol=1e-12)
    ethane.calc = LennardJones(sigma=1.2)
    (table,) = read_thermo(log(tmp_path))
    assert table["PotEng"][0] == pytest.approx(ethane.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(read_dump(tmp_path / "forces.dump")[0], ethane.get_forces(), 1e-10)


@pytest.mark.parametrize(("units", "energy", "pressure"), [("metal", 1, 1), ("real", KCAL, 1)])
def test_the_pressure_of_a_sheared_cell_is_minus_the_stress(
    labelled_run, tmp_path, read_dump, read_thermo, units, energy, pressure
):
    cell = crystal()
    text = f"{DUMP}thermo_style custom step pe {COLUMNS}\nthermo_modify format float %.15g\nrun 0\n"
    run, _ = labelled_run(cell, text, units=units)
    assert run.returncode == 0, run.stdout
    cell.calc = EMT()
    (table,) = read_thermo(log(tmp_path))
    found = np.array([table[name.capitalize()][0] for name in COLUMNS.split()])
    bar = BAR if units == "metal" else BAR / 1.01325  # real: atmospheres
    np.testing.assert_allclose(found, -bar * cell.get_stress(), rtol=1e-5, atol=1.0)
    assert table["PotEng"][0] == pytest.approx(energy * cell.get_potential_energy(), rel=1e-6)
    forces = read_dump(tmp_path / "forces.dump")[0]
    np.testing.assert_allclose(forces, energy * cell.get_forces(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("ranks", [2, 4])
def test_several_ranks_move_the_atoms_as_one(labelled_run, tmp_path, read_dump, ranks):
    text = f"{MOVE}dump all all custom 20 all.dump id xu yu zu fx fy fz\nrun 20\n"
    frames = []
    for number in (1, ranks):
        run, labels = labelled_run(crystal(), text, ranks=number)
        assert run.returncode == 0, run.stdout
        frames.append((read_dump(tmp_path / "all.dump"), labels.frames[-1].positions))
    np.testing.assert_allclose(frames[1][0], frames[0][0], atol=1e-5)
    np.testing.assert_allclose(frames[1][1], frames[0][1], atol=1e-9)


def test_ranks_without_atoms_take_part(labelled_run, tmp_path, read_thermo):
    ethane = molecule("C2H6")
    text = (
        "change_box all x final -10 400 boundary f f f\n"
        "thermo_style custom step pe\nthermo 1\n" + MOVE + "run 3\n"
    )
    tables = []
    for ranks in (1, 4):
        run, _ = labelled_run(ethane, text, ranks=ranks, extra="processors * 1 1\n")
        assert run.returncode == 0, run.stdout
        tables.append(read_thermo(log(tmp_path))[0]["PotEng"])
    np.testing.assert_allclose(tables[1], tables[0], atol=1e-8)


CHANGING = {
    "deform": "fix change all deform 1 x erate 5.0 xy erate 2.0 remap x\n",
    "nph": "fix change all nph tri 0 0 0.05\n",
}


@pytest.mark.parametrize("name", CHANGING)
def test_every_label_has_the_cell_of_its_step(labelled_run, tmp_path, read_thermo, name):
    move = "" if name == "nph" else "fix move all nve\n"
    text = (
        f"velocity all create 300 7 loop all\n{move}{CHANGING[name]}thermo 1\n"
        f"thermo_style custom step pe lx ly lz xy xz yz ke vol {COLUMNS}\n"
        "thermo_modify format float %.15g\nrun 20\n"
    )
    run, labels = labelled_run(crystal(), text)
    assert run.returncode == 0, run.stdout
    (table,) = read_thermo(log(tmp_path))
    assert [frame.info["step"] for frame in labels.frames] == list(range(21))
    # fix deform changes the box at the end of a step, before its line of output
    late = 1 if name == "deform" else 0
    for row, frame in enumerate(labels.frames[late:]):
        of_lammps = [table[key][row] for key in ("Lx", "Ly", "Lz", "Xy", "Xz", "Yz")]
        cell = frame.cell.array
        ours = [*np.diag(cell), cell[1, 0], cell[2, 0], cell[2, 1]]
        np.testing.assert_allclose(of_lammps, ours, atol=1e-12)
    for row, frame in enumerate(labels.frames):
        frame.calc = EMT()
        assert table["PotEng"][row] == pytest.approx(frame.get_potential_energy(), abs=1e-9)
        trace = sum(table[key][row] for key in ("Pxx", "Pyy", "Pzz")) / BAR
        virial = trace * table["Volume"][row] - 2 * table["KinEng"][row]
        expected = -frame.get_stress()[:3].sum() * frame.get_volume()
        assert virial == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert len({frame.cell.array[0, 0] for frame in labels.frames}) > 19


def test_a_cell_is_relaxed_to_no_pressure(labelled_run, tmp_path, read_thermo):
    text = (
        "fix box all box/relax iso 0.0 vmax 0.005\nmin_style cg\n"
        "thermo_style custom step pe press\nthermo_modify format float %.12g\n"
        "minimize 0 1e-6 100 400\n"
    )
    smooth = Labels(LennardJones(sigma=2.3, epsilon=0.3, rc=6.0, smooth=True))
    run, _ = labelled_run(crystal(), text, smooth)
    assert run.returncode == 0, run.stdout
    (table,) = read_thermo(log(tmp_path))
    assert abs(table["Press"][0]) > 1e4
    assert abs(table["Press"][-1]) < 1e-3 * abs(table["Press"][0])
    assert table["PotEng"][-1] < table["PotEng"][0]


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("compute", ["pe/atom", "stress/atom NULL", "centroid/stress/atom NULL"])
def test_energies_and_virials_of_single_atoms_are_refused(labelled_run, compute, ranks):
    run, _ = labelled_run(crystal(), f"compute c all {compute}\nrun 0\n", ranks=ranks)
    refused(run, "a labeller gives no energy or virial of single atoms")


def test_a_labeller_without_stress_gives_no_pressure_and_says_so(
    labelled_run, tmp_path, read_thermo
):
    silent = Labels(EMT(), stress=False)
    moving = f"{MOVE}thermo 5\n"
    deform = "fix deform all deform 1 x erate 1.0 remap x\n"
    text = f"{moving}{deform}thermo_style custom step pe press\nrun 10\n"
    run, _ = labelled_run(crystal(), text, silent)
    assert run.returncode == 0, run.stdout
    assert run.stdout.count("gives no stress, so the pressure of this run is nan") == 1
    assert np.isnan(read_thermo(log(tmp_path))[0]["Press"]).all()
    for fix in ("nph iso 0 0 0.1", "box/relax iso 0"):
        text = f"{moving}fix steer all {fix}\n"
        end = "minimize 0 1e-3 9 9\n" if "relax" in fix else "run 10\n"
        run, _ = labelled_run(crystal(), text + end, silent)
        refused(run, f"the labeller gives no stress, which fix steer .{fix.split()[0]}. needs")


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_label_that_fails_ends_the_run_with_its_reason(labelled_run, ranks):
    run, labels = labelled_run(crystal(), f"{MOVE}run 10\n", Labels(EMT(), fail_at=3), ranks=ranks)
    refused(run, "pair_style labeller: unphysical: two atoms are at one place")
    assert len(labels.frames) == 3


@contextlib.contextmanager
def dying_server(path: Path, labels: int) -> Iterator[None]:
    """A server that closes its connection after some labels, as a killed process does."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            peer = Peer(connection)
            peer.receive()
            peer.begin()
            for _ in range(labels):
                n_atoms = len(peer.receive().positions)
                peer.answer(0.0, np.zeros((n_atoms, 3)), None)
            peer.receive()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("labels", [0, 4])
def test_a_server_that_dies_ends_the_run(run_lmp, tmp_path, labels, ranks):
    path = tmp_path / "s"
    commands = start(molecule("C2H6"), tmp_path) + f"{MOVE}run 10\n"
    with dying_server(path, labels):
        run = run_lmp(commands, cwd=tmp_path, ranks=ranks, args=("-var", "labeller", str(path)))
    refused(run, "the label server at '.*' is gone")


MISTAKES = {
    "missing socket": ("pair_style labeller nowhere\nrun 0\n", "listens at 'nowhere': No such"),
    "long path": (f"pair_style labeller {'x' * 120}\nrun 0\n", "at most 107 characters"),
    "no path": ("pair_style labeller\n", "expected the path of a label server's socket"),
    "elements": ("pair_coeff * * C\n", "one element for each of the 2 atom types"),
    "null": ("pair_coeff * * C NULL\n", "expected the symbol of an element for type 2"),
    "exchanged": ("pair_coeff * * H C\nrun 0\n", "atom 1: expected C, as in the structure, got H"),
    "ids": ("group one id 1\ndelete_atoms group one compress no\nrun 0\n", "the atom IDs 1 to 7"),
    "fewer": ("group one id 8\ndelete_atoms group one\nrun 0\n", "expected the 8 atoms"),
    "exclude": ("neigh_modify exclude type 1 1\nrun 0\n", "neigh_modify exclude has no meaning"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_input_gets_one_sentence(labelled_run, mistake):
    text, said = MISTAKES[mistake]
    run, _ = labelled_run(molecule("C2H6"), text)
    refused(run, said)


def test_units_other_than_metal_and_real_are_refused(labelled_run):
    run, _ = labelled_run(molecule("C2H6"), "run 0\n", units="lj")
    refused(run, "pair_style labeller: units must be metal or real, got lj")


def test_other_periodic_directions_than_those_of_the_structure_are_refused(labelled_run):
    flat = crystal()
    flat.pbc = [True, True, False]
    run, _ = labelled_run(crystal(), "run 0\n", served=flat)
    refused(run, "expected the periodic directions of the structure, xy, got xyz")


def test_masses_of_another_element_are_named(labelled_run):
    run, _ = labelled_run(molecule("C2H6"), "mass 1 1.008\nrun 0\n")
    assert "pair_style labeller: atom type 1 is C by its pair_coeff, but its mass" in run.stdout


def test_a_second_lammps_and_a_style_given_again_are_served(labelled_run):
    again = "pair_style labeller ${labeller}\npair_coeff * * C H\n"
    run, labels = labelled_run(molecule("C2H6"), f"run 0\n{again}run 0\n")
    assert run.returncode == 0, run.stdout
    assert len(labels.frames) == 2


def test_unwrapped_positions_do_not_jump_when_an_atom_leaves_the_cell(labelled_run):
    cell = crystal()
    text = "velocity all set 200 0 0\nfix move all nve\nneigh_modify every 1 delay 0\nrun 60\n"
    _, labels = labelled_run(cell, text)
    steps = np.diff([frame.positions[:, 0] for frame in labels.frames], axis=0)
    assert labels.frames[-1].positions[:, 0].max() > 2 * cell.cell[0, 0]
    assert np.abs(steps).max() < 1.0
