"""`alrare smd`: what the pulls of a folder show, and how two potentials differ."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from alrare.cli.parser import main
from alrare.errors import AlrareError
from alrare.exploration.event import Event
from alrare.exploration.observables import Observables
from alrare.exploration.smd import observe_pulls, pulls_table, summarize, write_pulls
from ase.build import molecule
from ase.io import write

HEADER = (
    "# step distance/angstrom target/angstrom force/(eV/angstrom) work/eV potential_energy/eV"
    " temperature/K\n"
)


def seen(energy: float, bond: tuple[int, int] | None = (3, 4)) -> Observables:
    return Observables(
        activation_energy=None if bond is None else energy,
        peak_step=90,
        work_at_event=None if bond is None else energy - 0.5,
        event_step=None if bond is None else 100,
        event=None if bond is None else Event(10, "broken", bond, bond),
        peak_force=4.0,
        peak_energy=5.0,
    )


def pull(folder: Path, works: list[float], *, breaks: bool = True) -> None:
    folder.mkdir(parents=True)
    rows = [f"{k} {6.5 + 0.1 * k} 6.5 {w} {w} {w - 10} 10\n" for k, w in enumerate(works)]
    (folder / "work.dat").write_text(HEADER + "".join(rows))
    frames = [molecule("C2H6"), molecule("C2H6")]
    frames[1].positions[[0, 2, 3, 4]] += 2 * (frames[1].positions[0] - frames[1].positions[1])
    for step, frame in enumerate(frames):
        frame.info["step"] = step
    write(folder / "trajectory.extxyz", frames if breaks else frames[:1])


def test_differences_are_taken_seed_by_seed() -> None:
    # seeds scatter by 0.3 eV; each model pull lies 0.02 above its reference
    model = {1: seen(6.32), 2: seen(6.62), 3: seen(6.4, None)}
    reference = {1: seen(6.3), 2: seen(6.6, (2, 3)), 3: seen(6.38)}
    summary = summarize(model, reference)
    difference = summary["difference"]["activation_energy"]
    assert difference["mean"] == pytest.approx(0.02)
    assert difference["sem"] == pytest.approx(0.0, abs=1e-9)
    assert difference["n"] == 2  # no bond broke in pull 3
    assert summary["difference"]["work_at_event"]["n"] == 2
    assert summary["same_event"] == 1
    assert summary["mean"]["activation_energy"]["sem"] > 0.05


def test_the_table_shows_each_pull_their_mean_and_the_difference() -> None:
    lines = pulls_table(summarize({1: seen(6.3), 2: seen(6.5, None)}, {1: seen(6.2)})).splitlines()
    assert "event" in lines[0]
    rows = {line.split()[0]: line for line in lines if line.strip()}
    assert "6.300" in rows["1"] and "3-4" in rows["1"]
    assert rows["2"].split()[1:4] == ["no", "event", "-"] and rows["2"].split()[-1] == "none"
    assert "6.300" in rows["mean"] and "6.5" not in rows["2"]
    assert "+0.100" in rows["difference"] and "1 the same" in rows["difference"]


def test_pulls_of_a_folder_are_read_and_drawn(tmp_path: Path) -> None:
    for seed in (1, 2):
        pull(tmp_path / f"pull_{seed}", [0.0, 0.4 * seed, 0.1])
    pulls = observe_pulls(tmp_path)
    assert {seed: one.activation_energy for seed, one in pulls.items()} == {1: 0.4, 2: 0.8}
    write_pulls(tmp_path, summarize(pulls))
    content = json.loads((tmp_path / "pulls.json").read_text())
    assert content["mean"]["activation_energy"]["mean"] == pytest.approx(0.6)
    assert (tmp_path / "work_curves.png").stat().st_size > 5000


def test_the_largest_work_is_no_activation_energy_where_no_bond_broke(tmp_path: Path) -> None:
    pull(tmp_path / "pull_1", [0.0, 0.4, 0.1])
    pull(tmp_path / "pull_2", [0.0, 0.4, 0.8], breaks=False)
    summary = summarize(observe_pulls(tmp_path))
    assert summary["pulls"]["2"]["activation_energy"] is None
    assert summary["mean"]["activation_energy"] == {"mean": 0.4, "sem": None, "n": 1}


def test_pulls_that_are_cut_off_are_named_on_both_sides(tmp_path: Path) -> None:
    pull(tmp_path / "pull_1", [0.0, 0.4, 0.1])
    pulls = observe_pulls(tmp_path)
    cut = {1: replace(pulls[1], cut_off=True)}
    sentence = "in 1 of 1 pulls the activation energy was still growing"
    assert "WARNING" not in pulls_table(summarize(pulls | {1: replace(pulls[1], cut_off=False)}))
    assert f"WARNING {sentence}" in pulls_table(summarize(cut))
    assert f"WARNING of those compared with, {sentence}" in pulls_table(summarize(pulls, cut))


def test_a_folder_without_pulls_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AlrareError, match="holds no pulls"):
        observe_pulls(tmp_path)
    write(tmp_path / "ethane.xyz", molecule("C2H6"))
    given = ["smd", str(tmp_path), str(tmp_path / "ethane.xyz"), "-o", str(tmp_path / "out")]
    assert main([*given, "--atoms", "1", "2", "--against", str(tmp_path)]) == 1
    assert "holds no pulls" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*given, "--atoms", "1", "2", "--thermostat", "fast"])
    assert "invalid choice: 'fast'" in capsys.readouterr().err
