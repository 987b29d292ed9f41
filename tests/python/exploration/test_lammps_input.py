import numpy as np
import pytest
from alrare.config import Pull
from alrare.errors import AlrareError, SimulationError
from alrare.exploration.lammps_input import (
    DATA_FILE,
    INPUT_FILE,
    md_input,
    pull_input,
    write_data_file,
)
from alrare.exploration.lammps_run import lammps_command, run_lammps
from alrare.exploration.work import read_work
from ase import Atoms
from ase.build import molecule
from ase.units import kB

MORSE = """
pair_style morse 5.0
pair_coeff * * 0.1 1.5 2.0
pair_coeff 2 2 4.0 1.8 1.5
pair_coeff 1 2 4.0 1.8 1.1
"""
PULL = Pull(atoms=(1, 2), relax_steps=100, steps=300)


def run(folder, lmp, structure=None, on_step=lambda done: None, **arguments):
    structure = molecule("C2H6") if structure is None else structure
    write_data_file(folder / DATA_FILE, structure, ["H", "C"])
    settings = {"potential": MORSE, "pull": PULL, "seed": 1, "timestep": 0.5} | arguments
    (folder / INPUT_FILE).write_text(pull_input(**settings))
    run_lammps(lammps_command(lmp, 1), folder=folder, on_step=on_step)
    return read_work(folder / "work.dat")


@pytest.mark.parametrize("thermostat", ["berendsen", "langevin"])
def test_the_work_is_the_integral_of_the_spring_force(tmp_path, lmp, thermostat):
    pull = PULL.model_copy(update={"thermostat": thermostat, "rate": 4.0, "spring": 20.0})
    curve = run(tmp_path, lmp, pull=pull)
    moved = 4.0 * 0.5e-3  # Å a step
    np.testing.assert_allclose(curve.work, np.cumsum(curve.force) * moved, atol=1e-9)
    assert curve.work[-1] > 0.05
    # LAMMPS leaves the spring slack within 0.001 Å of its target.
    expected = 20.0 * (curve.target - curve.distance)
    assert np.abs(curve.force - expected).max() < 20.0 * 0.001 + 1e-6
    taut = np.abs(curve.target - curve.distance) > 0.0011
    np.testing.assert_allclose(curve.force[taut], expected[taut], atol=1e-6)


def test_the_target_starts_at_the_distance_and_moves_at_the_rate(tmp_path, lmp):
    curve = run(tmp_path, lmp)
    np.testing.assert_array_equal(curve.step, np.arange(301))
    assert curve.target[0] == pytest.approx(curve.distance[0], abs=1e-9)
    np.testing.assert_allclose(np.diff(curve.target), 0.5e-3, atol=1e-9)


def test_a_seed_gives_the_same_pull_again_and_another_a_different_one(tmp_path, lmp):
    pull = PULL.model_copy(update={"thermostat": "langevin"})
    curves = []
    for n, seed in enumerate((1, 1, 2)):
        (tmp_path / str(n)).mkdir()
        curves.append(run(tmp_path / str(n), lmp, pull=pull, seed=seed))
    np.testing.assert_array_equal(curves[0].distance, curves[1].distance)
    assert np.abs(curves[0].distance - curves[2].distance).max() > 1e-4


def test_watchers_and_their_columns_are_part_of_the_pull(tmp_path, lmp):
    curve = run(
        tmp_path,
        lmp,
        potential=MORSE + "compute uq all pair morse",
        columns={"energy_std/eV": "c_uq"},
        watch='fix watch all print 100 "at ${d}" file d.txt screen no title "distance"',
    )
    assert curve.energy_std is not None
    np.testing.assert_allclose(curve.energy_std, curve.potential_energy, rtol=1e-6)
    assert (tmp_path / "d.txt").read_text().count("at ") == 4


def test_progress_counts_both_runs(tmp_path, lmp):
    steps = []
    run(tmp_path, lmp, on_step=steps.append)
    assert steps == sorted(steps)
    assert steps[-1] == 400


def test_a_structure_that_blows_up_ends_with_a_clear_message(tmp_path, lmp):
    collided = Atoms("CH", [[0, 0, 0], [0.05, 0, 0]])
    potential = "pair_style lj/cut 5.0\npair_coeff * * 5.0 3.0"
    with pytest.raises(SimulationError, match="blew up"):
        run(tmp_path, lmp, structure=collided, potential=potential)


def test_fragments_may_fly_away_without_a_lost_atom(tmp_path, lmp):
    flying = Atoms("CHH", [[0, 0, 0], [1.1, 0, 0], [150, 80, 0]])
    curve = run(tmp_path, lmp, structure=flying, pull=PULL.model_copy(update={"temperature": 5e3}))
    assert curve.step[-1] == 300


def test_lammps_own_error_reaches_the_reader(tmp_path, lmp):
    with pytest.raises(SimulationError, match=r"Unrecognized pair style 'nonsense'.*alrare check"):
        run(tmp_path, lmp, potential="pair_style nonsense")


def test_a_missing_lammps_is_named(tmp_path):
    with pytest.raises(SimulationError, match=r"no-lmp: no such program.*\[run\]"):
        run(tmp_path, "no-lmp")


def test_an_interrupted_run_leaves_no_process(tmp_path, has_ended):
    fake = tmp_path / "lmp"
    fake.write_text(
        "#!/bin/sh\nsleep 3600 &\necho $$ $! > pids\n"
        'echo "   Step          Temp"\necho "0 10"\nwait\n'
    )
    fake.chmod(0o755)

    def interrupt(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, str(fake), on_step=interrupt)
    assert all(has_ended(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_several_ranks_go_through_mpiexec():
    first, *rest = lammps_command("/opt/lmp", 4)
    assert first.endswith("mpiexec")
    assert rest == ["-n", "4", "/opt/lmp"]


def test_a_cell_is_written_as_lammps_wants_it(tmp_path):
    cell = [[10, 0, 0], [1, 9, 0], [2, 3, 8]]
    write_data_file(tmp_path / "data", Atoms("CH4", np.eye(5, 3), cell=cell, pbc=True), ["H", "C"])
    text = (tmp_path / "data").read_text()
    assert "0 9 ylo yhi" in text
    assert "1 2 3 xy xz yz" in text
    with pytest.raises(AlrareError, match="lower triangular"):
        turned = Atoms("C", cell=np.array(cell).T, pbc=True)
        write_data_file(tmp_path / "data", turned, ["C"])
    with pytest.raises(AlrareError, match="CO: element O is unknown to a model of H, C"):
        write_data_file(tmp_path / "data", Atoms("CO"), ["H", "C"])


def test_md_and_pull_share_no_noise_and_keep_the_temperature():
    text = md_input(
        potential=MORSE,
        temperature=500,
        damping_time=0.1,
        seed=1,
        timestep=0.5,
        equilibration_steps=10,
        steps=20,
    )
    assert "langevin 500 500 0.1" in text
    assert "timestep 0.0005" in text
    assert "run 10\nreset_timestep 0\nrun 20\n" in text


def test_atoms_of_different_mass_have_the_same_temperature(tmp_path, lmp):
    """Equipartition: three fourths of the kinetic energy of a free CH3 belong to its hydrogens."""
    write_data_file(tmp_path / DATA_FILE, Atoms("CH3", np.eye(4, 3) * 3), ["H", "C"])
    watch = """
pair_style zero 1.0
pair_coeff * *
group hydrogens type 1
compute kinetic all ke/atom
variable hydrogens atom c_kinetic*gmask(hydrogens)
compute hydrogens all reduce sum v_hydrogens
compute all_atoms all reduce sum c_kinetic
fix mean all ave/time 10 15000 150000 c_hydrogens c_all_atoms file kinetic.dat
"""
    text = md_input(
        potential=watch, temperature=300.0, damping_time=0.01, seed=1, timestep=0.5,
        equilibration_steps=1000, steps=150_000,
    )  # fmt: skip
    text = text.replace("reset_timestep 0\n", "")  # which an average over time forbids
    (tmp_path / INPUT_FILE).write_text(text)
    run_lammps(lammps_command(lmp, 1), folder=tmp_path)
    _, hydrogens, everything = np.loadtxt(tmp_path / "kinetic.dat", ndmin=2)[-1]
    assert hydrogens / everything == pytest.approx(0.75, abs=0.02)
    assert everything == pytest.approx(4 * 1.5 * kB * 300.0, rel=0.05)
