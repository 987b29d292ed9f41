"""The whole loop with a real lmp: it ends, it survives being killed, it repeats no label."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from alrare.campaign import of_system, read_results
from alrare.frames import write_frames
from alrare.labelling.store import LabelStore
from alrare.model.calibration import MIN_FRAMES
from alrare.model.ensemble import load_ensemble
from ase.build import molecule
from ase.io import write

STAGES = ("relax", "reference", "train", "pulls by the model", "label", "evaluate")
"""First words of the stages in log.txt; each is killed once."""


def positions_labelled(store: Path) -> set[bytes]:
    """Return the positions of all good labels, as bytes."""
    if not store.is_file():
        return set()
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT positions FROM labels WHERE status = 'ok'").fetchall()
    return {positions for (positions,) in rows}


def labels_of(campaign, origin: str) -> tuple[int, int]:
    """Count the labels that one origin asked for, and the good ones among them."""
    store = campaign.run / "labels" / "labels.sqlite"
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
        query = "SELECT COUNT(*), SUM(status = 'ok') FROM labels WHERE origin = ?"
        asked, good = database.execute(query, (origin,)).fetchone()
    return asked, good


def calls(record: Path) -> Counter[str]:
    """Count how often each configuration was computed, by the hash of its positions."""
    lines = record.read_text().splitlines() if record.is_file() else []
    return Counter(line.split()[1] for line in lines)


def finish(campaign, timeout: float = 600.0) -> str:
    process = campaign.start()
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, output
    return output


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def wait_for_stage(campaign, process: subprocess.Popen[str], stage: str) -> bool:
    """Wait until log.txt says that the stage has started; False if the campaign ended before."""
    log = campaign.run / "log.txt"
    deadline = time.monotonic() + 300.0
    seen_before = log.read_text().count("\n") if log.is_file() else 0
    while time.monotonic() < deadline:
        lines = log.read_text().splitlines()[seen_before:] if log.is_file() else []
        if any(stage in line and "started" in line for line in lines):
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    raise AssertionError(f"stage {stage!r} never started: {lines}")


def results_of(run):
    """The results of the only system."""
    return of_system(read_results(run))


def check_results(campaign) -> None:
    results = results_of(campaign.run)
    assert [row["iteration"] for row in results["iterations"]] == [0, 1]
    first, second = results["iterations"]
    assert second["n_labels"] > first["n_labels"] >= 40
    for iteration in ("iter_000", "iter_001"):  # the relaxed structure trains every member
        data = json.loads((campaign.run / iteration / "dataset.json").read_text())
        assert [split["train"][0] for split in data["splits"]] == [0, 0]
    assert labels_of(campaign, "at rest") == (12, 12)
    for iteration, row in zip(("iter_000", "iter_001"), (first, second), strict=True):
        found = row["calibration"]
        kept = load_ensemble(campaign.run / iteration).metadata.calibration
        assert (kept is None) == (found["n_frames"] < MIN_FRAMES)
        if kept is not None:
            assert (kept.energy, kept.force) == (found["energy_ratio"], found["force_ratio"])
    assert results["reference"]["n_runs"] == 2
    assert all(row["n_runs"] == 2 for row in results["iterations"])
    for name in ("work_curves.png", "errors.png", "config.toml", "log.txt"):
        assert (campaign.run / name).stat().st_size > 0
    # six are asked for in each; a network this small makes some that have no label
    for row in (first, second):
        asked, good = labels_of(campaign, f"around the event {row['iteration']}")
        assert asked == 6
        assert row["convergence"]["around_event"]["n_frames"] == good > 0
    for iteration in ("iter_000", "iter_001"):
        for name in ("ensemble.safetensors", "ensemble.pt", "metrics.json", "dataset.json"):
            assert (campaign.run / iteration / name).stat().st_size > 0


@pytest.mark.timeout(900)
def test_a_campaign_killed_in_every_stage_ends_and_repeats_no_label(campaign) -> None:
    store = campaign.run / "labels" / "labels.sqlite"
    killed = []
    for stage in STAGES:
        before = calls(campaign.record)
        labelled = positions_labelled(store)
        process = campaign.start()
        if wait_for_stage(campaign, process, stage):
            time.sleep(0.3)
            kill(process)
            killed.append(stage)
        else:
            output, _ = process.communicate()
            raise AssertionError(f"the campaign ended before {stage!r}: {output}")
        assert not repeated(labelled, before, calls(campaign.record))
    before, labelled = calls(campaign.record), positions_labelled(store)
    finish(campaign)
    assert not repeated(labelled, before, calls(campaign.record))
    assert killed == list(STAGES)
    check_results(campaign)


def repeated(labelled: set[bytes], before: Counter[str], after: Counter[str]) -> set[str]:
    """Return labels that were in the store and were computed again all the same."""
    import hashlib

    keys = {hashlib.sha256(positions).hexdigest() for positions in labelled}
    return {key for key in keys if after[key] > before[key]}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("table", ["run", "train"])
def test_a_gpu_that_is_not_there_is_said_before_anything_runs(campaign, table: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    text = campaign.config.read_text().replace(f"[{table}]", f'[{table}]\ndevice = "cuda"')
    campaign.config.write_text(text)
    process = campaign.start()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f'device = "cuda" ([{table}]): ' in output and "finds no CUDA device" in output
    assert not list(campaign.run.glob("reference"))


def test_a_finished_campaign_starts_nothing_again(campaign) -> None:
    finish(campaign)
    check_results(campaign)
    before = calls(campaign.record)
    files = {path: path.stat().st_mtime_ns for path in campaign.run.glob("iter_*/**/*")}
    finish(campaign)
    assert calls(campaign.record) == before
    assert {path: path.stat().st_mtime_ns for path in campaign.run.glob("iter_*/**/*")} == files


@pytest.mark.timeout(600)
def test_a_copied_campaign_goes_on_and_makes_damaged_files_anew(campaign, tmp_path) -> None:
    finish(campaign)
    before = calls(campaign.record)
    original = campaign.run
    copy = replace(campaign, path=tmp_path / "elsewhere")
    shutil.copytree(campaign.path, copy.path, ignore=shutil.ignore_patterns("elsewhere"))
    model = copy.run / "iter_001" / "ensemble.safetensors"
    model.write_bytes(model.read_bytes()[:1000])
    (copy.run / "iter_000" / "ensemble.pt").unlink()
    results = copy.run / "results.json"
    results.write_text(results.read_text()[:100])
    process = copy.start()
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 1 and "Traceback" not in output
    assert f"{results}: damaged" in output and "remove this file" in output
    results.unlink()
    finish(copy)
    assert json.loads(results.read_text()) == json.loads((original / "results.json").read_text())
    for name in ("iter_001/ensemble.safetensors", "iter_000/ensemble.safetensors"):
        assert (copy.run / name).read_bytes() == (original / name).read_bytes()
    assert (copy.run / "iter_000" / "ensemble.pt").stat().st_size > 0
    assert calls(campaign.record) == before


@pytest.mark.timeout(600)
def test_labels_that_a_damaged_store_has_lost_are_made_anew(campaign) -> None:
    finish(campaign)
    results = (campaign.run / "results.json").read_bytes()
    store = campaign.run / "labels" / "labels.sqlite"
    with contextlib.closing(sqlite3.connect(store)) as database, database:
        count = "SELECT count(*) FROM labels WHERE status = 'ok'"
        (before,) = database.execute(count).fetchone()
        database.execute("DELETE FROM labels WHERE key < '5'")
    finish(campaign)
    with contextlib.closing(sqlite3.connect(store)) as database:
        assert database.execute(count).fetchone() == (before,)
    assert (campaign.run / "results.json").read_bytes() == results


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("stage", "seconds"), [("reference", 0.3), ("evaluate", 0.1)])
def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(campaign, stage: str, seconds: float) -> None:
    process = campaign.start()
    assert wait_for_stage(campaign, process, stage)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "alrare run" in output
    assert "Traceback" not in output
    finish(campaign)
    check_results(campaign)


@pytest.mark.timeout(600)
def test_a_changed_setting_is_refused_and_loses_nothing(campaign) -> None:
    process = campaign.start()
    assert wait_for_stage(campaign, process, "reference")
    kill(process)
    text = campaign.config.read_text()
    campaign.config.write_text(text.replace("epochs = 8", "epochs = 9"))
    process = campaign.start()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "train.epochs" in output
    assert "new name" in output


@pytest.mark.timeout(600)
def test_initial_data_can_be_thinned_and_training_can_start_warm(campaign) -> None:
    text = campaign.config.read_text().replace("stride = 5", 'stride = 2\nthin = "decorrelated"')
    campaign.config.write_text(text.replace("epochs = 8", 'epochs = 8\nstart = "previous"'))
    finish(campaign)
    assert results_of(campaign.run)["iterations"][0]["n_labels"] < 100
    starts = [
        json.loads((campaign.run / name / "training.json").read_text())["training"]["start"]
        for name in ("iter_000", "iter_001")
    ]
    assert starts[0] == "" and starts[1] != ""


def with_stop(campaign, force_error: float) -> None:
    text = campaign.config.read_text().replace("iterations = 1", "iterations = 3", 1)
    limits = f"tolerance = 100.0\nenergy_error = 100.0\nforce_error = {force_error}\n"
    campaign.config.write_text(f"{text}\n[stop]\nsmall_changes = 1\n{limits}")


@pytest.mark.timeout(600)
def test_a_settled_energy_ends_the_campaign_only_when_labels_confirm_it(campaign) -> None:
    with_stop(campaign, force_error=1e-6)
    campaign.config.write_text(campaign.config.read_text().replace("= 3", "= 2", 1))
    output = finish(campaign)
    rows = results_of(campaign.run)["iterations"]
    assert [row["convergence"]["settled"] for row in rows] == [False, True, True]
    assert not any(row["convergence"]["converged"] for row in rows)
    assert "NOT converged in 2 iterations" in output
    text = campaign.config.read_text()
    campaign.config.write_text(text.replace("force_error = 1e-06", "force_error = 100.0"))
    output = finish(campaign)  # the same labels, other limits: nothing is computed again
    assert "finished, converged" in output


@pytest.mark.timeout(600)
def test_a_campaign_takes_over_the_reference_of_another(campaign) -> None:
    finish(campaign)
    before = calls(campaign.record)
    text = campaign.config.read_text()
    other = text.replace('name = "ethane"', f'name = "second"\nreference = "{campaign.run}"')
    campaign.config.write_text(other.replace("seeds = [1, 2]", "seeds = [1, 2, 3]"))
    finish(campaign)
    run = campaign.run.parent / "second"
    assert results_of(run)["reference"]["n_runs"] == 3
    for part in ("data/trajectory.extxyz", "pull_1/work.dat", "pull_2/work.dat"):
        mine, theirs = run / "reference" / part, campaign.run / "reference" / part
        assert mine.read_bytes() == theirs.read_bytes()
    again = calls(campaign.record)
    pull_steps, new_labels = 222, 50
    assert again.total() - before.total() < pull_steps + new_labels  # one pull, not three and MD


@pytest.mark.timeout(900)
def test_a_campaign_can_begin_with_labels_and_without_pulls_by_the_labeller(campaign) -> None:
    finish(campaign)
    with LabelStore(campaign.run / "labels" / "labels.sqlite") as store:
        write_frames(campaign.path / "mine.extxyz", store.frames(store.keys("initial")))
    before = calls(campaign.record)
    text = campaign.config.read_text().replace(
        'name = "ethane"', 'name = "free"\nreference = "none"'
    )
    given = 'steps = 0\ndata = ["mine.extxyz"]\nrelabel = "runs/ethane"\nrelabel_count = 5'
    campaign.config.write_text(text.replace("steps = 200", given, 1))
    output = finish(campaign)
    run = campaign.run.parent / "free"
    assert (
        not list((run / "reference").glob("pull_*")) and not (run / "reference" / "data").exists()
    )
    results = of_system(read_results(run))
    assert results["reference"]["n_runs"] == 0
    assert [row["error"] for row in results["iterations"]] == [None, None]
    assert results["iterations"][0]["n_labels"] > 40
    assert 'reference = "none"' in output
    # the relaxation, labels at rest, around the event, candidates: no MD and no pull
    assert calls(campaign.record).total() - before.total() < 150


@pytest.mark.timeout(900)
def test_two_molecules_are_learned_by_one_model(campaign) -> None:
    write(campaign.path / "propane.xyz", molecule("C3H8"))
    text = campaign.config.read_text()
    text = text.replace('structure = "ethane.xyz"\n', "").replace("atoms = [1, 2]\n", "")
    names = {"ethane": (1, 2), "propane": (2, 3)}
    for name, atoms in names.items():
        text += f'\n[[system]]\nname = "{name}"\nstructure = "{name}.xyz"\natoms = {list(atoms)}\n'
    campaign.config.write_text(text)
    output = finish(campaign)
    results = read_results(campaign.run)
    assert list(results["reference"]) == list(results["iterations"][0]["systems"]) == list(names)
    for name in names:
        rows = of_system(results, name)["iterations"]
        assert [row["n_runs"] for row in rows] == [2, 2]
        assert (campaign.run / "reference" / name / "pull_2" / "work.dat").is_file()
        assert (campaign.run / "iter_001" / name / "pull_2" / "work.dat").is_file()
        assert (campaign.run / f"work_curves_{name}.png").is_file()
        assert name in output
    model = load_ensemble(campaign.run / "iter_001" / "ensemble.safetensors")
    assert model.metadata.elements == ("H", "C")
    asked = sum(labels_of(campaign, f"around the event 0, {name}")[0] for name in names)
    assert asked == 6  # the budget is that of the iteration, not of each system
    before = calls(campaign.record)
    finish(campaign)
    assert calls(campaign.record) == before


@pytest.mark.timeout(600)
def test_labels_of_an_explosion_are_kept_but_not_trained_on(campaign) -> None:
    text = campaign.config.read_text().replace("max_force = 1e3", "max_force = 1e-9")
    campaign.config.write_text(text)
    output = finish(campaign)
    first, second = results_of(campaign.run)["iterations"]
    new = json.loads((campaign.run / "iter_000" / "labels.json").read_text())
    around = json.loads((campaign.run / "iter_000" / "around_event.json").read_text())
    count = len(new["chosen"]) + len(new["copies"]) + len(around["keys"])
    assert second["n_labels"] == first["n_labels"]
    assert second["n_left_out"] == count > 0
    assert f"{count} of {count} new labels are" in " ".join(output.split())
    assert len(positions_labelled(campaign.run / "labels" / "labels.sqlite")) > first["n_labels"]


@pytest.mark.timeout(600)
def test_runs_with_a_bias_give_candidates_and_no_observable(campaign, tmp_path) -> None:
    finish(campaign)
    plain = results_of(campaign.run)["iterations"][0]
    biased = replace(campaign, path=tmp_path / "biased")
    shutil.copytree(campaign.path, biased.path, ignore=shutil.ignore_patterns("biased", "runs"))
    text = biased.config.read_text()
    assert "[select]" in text
    bias = '[select]\nbias = "linear -1.0"\nbiased_runs = 1'
    biased.config.write_text(text.replace("[select]", bias))
    finish(biased)
    found = results_of(biased.run)["iterations"][0]
    for key in ("activation_energy", "n_runs", "convergence"):
        assert found[key] == plain[key], key
    (run,) = (biased.run / "iter_000" / "biased").glob("pull_*")
    seeds = [int(path.name[5:]) for path in (biased.run / "iter_000").glob("pull_*")]
    assert run.name == f"pull_{max(seeds) + 1}"
    assert "bias linear -1.0" in (run / "in.smd").read_text()
    mean = sum(plain["selection"]["thresholds"]) / len(plain["selection"]["thresholds"])
    assert found["biased_selection"]["thresholds"] == pytest.approx([mean], rel=1e-6)
    assert "bias" not in (biased.run / "iter_000" / f"pull_{seeds[0]}" / "in.smd").read_text()
