"""The model's pulls: what stays on the disk, what is repeated, what a user is told.

Most tests run a stand-in for `lmp`, a small Python program that acts as one pull.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alrare.config import Pull, Run, Select
from alrare.errors import AlrareError, SimulationError
from alrare.exploration.exploration import SpringPull
from alrare.exploration.model_runs import simulate
from alrare.exploration.run_result import RunResult
from alrare.exploration.work import read_work
from alrare.frames import read_frames
from alrare.progress import SilentProgress, Stage
from ani_reference import random_ensemble
from ase import Atoms
from ase.build import molecule

STAND_IN = """\
#!{python}
import os, re, sys, time
from pathlib import Path
text = Path("in.smd").read_text()
seed = int(re.search(r"seed (\\d+)", text).group(1))
Path("started").write_text(str(os.getpid()))
with Path("{calls}").open("a") as calls:
    calls.write(f"{{seed}}\\n")
title = re.search(r'title "(.*)"', text).group(1)
columns = len(title.split()) - 1
def table(first, last):
    print("   Step          Temp")
    for step in range(first, last + 1, 10):
        print(f"{{step:8d}} 10.0", flush=True)
    print("Loop time of 1", flush=True)
def pull(steps):
    with open("work.dat", "w") as work:
        print(title, file=work)
        for step in range(steps + 1):
            row = [step, 6.5, 6.5, 0, 0.01 * step, -1, 10, 0.02, 0.015, 4, 9, 5, 1, 1]
            print(*row[:columns], file=work)
    Path("candidates.extxyz").write_text("1\\nstep=3 cv=6.5\\nH 0 0 0\\n" * 4)
    table(0, steps)
{body}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "ensemble.safetensors").write_text("weights")
    return tmp_path / "ensemble.safetensors"


def _lmp(folder: Path, body: str) -> str:
    program = folder / "lmp"
    text = STAND_IN.format(python=sys.executable, calls=folder / "calls", body=body)
    program.write_text(text)
    program.chmod(0o755)
    return str(program)


def _simulate(model: Path, lmp: str, **changes: Any) -> list[RunResult]:
    settings: dict[str, Any] = {
        "model": model,
        "structure": molecule("C2H6"),
        "elements": ["H", "C"],
        "pull": Pull(atoms=(1, 2), relax_steps=20, steps=40, seeds=(1, 2)),
        "select": Select(screening_steps=10, upper=1.5, max_per_run=50),
        "timestep": 0.5,
        "forces": "best",
        "folder": model.parent / "iter_000",
        "run": Run(lmp=lmp, device="cpu"),
        "workers": 2,
        "progress": SilentProgress(),
    }
    given = settings | changes
    return simulate(exploration=SpringPull(given.pop("pull"), given["timestep"]), **given)


def _calls(folder: Path) -> list[int]:
    return sorted(int(line) for line in (folder / "calls").read_text().split())


def test_a_pull_leaves_its_input_curve_candidates_and_counts(tmp_path: Path, model: Path) -> None:
    results = _simulate(model, _lmp(tmp_path, "table(0, 20); pull(40)"))
    assert [result.seed for result in results] == [1, 2]
    first = results[0]
    assert first.finished and first.reason == ""
    assert first.folder == tmp_path / "iter_000" / "pull_1"
    assert first.table is not None and len(read_work(first.table).step) == 41
    assert first.candidates.read_text().count("step=3") == 4
    counts = first.selection
    assert (counts.threshold, counts.selected, counts.above) == (0.015, 4, 9)
    assert (counts.too_similar, counts.unphysical) == (5, 1)
    assert sorted(path.name for path in (tmp_path / "iter_000").iterdir()) == ["pull_1", "pull_2"]


def test_the_input_names_the_model_relative_to_itself(tmp_path: Path, model: Path) -> None:
    (result, _) = _simulate(model, _lmp(tmp_path, "pull(40)"))
    text = (result.folder / "in.smd").read_text()
    assert 'pair_coeff * * "../../ensemble.safetensors" H C' in text
    assert "pair_style nnp_ensemble device cpu forces best" in text
    assert (
        "fix select all al_select 1 candidates.extxyz threshold adaptive 10 3 cv v_d 0.01"
        " energy 0.0434 max 50 upper 1.5 min_distance 0.5" in text
    )
    assert (result.folder / "molecule.data").is_file()


def test_forces_are_judged_where_the_pair_style_computes_their_spread(
    tmp_path: Path, model: Path
) -> None:
    select = Select(uncertainty="force", relative=0.1, relative_floor=0.5, gap_steps=20)
    (result, _) = _simulate(model, _lmp(tmp_path, "pull(40)"), select=select)
    text = (result.folder / "in.smd").read_text()
    assert "pair_style nnp_ensemble device cpu forces best force_std yes" in text
    assert "threshold relative 0.1 0.5 cv" in text
    assert "min_distance 0.5 uncertainty force gap_steps 20\n" in text
    assert (
        "temperature/K energy_std/eV force_std/(eV/angstrom) threshold/(eV/angstrom) selected/1"
        in text
    )


@pytest.mark.parametrize(
    ("select", "columns"),
    [
        (Select(relative=1e-4, relative_floor=1e-3, gap_steps=5), ["energy_std"]),
        (
            Select(uncertainty="force", threshold=1e-9, energy_gap=0, cv_gap=0),
            ["energy_std", "force_std"],
        ),
    ],
)
def test_a_real_pull_shows_and_writes_what_was_judged(
    tmp_path: Path, lmp: str, select: Select, columns: list[str]
) -> None:
    path = tmp_path / "ensemble.safetensors"
    random_ensemble(members=2, hidden={"H": (8, 8)}, hidden_default=(8, 8), seed=4).save(path)
    (result, _) = _simulate(path, lmp, select=select)
    assert result.table is not None
    header, *rows = result.table.read_text().splitlines()
    names = [word.partition("/")[0] for word in header.split()[1:]]
    assert names[7:] == [*columns, "threshold", "selected", "above", "too_similar", "unphysical"]
    shown = [dict(zip(names, map(float, row.split()), strict=True)) for row in rows]
    frames = read_frames(result.candidates)
    assert result.selection.selected == len(frames) > 3
    for frame in frames:
        for name in (*columns, "threshold"):
            value = shown[frame.info["step"]][name]
            assert frame.info[name] == pytest.approx(value, rel=1e-6)


def test_a_finished_pull_is_never_repeated(tmp_path: Path, model: Path) -> None:
    lmp = _lmp(tmp_path, "pull(40)")
    before = _simulate(model, lmp)
    after = _simulate(
        model, lmp, pull=Pull(atoms=(1, 2), relax_steps=20, steps=40, seeds=(1, 2, 3))
    )
    assert after[:2] == before
    assert _calls(tmp_path) == [1, 2, 3]


def test_a_pull_of_another_model_is_not_taken_for_this_one(tmp_path: Path, model: Path) -> None:
    lmp = _lmp(tmp_path, "pull(40)")
    _simulate(model, lmp)
    model.write_text("other weights")
    with pytest.raises(AlrareError, match=r"pull_\d: was made with another model"):
        _simulate(model, lmp)


def test_a_pull_of_other_settings_names_them_and_the_cure(tmp_path: Path, model: Path) -> None:
    lmp = _lmp(tmp_path, "pull(40)")
    _simulate(model, lmp)
    slow = Pull(atoms=(1, 2), relax_steps=20, steps=40, seeds=(1,), rate=0.5)
    with pytest.raises(AlrareError) as caught:
        _simulate(model, lmp, pull=slow, timestep=0.25)
    assert "timestep (0.5, now 0.25), another rate (1.0, now 0.5)" in str(caught.value)
    assert "`alrare smd`: another -o DIR" in str(caught.value)


def test_a_pull_by_the_labeller_is_not_taken_for_one_by_a_model(
    tmp_path: Path, model: Path
) -> None:
    folder = tmp_path / "iter_000" / "pull_1"
    folder.mkdir(parents=True)
    (folder / "work.dat").write_text("# step\n")
    with pytest.raises(AlrareError, match=r"pull_1: was made .* \(not by a model\); remove it"):
        _simulate(model, _lmp(tmp_path, "pull(40)"))


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("", "exit status 0 after no pull; its log .*log.lammps is missing"),
        ("Path('log.lammps').touch()", "after no pull; its log .*log.lammps is empty"),
        ("pull(7)", "exit status 0 after 7 of 40 steps of the pull"),
        ("sys.exit(3)", "exit status 3, no output; its log .*log.lammps is missing"),
        ("os.kill(os.getpid(), 9)", "signal 9, no output"),
    ],
)
def test_a_program_that_does_not_pull_is_named_and_not_the_model(
    tmp_path: Path, model: Path, program: str, told: str
) -> None:
    with pytest.raises(SimulationError, match=rf"{tmp_path}/lmp .*{told}.*set `lmp`"):
        _simulate(model, _lmp(tmp_path, program))


def test_a_structure_that_blows_up_still_yields_what_it_had(tmp_path: Path, model: Path) -> None:
    body = (
        "pull(7 if seed == 2 else 40)\n"
        "if seed == 2:\n"
        "    print('ERROR: Fix halt condition for fix-id structure_blew_up met on step 8')\n"
        "    sys.exit(1)"
    )
    good, bad = _simulate(model, _lmp(tmp_path, body))
    assert good.finished and not bad.finished
    assert "blew up" in bad.reason and ".partial" not in bad.reason
    assert bad.table is not None and len(read_work(bad.table).step) == 8
    assert bad.selection.selected == 4


def test_a_molecule_that_blows_up_at_rest_leaves_the_other_seeds(
    tmp_path: Path, model: Path
) -> None:
    body = (
        "if seed == 2:\n    pull(40)\n"
        "else:\n    print('ERROR: Non-numeric atom coords - simulation unstable'); sys.exit(1)"
    )
    bad, good = _simulate(model, _lmp(tmp_path, body))
    assert bad.table is None and not bad.finished and bad.selection.threshold is None
    assert good.finished


def test_when_no_pull_makes_a_step_the_campaign_is_told(tmp_path: Path, model: Path) -> None:
    lmp = _lmp(tmp_path, "print('ERROR: Lost atoms: original 8 current 7'); sys.exit(1)")
    with pytest.raises(SimulationError, match=r"no pull made a single step.*Lost atoms"):
        _simulate(model, lmp)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("Unrecognized pair style 'nnp_ensemble'", "alrare check"),
        ("pair_coeff for nnp_ensemble: ensemble.safetensors: no such file", "no such file"),
        ("Fix al_select: candidates.extxyz: cannot be written (No space left on device)", "space"),
    ],
)
def test_any_other_end_of_lammps_stops_with_its_own_words(
    tmp_path: Path, model: Path, error: str, told: str
) -> None:
    body = f"pull(7); print({'ERROR: ' + error!r}); sys.exit(1)"
    with pytest.raises(SimulationError) as caught:
        _simulate(model, _lmp(tmp_path, body))
    assert error in str(caught.value) and told in str(caught.value)
    assert not (tmp_path / "iter_000" / "pull_1").exists()


@pytest.mark.slow
def test_a_failed_pull_starts_afresh_and_the_finished_one_stays(
    tmp_path: Path, model: Path
) -> None:
    body = "if seed == 2: time.sleep(0.5); print('ERROR: no license'); sys.exit(1)\npull(40)"
    with pytest.raises(SimulationError, match="no license"):
        _simulate(model, _lmp(tmp_path, body))
    results = _simulate(model, _lmp(tmp_path, "pull(40)"))
    assert all(result.finished for result in results)
    assert _calls(tmp_path) == [1, 2, 2]
    assert not list((tmp_path / "iter_000").glob(".*"))


def test_a_missing_lmp_is_named_with_its_cure(model: Path) -> None:
    message = r"/nowhere/lmp: no such program; set `lmp` in \[run\].*alrare check"
    with pytest.raises(SimulationError, match=message):
        _simulate(model, "/nowhere/lmp")


def test_an_element_the_model_does_not_know_is_refused(tmp_path: Path, model: Path) -> None:
    ammonia = Atoms("NH", positions=[[0, 0, 0], [0, 0, 1]])
    with pytest.raises(AlrareError, match="element N is unknown to a model of H, C"):
        _simulate(model, _lmp(tmp_path, "pull(40)"), structure=ammonia)


def test_a_disk_that_refuses_is_reported(tmp_path: Path, model: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(AlrareError, match="could not be written"):
        _simulate(model, _lmp(tmp_path, "pull(40)"), folder=tmp_path / "file")


class Recorder(SilentProgress):
    """One stage, and every count that it is told."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.counts: list[int] = []

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Stage]:
        self.total = total
        yield self

    def advance(self, n: int = 1) -> None:
        raise AssertionError("the pulls count for themselves")

    def update(self, done: int, note: str = "") -> None:
        self.counts.append(done)


def test_steps_of_all_seeds_are_counted(tmp_path: Path, model: Path) -> None:
    progress = Recorder()
    _simulate(model, _lmp(tmp_path, "table(0, 20); pull(40)"), progress=progress)
    assert progress.total == 2 * (20 + 40)
    assert sorted(set(progress.counts)) == list(range(0, progress.total + 1, 10))


@pytest.mark.slow
def test_ctrl_c_ends_the_runs_at_once_and_keeps_no_half_pull(tmp_path: Path, model: Path) -> None:
    lmp = _lmp(tmp_path, "time.sleep(300)")  # prints nothing: no line of output to wait for
    code = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[2])!r}]
from test_model_runs import _simulate
from pathlib import Path
try:
    _simulate(Path({str(model)!r}), {lmp!r})
except KeyboardInterrupt:
    sys.exit(130)
"""
    folder = tmp_path / "iter_000"
    with subprocess.Popen([sys.executable, "-c", code]) as driver:
        try:
            deadline = time.monotonic() + 60
            while len(list(folder.glob(".pull_*/started"))) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.2)
            pids = [int(path.read_text()) for path in folder.glob(".pull_*/started")]
            driver.send_signal(signal.SIGINT)
            assert driver.wait(timeout=30) == 130
        finally:
            driver.kill()
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not list(folder.glob("pull_*"))


def test_a_damaged_result_is_named(tmp_path: Path, model: Path) -> None:
    lmp = _lmp(tmp_path, "pull(40)")
    (result, _) = _simulate(model, lmp)
    (result.folder / "result.json").write_text(json.dumps({"finished": True}))
    with pytest.raises(AlrareError, match=r"result\.json: expected the result of a pull"):
        _simulate(model, lmp)


def test_the_real_lammps_pulls_with_an_ensemble(tmp_path: Path, lmp: str) -> None:
    from alrare.cli.check import check_installation
    from alrare.selection.budget import choose

    found = {finding.name: finding for finding in check_installation()}
    if "styles" not in found or found["styles"].cure:
        pytest.skip("lmp with the alrare plugin is not installed")
    ensemble = random_ensemble(members=2, hidden={"H": (8,)}, hidden_default=(8,))
    ensemble.save(tmp_path / "ensemble.safetensors")
    select = Select(threshold=1e-6, cv_gap=1e-4, energy_gap=1e-6, max_per_run=5)
    (result,) = _simulate(
        tmp_path / "ensemble.safetensors",
        "lmp",
        pull=Pull(atoms=(1, 2), relax_steps=5, steps=30, seeds=(1,)),
        select=select,
    )
    assert result.finished and result.table is not None
    curve = read_work(result.table)
    assert len(curve.step) == 31
    assert curve.energy_std is not None and curve.energy_std.max() > 0.0
    assert result.selection.threshold == pytest.approx(1e-6)
    chosen = choose([result.candidates], maximum=50, strategy="paper")
    assert len(chosen) == result.selection.selected == 5
    assert result.selection.above == 31
