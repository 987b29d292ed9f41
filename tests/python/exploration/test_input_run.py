"""`[[explore]]`: the contract of an input, the files of a run, the observable of its table."""

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alrare.config import Config, Explore, Pull, Select, parse_config
from alrare.errors import ConfigError, SimulationError
from alrare.exploration.exploration import Exploration, SpringPull
from alrare.exploration.input_run import InputRun, observe_table
from alrare.exploration.lammps_run import find_program
from alrare.exploration.load_input import load_input
from alrare.exploration.observables import read_trajectory
from alrare.exploration.table import read_table
from alrare.exploration.try_input import try_exploration
from ase import Atoms
from ase.build import bulk, molecule
from ase.units import GPa, kB

INPUT = """\
include system.lmp
include potential.lmp
velocity all create ${temperature} ${seed}
fix move all nve
run 5
reset_timestep 0
variable height equal lz
include watch.lmp
fix tear top move linear 0 0 ${rate}
run 20
"""
OBSERVABLE = {"name": "final height", "value": "last(height)", "tolerance": 0.1, "unit": "Å"}


def explore(folder: Path, text: str = INPUT, **given: Any) -> Explore:
    (folder / "in.tear").write_text(text)
    values: dict[str, Any] = {
        "input": folder / "in.tear",
        "columns": {"height": "v_height"},
        "observable": OBSERVABLE,
        "variables": {"temperature": 50.0, "rate": 0.5},
    }
    return Explore(**(values | given))


def load(folder: Path, text: str = INPUT, **given: Any) -> InputRun:
    groups = {"top": (1, 2)}
    return load_input(explore(folder, text, **given), groups, n_atoms=8, min_distance=0.5)


CONTRACT = [
    (INPUT.replace("include watch.lmp\n", ""), "`include watch.lmp` is missing"),
    (INPUT.replace("include system.lmp\n", "#include system.lmp\n"), "`include system.lmp` is mi"),
    (
        INPUT.replace("include potential.lmp\n", "") + "include potential.lmp\n",
        "`include watch.lmp` in this order",
    ),
    (INPUT + "clear\n", "`clear`: the forces come from"),
    (INPUT + "pair_style lj/cut 5\n", "`pair_style`: the forces come from"),
    ("units real\n" + INPUT, "expected `units metal`, got `units real`"),
    ("variable rate index 3\n" + INPUT, "`variable rate` stands before `include system.lmp`"),
    ("variable seed index 3\n" + INPUT, "`variable seed` stands before `include system.lmp`"),
    (INPUT + "reset_timestep 0\n", "`reset_timestep` stands after `include watch.lmp`"),
    (INPUT.replace("run 20", ""), "expected a `run` after `include watch.lmp`"),
    (INPUT + "unfix table\n", "`unfix table`: alrare's own files use this name"),
    ("compute uq all temp\n" + INPUT, "`compute uq`: alrare's own files use this name"),
    (INPUT + "if 1 then 'pair_style zero 5.0'\n", "`pair_style`: the forces come from"),
]


@pytest.mark.parametrize(("text", "message"), CONTRACT)
def test_an_input_that_breaks_the_contract_is_told_how(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load(tmp_path, text)
    assert "in.tear" in str(caught.value) and len(str(caught.value)) <= 300


def test_files_variables_and_groups_are_checked_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"variables\.rat: in\.tear uses no \$\{rat\}"):
        load(tmp_path, variables={"rat": 1})
    with pytest.raises(ConfigError, match=r"variables\.seed: alrare sets this one"):
        load(tmp_path, variables={"seed": 1})
    with pytest.raises(ConfigError, match=r"files = .*cannot be read"):
        load(tmp_path, files=[tmp_path / "none"])
    for taken in ("watch.lmp", "settings.json", "table.dat", "in.trial"):
        (tmp_path / taken).write_text("")
        with pytest.raises(ConfigError, match=rf"{taken}: this name is taken"):
            load(tmp_path, files=[tmp_path / taken])
    with pytest.raises(ConfigError, match=r"variables\.zz: in\.tear uses no"):
        load(tmp_path, INPUT + "# ${zz}\n", variables={"zz": 1})
    with pytest.raises(ConfigError, match=r"groups\.top: expected atoms of the 8 .*got 9"):
        load_input(explore(tmp_path), {"top": (9,)}, n_atoms=8, min_distance=0.5)
    with pytest.raises(ConfigError, match=r"input = .*cannot be read"):
        load_input(Explore(input="in.none", observable=OBSERVABLE | {"value": "max(step)"}), {},
                   n_atoms=8, min_distance=0.5)  # fmt: skip


def test_model_and_labeller_run_the_same_input(tmp_path: Path) -> None:
    (tmp_path / "more").write_text("numbers\n")
    run = load(tmp_path, files=[tmp_path / "more"], cv="height", cv_gap=0.2)
    given: dict[str, Any] = {"seed": 7, "timestep": 0.5}
    model = run.files(
        bulk("Cu", cubic=True) * (2, 1, 1), ["Cu"], potential="pair_style a\ncompute uq all b",
        select=Select(), by_model=True, **given,
    )  # fmt: skip
    labeller = run.files(
        bulk("Cu", cubic=True) * (2, 1, 1), ["Cu"], potential="pair_style c", select=None,
        by_model=False, **given,
    )  # fmt: skip
    assert run.main == "in.tear" and model["in.tear"] == INPUT and model["more"] == "numbers\n"
    same = ("in.tear", "more", "structure.data", "system.lmp")
    assert [model[name] for name in same] == [labeller[name] for name in same]
    assert "group top id 1 2" in model["system.lmp"]
    assert "variable rate index 0.5" in model["system.lmp"]
    assert "boundary p p p" in model["system.lmp"]
    assert "variable al_cv equal v_height" in model["watch.lmp"]
    assert " cv v_al_cv 0.2 " in model["watch.lmp"]
    assert "al_select" not in labeller["watch.lmp"] and "c_uq" not in labeller["watch.lmp"]


def test_a_column_that_every_table_has_may_be_the_collective_variable(tmp_path: Path) -> None:
    crystal = bulk("Cu", cubic=True) * (2, 1, 1)
    for name, value in (("temperature", "c_thermo_temp"), ("step", "step")):
        files = load(tmp_path, cv=name).files(
            crystal, ["Cu"], seed=1, timestep=0.5, potential="", select=Select(), by_model=True
        )
        assert f"variable al_cv equal {value}\n" in files["watch.lmp"]


def test_comments_of_a_file_beside_the_input_are_no_commands(tmp_path: Path) -> None:
    (tmp_path / "more").write_text("# no pair_style here, and no\n# clear\n")
    assert load(tmp_path, files=[tmp_path / "more"]).main == "in.tear"


def table_of(**columns: Any) -> dict[str, np.ndarray[Any, Any]]:
    n = len(next(iter(columns.values())))
    always = {"step": np.arange(n) * 10.0, "potential_energy": np.linspace(-5, -1, n)}
    return always | {name: np.asarray(values, dtype=float) for name, values in columns.items()}


STRESS = [0, 1, 2, 3, 4, 3, 2, 9, 0, 0]


@pytest.mark.parametrize(
    ("event", "value", "plus_steps", "expected", "event_step", "peak_step"),
    [
        ("none", "max(stress)", 0, 9.0, None, 70),
        ("strain > 0.35", "max(stress)", 10, 4.0, 40, 40),
        ("strain > 0.35", "max(stress)", 30, 9.0, 40, 70),
        ("strain>3.5e-1", "event(stress)", 0, 4.0, 40, 40),
        ("strain > 9", "max(stress)", 0, None, None, 70),
        ("strain > 9", "last(stress)", 0, 0.0, None, 90),
        ("none", "last(strain)", 0, 0.9, None, 90),
        ("none", "mean(stress)", 0, 2.4, None, 90),
        ("strain < 0.05", "min(stress)", 10, 0.0, 0, 0),
        ("max(stress)", "event(strain)", 0, 0.7, 70, 70),
        ("min(stress)", "event(step)", 0, 0.0, 0, 0),
    ],
)
def test_the_observable_follows_the_table_and_the_event(
    event: str, value: str, plus_steps: int, expected: float | None, event_step: int | None,
    peak_step: int,
) -> None:  # fmt: skip
    given = Explore(
        input="in.own",
        columns={"stress": "v_stress", "strain": "v_strain"},
        cv="strain",
        event=event,
        observable={"name": "a b", "value": value, "tolerance": 1, "plus_steps": plus_steps},
    )
    seen = observe_table(given, table_of(stress=STRESS, strain=np.arange(10) / 10), [])
    assert seen.value == (None if expected is None else pytest.approx(expected))
    assert (seen.event_step, seen.peak_step) == (event_step, peak_step)
    assert seen.to_json()["a_b"] == seen.value
    assert seen.cv == pytest.approx(peak_step / 100)


def test_a_bond_that_breaks_ends_the_observable_of_a_run() -> None:
    frames = []
    for step in range(0, 100, 10):
        frame = molecule("H2")
        frame.positions[0, 2] += 0.01 * step
        frame.info["step"] = step
        frames.append(frame)
    given = Explore(
        input="in.own",
        columns={"stress": "v_stress"},
        observable={"name": "a", "value": "max(stress)", "tolerance": 1, "plus_steps": 10},
    )
    seen = observe_table(given, table_of(stress=STRESS), frames)
    assert seen.event is not None and (seen.event.kind, seen.event_step) == ("broken", 40)
    assert (seen.value, seen.peak_step) == (4.0, 40)
    assert seen.peak_energy == pytest.approx(4.0 * 5 / 9)


def test_only_the_shipped_pull_has_a_spring_that_goes_slack() -> None:
    observable = {"name": "a", "value": "max(step)", "tolerance": 1, "plus_steps": "slack"}
    for name in ("in.own", "stretch", "colvars"):
        with pytest.raises(ConfigError, match='"slack" is for the input "pull"'):
            Explore(input=name, observable=observable)


def test_a_constant_force_has_no_spring_that_goes_slack() -> None:
    assert Explore(input="pull", variables={"tension": 0}).observable.plus_steps == "slack"
    forced = Explore(input="pull", variables={"tension": "0.4"}, observable={"tolerance": 0.1})
    assert forced.observable.plus_steps == 200
    with pytest.raises(ConfigError, match=r"tension .* is a constant force"):
        Explore(input="pull", variables={"tension": 0.4}, observable={"plus_steps": "slack"})
    with pytest.raises(ConfigError, match=r"columns\.force: the spring"):
        Explore(input="pull", columns={"force": "v_own"})


@pytest.mark.parametrize(
    ("value", "steps", "cut_off"),
    [
        ("max(work)", 300, True),  # the spring still pulls where the run ends
        ("max(force)", 300, False),  # its largest value lies before
        ("min(work)", 300, False),
        ("mean(work)", 300, True),
        ("max(distance)", 300, True),
        ("max(work)", 900, False),
        ("mean(work)", 900, False),
    ],
)
def test_what_a_spring_that_still_pulls_may_change_is_cut_off(
    value: str, steps: int, cut_off: bool
) -> None:
    step = np.arange(float(steps))
    force = np.where(step < 500, 1.0, 0.01) + (step == 120)
    table = {
        "step": step, "potential_energy": step, "distance": step, "force": force,
        "work": np.cumsum(force),
    }  # fmt: skip
    given = Explore(
        input="pull",
        event="distance > 100",
        observable={"name": "a", "value": value, "tolerance": 1.0},
    )
    assert observe_table(given, table, []).cut_off is cut_off


def test_a_pull_by_the_labeller_need_not_go_on_when_it_is_decided(tmp_path: Path) -> None:
    def table(steps: int) -> Path:
        path = tmp_path / "table.dat"
        rows = (f"{k} {k} {1.0 if k < 500 else 0.01} {0.001 * k} 0 10\n" for k in range(steps))
        path.write_text("# step distance force work potential_energy/eV temperature/K\n")
        with path.open("a") as stream:
            stream.writelines(rows)
        return path

    def pull(value: str = "max(work)", **observable: Any) -> Exploration:
        own = {"name": "a", "tolerance": 1.0, "value": value, **observable}
        given = Explore(input="pull", variables={"steps": 2000}, observable=own)
        return load_input(given, GROUPS, n_atoms=3, min_distance=0.1)

    # slack at 637 (of 150 steps 13 are of 1), and 75 fs more
    assert not pull().is_decided(table(780), 400) and pull().is_decided(table(800), 400)
    assert not pull("last(work)").is_decided(table(800), 400)
    assert not pull(plus_steps="all").is_decided(table(800), 400)
    assert pull(plus_steps=100).is_decided(table(660), 400)
    assert pull().unfinished({"step": 799.0}) == "after 799 of 2000 steps"
    assert pull().unfinished({"step": 2000.0}) == ""


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"along": "w"}, "variables.along: expected line, x, y or z, got w"),
        ({"first": "head", "second": "head"}, "expected two groups .* got head twice"),
        ({"tension": "two"}, "variables.tension: expected a number, got two"),
        ({"spring": -10}, "variables.spring: expected a number of at least 0, got -10"),
        ({"steps": 0}, "variables.steps: expected a number of at least 1, got 0"),
    ],
)
def test_variables_of_the_shipped_pull_are_checked(variables: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_input(Explore(input="pull", variables=variables), GROUPS, n_atoms=3, min_distance=0.1)


def test_a_value_of_ones_own_has_no_name_of_another() -> None:
    with pytest.raises(ConfigError, match="name"):
        Explore(input="pull", observable={"value": "last(work)"})
    given = {"value": "last(work)", "name": "final work", "tolerance": 0.1}
    assert Explore(input="pull", observable=given).observable.unit == ""
    assert Explore(input="pull", observable={"tolerance": 0.1}).observable.name == "maximum work"


def test_a_run_at_nan_is_refused() -> None:
    given = Explore(
        input="in.own",
        columns={"stress": "v_stress"},
        event="none",
        observable={"name": "a", "value": "max(stress)", "tolerance": 1},
    )
    with pytest.raises(SimulationError, match="column stress: expected finite numbers"):
        observe_table(given, table_of(stress=[np.nan] * 3), [])


@pytest.mark.parametrize(
    ("event", "value", "stress", "expected"),
    [
        ("max(stress)", "last(strain)", [np.nan] * 3, 0.2),  # no event; last needs none
        ("none", "last(stress)", [1, 2, np.nan], None),
        ("none", "max(stress)", [1, 2, np.inf], 2.0),
        ("strain > 0.15", "event(stress)", [1, 2, np.nan], None),
    ],
)
def test_what_is_no_number_is_no_observable(
    event: str, value: str, stress: list[float], expected: float | None
) -> None:
    given = Explore(
        input="in.own",
        columns={"stress": "v_stress", "strain": "v_strain"},
        event=event,
        observable={"name": "a", "value": value, "tolerance": 1},
    )
    seen = observe_table(given, table_of(stress=stress, strain=[0, 0.1, 0.2]), [])
    assert seen.value == expected
    columns = given.columns | {"height": "v_height"}
    nowhere = Explore(**given.model_dump() | {"columns": columns, "cv": "height"})
    table = table_of(stress=stress, strain=[0, 0.1, 0.2], height=[np.nan] * 3)
    seen = observe_table(nowhere, table, [])
    assert seen.cv is None  # null in results.json, which has no NaN
    with pytest.raises(SimulationError, match="column potential_energy"):
        nan = {"potential_energy": np.full(3, np.nan)}
        observe_table(given, table_of(stress=[1, 2, 3], strain=[0, 0.1, 0.2]) | nan, [])


def test_the_step_where_a_run_ends_and_the_next_begins_counts_once(tmp_path: Path) -> None:
    (tmp_path / "table.dat").write_text("# step p/eV\n0 0\n1 3\n1 3\n2 0\n2")
    table = read_table(tmp_path / "table.dat")
    assert table["step"].tolist() == [0, 1, 2] and table["p"].mean() == 1.0


def test_a_table_without_a_header_or_a_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.dat"
    for text, message in (
        ("# step a\n1 2 3\n", "expected 2 columns, got 3"),
        ("# step a\n", "no step"),
        ("# step a\n\n1 2", "no step"),
        ("1 2\n", "expected a header"),
        ("# step a\n1 x\n", "expected 2 numbers a row"),
        ("# step a\n1 2\n3\n", "expected 2 numbers a row"),
    ):
        path.write_text(text)
        with pytest.raises(SimulationError, match=message):
            read_table(path)


def config(explore: Explore) -> Config:
    values = explore.model_dump(exclude_none=True)
    content = {"name": "a", "structure": "a.xyz", "explore": [values], "groups": {"top": [1, 2]}}
    return parse_config(content, folder=Path("/"), source="al.toml")


def test_lammps_reads_an_input_before_the_labeller_runs_it(tmp_path: Path, lmp: str) -> None:
    crystal = bulk("Cu", cubic=True) * (2, 1, 1)

    def attempt(text: str, **given: Any) -> None:
        run = load(tmp_path, text, **given)
        try_exploration(run, crystal, ["Cu"], config(run.explore))

    attempt(INPUT)
    with pytest.raises(ConfigError, match=r"in\.tear: LAMMPS refuses it: .*ungroup"):
        attempt(INPUT + "ungroup top\n")
    with pytest.raises(ConfigError, match=r"Invalid variable reference v_heigt"):
        attempt(INPUT, columns={"height": "v_heigt"})
    with pytest.raises(ConfigError, match=r"Could not find fix group ID|nowhere"):
        attempt(INPUT.replace("tear top", "tear nowhere"))
    with pytest.raises(ConfigError, match=r"expected the 8 atoms of the structure, got 16"):
        attempt(INPUT.replace("include potential.lmp", "replicate 1 1 2\ninclude potential.lmp"))
    with pytest.raises(ConfigError, match=r"without a step after `include watch\.lmp`"):
        attempt(INPUT.replace("include watch.lmp", "quit\ninclude watch.lmp"))


@pytest.mark.parametrize("name", ["md", "stretch"])
def test_shipped_inputs_are_read_by_lammps(tmp_path: Path, name: str, lmp: str) -> None:
    observable = {"name": "x", "value": "max(step)", "tolerance": 1.0}
    given = Explore(input=name, observable=observable)
    run = load_input(given, {}, n_atoms=8, min_distance=0.5)
    assert not isinstance(run, SpringPull) and run.main == f"in.{name}"
    try_exploration(run, bulk("Cu", cubic=True) * (2, 1, 1), ["Cu"], config(given))


POTENTIAL = "pair_style lj/cut 5.0\npair_coeff * * 0.1 2.3\npair_modify shift yes"


def test_the_stress_of_the_stretch_is_the_slope_of_the_energy(tmp_path: Path, lmp: str) -> None:
    crystal = bulk("Cu", a=3.63, cubic=True) * (3, 3, 3)
    given = Explore(
        input="stretch",
        variables={"rate": 1.0, "relax_steps": 0, "steps": 200, "temperature": 1e-6},
        observable={"tolerance": 1.0},
    )
    run = load_input(given, {}, n_atoms=len(crystal), min_distance=0.5)
    files = run.files(
        crystal, ["Cu"], seed=1, timestep=1.0, potential=POTENTIAL, select=None, by_model=False
    )
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    command = [find_program(lmp), "-in", run.main, "-screen", "none"]
    subprocess.run(command, cwd=tmp_path, check=True)
    table = read_table(tmp_path / "table.dat")
    strain, stress = table["strain"], table["stress"]
    work = np.concatenate([[0], np.cumsum(np.diff(strain) * (stress[1:] + stress[:-1]) / 2)])
    done = work * GPa * crystal.get_volume()
    change = table["potential_energy"] - table["potential_energy"][0]
    assert strain[-1] == pytest.approx(0.2, abs=2e-3)
    assert change[-1] > 1.0
    np.testing.assert_allclose(done, change, atol=0.01 * change[-1])
    frames = read_trajectory(tmp_path / "trajectory.lammpstrj")
    assert frames[-1].pbc.all()
    assert frames[-1].cell[0, 0] == pytest.approx(crystal.cell[0, 0] * 1.2, rel=2e-3)
    assert frames[-1].cell[1, 1] == pytest.approx(crystal.cell[1, 1])


def test_atoms_that_collide_end_a_run(tmp_path: Path, lmp: str) -> None:
    text = INPUT.replace("run 20", "fix push top addforce 0 0 -500\nrun 2000")
    run = load(tmp_path, text, variables={"temperature": 50.0, "rate": 0.0})
    pair = Atoms("Cu4", [[0, 0, 2], [5, 0, 2], [0, 0, 0], [5, 0, 0]])
    files = run.files(
        pair, ["Cu"], seed=1, timestep=0.5, potential="pair_style zero 5.0\npair_coeff * *",
        select=None, by_model=False,
    )  # fmt: skip
    files["in.tear"] = files["in.tear"].replace("fix tear top move linear 0 0 ${rate}\n", "")
    for file, content in files.items():
        (tmp_path / file).write_text(content)
    command = [find_program(lmp), "-in", run.main, "-screen", "none"]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode != 0
    assert "atoms_collided" in (tmp_path / "log.lammps").read_text()


def test_a_tilted_cell_is_read_from_the_dump(tmp_path: Path, lmp: str) -> None:
    from alrare.exploration.lammps_box import box_of

    cell = box_of(bulk("Cu") * (3, 3, 3))
    run = load(tmp_path, INPUT.replace("fix tear top move linear 0 0 ${rate}\n", ""),
               variables={"temperature": 300.0})  # fmt: skip
    for file, content in run.files(
        cell, ["Cu"], seed=1, timestep=0.5, potential=POTENTIAL, select=None, by_model=False
    ).items():
        (tmp_path / file).write_text(content)
    command = [find_program(lmp), "-in", run.main, "-screen", "none"]
    subprocess.run(command, cwd=tmp_path, check=True)
    first = read_trajectory(tmp_path / "trajectory.lammpstrj")[0]
    np.testing.assert_allclose(first.cell.array, cell.cell.array, atol=1e-8)
    moved = first.get_all_distances(mic=True) - cell.get_all_distances(mic=True)
    assert np.abs(moved).max() < 0.3 and np.abs(moved).max() > 0.0


def executed(
    folder: Path, lmp: str, run: Exploration, structure: Atoms, elements: list[str]
) -> dict[str, Any]:
    """Return the table of a run with Morse potentials between all atoms and steps of 0.1 fs."""
    folder.mkdir(exist_ok=True)
    files = run.files(
        structure, elements, seed=1, timestep=0.1, potential=BOND, select=None, by_model=False
    )
    for file, text in files.items():
        (folder / file).write_text(text)
    command = [find_program(lmp), "-in", run.main, "-screen", "none"]
    subprocess.run(command, cwd=folder, check=True)
    return read_table(folder / run.quantity.table)


def shipped_pull(groups: dict[str, tuple[int, ...]], n_atoms: int, **variables: Any) -> Exploration:
    given = Explore(input="pull", variables={"relax_steps": 0, "damping_time": 1e6} | variables)
    return load_input(given, groups, n_atoms=n_atoms, min_distance=0.1)


BOND = "pair_style morse 9.0\npair_coeff * * 4.0 2.0 1.4"
TRIMER = Atoms("C3", [[0, 0, 0], [1.4, 0, 0], [0.7, 1.4 * 0.75**0.5, 0]])  # at rest
TRIMER.rotate(50, "z")
GROUPS = {"head": (1, 2), "tail": (3,)}


def brought(table: dict[str, Any]) -> Any:
    """Return the change of potential and kinetic energy of a trimer that starts at rest, eV."""
    kinetic = 3 * kB * table["temperature"]  # LAMMPS takes off the three of its center
    return table["potential_energy"] - table["potential_energy"][0] + kinetic


@pytest.mark.parametrize("along", ["line", "x", "y"])
@pytest.mark.parametrize("rate", [4.0, -4.0])
def test_the_work_of_the_shipped_pull_is_the_energy_that_it_brings(
    tmp_path: Path, lmp: str, along: str, rate: float
) -> None:
    run = shipped_pull(GROUPS, 3, rate=rate, along=along, steps=1000, temperature=1e-6)
    table = executed(tmp_path, lmp, run, TRIMER, ["C"])
    way = TRIMER.positions[2] - TRIMER.positions[:2].mean(axis=0)
    start = {"line": np.linalg.norm(way), "x": abs(way[0]), "y": abs(way[1])}[along]
    assert table["distance"][0] == pytest.approx(start, abs=1e-6)
    length = start + rate * 0.1e-3 * table["step"]
    taut = np.abs(table["force"]) > 0.02
    expected = 10.0 * (length - table["distance"])
    np.testing.assert_allclose(table["force"][taut], expected[taut], atol=0.03)
    moved = rate * 0.1e-3
    np.testing.assert_allclose(table["work"], np.cumsum(table["force"]) * moved, atol=1e-5)
    assert table["work"].max() > 0.005
    done = brought(table) + table["force"] ** 2 / 20.0
    np.testing.assert_allclose(table["work"], done, atol=0.05 * table["work"].max())


@pytest.mark.parametrize("tension", [0.4, -0.4])
def test_a_constant_tension_does_the_work_force_times_length(
    tmp_path: Path, lmp: str, tension: float
) -> None:
    run = shipped_pull(GROUPS, 3, tension=tension, steps=300, temperature=1e-6)
    table = executed(tmp_path, lmp, run, TRIMER, ["C"])
    longer = table["distance"] - table["distance"][0]
    np.testing.assert_allclose(table["work"], tension * longer, atol=1e-6)
    np.testing.assert_allclose(table["work"], brought(table), atol=0.01 * table["work"].max())


@pytest.mark.usefixtures("lmp")
def test_lammps_reads_the_shipped_pull() -> None:
    run = shipped_pull(GROUPS, 3)
    assert isinstance(run, InputRun) and run.steps == 6500
    for name in ("spring", "rate", "temperature", "relax_steps", "steps"):
        default = re.search(rf"^variable\s+{name}\s+index\s+(\S+)", run.texts["in.pull"], re.M)
        assert default is not None and float(default[1]) == Pull.model_fields[name].default
    assert try_exploration(run, TRIMER, ["C"], config(run.explore)) == ""


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"head": (1,)}, "two groups of atoms, head and tail, and tail is not there"),
        ({"head": (1, 2), "tail": (2, 3)}, "atom 2 is in head and in tail"),
    ],
)
def test_the_shipped_pull_asks_for_its_groups(
    groups: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        shipped_pull(groups, 3)


def test_the_shipped_pull_of_two_atoms_is_that_of_the_table_pull(tmp_path: Path, lmp: str) -> None:
    same = {"relax_steps": 50, "steps": 200, "rate": 4.0, "temperature": 100.0, "damping_time": 0.1}
    ethane, elements = molecule("C2H6"), ["H", "C"]
    theirs = executed(
        tmp_path / "pull", lmp, SpringPull(Pull(atoms=(1, 2), **same), 0.5), ethane, elements
    )
    run = shipped_pull({"head": (1,), "tail": (2,)}, 8, **same)
    ours = executed(tmp_path / "input", lmp, run, ethane, elements)
    for column, atol in {"distance": 1e-6, "force": 1e-5, "work": 1e-5}.items():
        np.testing.assert_allclose(ours[column], theirs[column], atol=atol)
