"""report.html: what it shows, and what it does where something is missing."""

import hashlib
import json
import re
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report_run
from alrare.campaign.page import film
from alrare.campaign.page.data import page_data
from alrare.campaign.page.labels import kind_of
from alrare.campaign.page.terms import TERMS, term_of
from alrare.campaign.report import write_report
from alrare.campaign.results import read_results
from alrare.exploration.exploration import Quantity
from report_run import BREAK, ERRORS, write_run

ROOT = Path(__file__).parents[3]
FIVE_MB = 5_000_000


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "ethyl")


@pytest.fixture(autouse=True)
def _no_png(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures beside the page, which take a second each."""
    monkeypatch.setattr("alrare.campaign.report.write_plots", lambda run: [])


def _gathered(run: Path) -> dict[str, Any]:
    return page_data(run, read_results(run))


def _system(run: Path) -> dict[str, Any]:
    (system,) = _gathered(run)["systems"]
    return system


def _without_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def _data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def test_there_is_a_curve_for_each_run(run: Path) -> None:
    curves = _system(run)["curves"]
    assert [(one["iteration"], one["seed"]) for one in curves] == [
        (None, 1), (None, 2), (0, 1), (0, 2), (1, 1), (1, 2),
    ]  # fmt: skip
    for one in curves:
        assert one["step"][one["peak"]] == BREAK + 20
        assert len(one["x"]) == len(one["y"]) == len(one["step"])


def test_both_runs_of_a_film_are_shown_at_the_same_steps(run: Path) -> None:
    first, second = _gathered(run)["films"]
    assert (first["seed"], second["seed"], first["iteration"]) == (1, 2, len(ERRORS) - 1)
    model, labeller = first["sides"]
    assert model["title"] == "Model of iteration 1" and labeller["title"] == "Labeller"
    n, steps = len(first["elements"]), first["steps"]
    assert steps == sorted(set(steps)) and steps[0] == 0
    for side, first_frame in ((model, 0), (labeller, 10)):
        places = np.array(side["positions"]).reshape(len(steps), n, 3) / 1000
        shown = np.linalg.norm(places[:, 0] - places[:, 1], axis=1)
        known = [report_run.molecule(max(step, first_frame)).get_distance(0, 1) for step in steps]
        assert shown == pytest.approx(known, abs=2e-3)
        broken = [step for step, pairs in zip(steps, side["broken"], strict=True) if pairs]
        assert min(broken) == BREAK + first_frame and side["broken"][-1] == [[0, 1]]
        assert side["bonds"] == [[0, 1], [0, 2]]


def test_a_film_leaves_out_configurations_that_are_no_numbers(run: Path) -> None:
    dump = run / "iter_001" / "pull_1" / "trajectory.lammpstrj"
    text = dump.read_text()
    begin = text.index("ITEM: TIMESTEP\n390\n")
    dump.write_text(text[:begin] + re.sub(r"C 0 0 0", "C nan 0 0", text[begin:]))
    film_of_first = _gathered(run)["films"][0]
    assert film_of_first["sides"][0]["last"] == 380 and film_of_first["steps"][-1] == 400


def test_films_stay_within_what_a_page_can_carry(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film, "NUMBERS", 1000)
    gathered = _gathered(run)
    (only,) = gathered["films"]
    assert sum(len(side["positions"]) for side in only["sides"]) <= 1000
    assert gathered["films_missing"] == ["further runs would make the page too large: 1"]
    monkeypatch.setattr(film, "NUMBERS", 100)
    gathered = _gathered(run)
    assert gathered["films"] == []
    assert "3 atoms are too many for a film on this page" in gathered["films_missing"][0]


def test_calibration_compares_each_new_label_with_the_model_that_ran(run: Path) -> None:
    shown = _system(run)["calibration"]
    points = shown["points"]
    for number, error in enumerate(ERRORS):
        rows = [row for row, one in enumerate(points["iteration"]) if one == number]
        assert [points["kind"][row] for row in rows] == ["candidate"] * 2 + ["around the event"] * 2
        assert [points["error"][row] for row in rows] == pytest.approx([error] * 4, rel=1e-3)
        assert [points["spread"][row] for row in rows] == pytest.approx([error / 2] * 4)
    assert [row["energy_ratio"] for row in shown["rows"]] == [2.0, 2.0]


def test_labels_are_counted_along_the_cv_by_where_they_came_from(run: Path) -> None:
    shown = _system(run)["labels"]
    counts = {kind: sum(values) for kind, values in shown["counts"].items()}
    assert counts == {"around the event": 4, "candidate": 4, "initial data": 2, "noisy copy": 2}
    assert shown["edges"][0] < 1.52 and shown["edges"][-1] > 2.2
    assert shown["event"] == pytest.approx(1.5 + 0.7 * 220 / 200)
    assert kind_of("around the event 3, C6") == "around the event"
    assert kind_of("given.extxyz") == "given.extxyz"


def test_labels_of_other_observables_lie_where_their_table_says(tmp_path: Path) -> None:
    strength = Quantity(
        "strength", "strength", "strength", "GPa", 0.5, ("cv", "cv"), ("work", "work"),
        "table.dat", "run",
    )  # fmt: skip
    run = write_run(tmp_path / "sheet", quantity=strength, bias="linear -1.0")
    system = _system(run)
    counts = {kind: sum(values) for kind, values in system["labels"]["counts"].items()}
    assert counts == {"around the event": 4, "candidate": 4}
    assert system["labels"]["unknown"] == 4
    assert len(system["curves"]) == 6
    page = write_report(run).read_text()
    assert '6.020 ± 0.050 <span class="unit">GPa</span>' in page
    assert "have a bias (linear -1.0) are not drawn" in page


def test_the_answer_comes_with_its_reasons(run: Path) -> None:
    answer = _system(run)["answer"]
    assert (answer["value"], answer["unit"], answer["verdict"]) == (
        "6.020 ± 0.050", "eV", "Converged",
    )  # fmt: skip
    assert "Model minus labeller, seed by seed: +0.020 ± 0.010 eV." in answer["against"]
    settled, confirmed = answer["reasons"]
    assert settled["met"] and "+0.010 ± 0.005 eV (allowed 0.05 eV, once)" in settled["text"]
    assert confirmed["met"] and "energies 5 meV (allowed 20)" in confirmed["text"]


def test_the_answer_says_that_the_labeller_contradicts_it(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    row = results["iterations"][-1]["systems"]["ethyl"]
    row |= {"error": 0.139, "error_sem": 0.03}
    (run / "results.json").write_text(json.dumps(results))
    answer = _system(run)["answer"]
    assert answer["verdict"] == "Converged, but the labeller contradicts it"
    assert not answer["converged"] and not answer["reasons"][-1]["met"]
    assert "Model minus labeller is +0.139 ± 0.030 eV, beyond" in answer["reasons"][-1]["text"]


@pytest.mark.parametrize(
    ("changes", "verdict", "met"),
    [
        ({"settled": False}, "Not converged in 1 iteration", [False, True]),
        ({"around_event": None}, "Not converged in 1 iteration", [True, False]),
        (
            {"around_event": {"n_frames": 2, "energy_mae": 0.5, "force_mae": 0.01}},
            "Not converged in 1 iteration",
            [True, False],
        ),
    ],
)
def test_a_campaign_that_has_not_converged_says_why(
    run: Path, changes: dict[str, Any], verdict: str, met: list[bool]
) -> None:
    results = json.loads((run / "results.json").read_text())
    state = results["iterations"][-1]["systems"]["ethyl"]["convergence"]
    state |= {"converged": False, **changes}
    (run / "results.json").write_text(json.dumps(results))
    answer = _system(run)["answer"]
    assert answer["verdict"] == verdict
    assert [reason["met"] for reason in answer["reasons"]] == met


def test_a_campaign_that_does_all_its_iterations_misses_no_condition(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    state = results["iterations"][-1]["systems"]["ethyl"]["convergence"]
    state |= {"converged": False, "settled": False, "around_event": None}
    (run / "results.json").write_text(json.dumps(results))
    config = json.loads((run / "config.resolved.json").read_text())
    config["stop"]["small_changes"] = 0
    (run / "config.resolved.json").write_text(json.dumps(config))
    answer = _system(run)["answer"]
    assert answer["verdict"] == "1 of 1 iterations done, as asked" and answer["reasons"] == []


def test_a_campaign_without_reference_says_that_the_error_is_not_known(tmp_path: Path) -> None:
    run = write_run(tmp_path / "free", reference=False)
    system = _system(run)
    assert 'reference = "none"' in system["answer"]["against"]
    assert {one["iteration"] for one in system["curves"]} == {0, 1}
    (side,) = _gathered(run)["films"][0]["sides"]
    assert side["title"] == "Model of iteration 1"
    assert "the error is not known" in write_report(run).read_text().replace("&#39;", "'")


def test_each_system_has_its_answer_and_its_figures(tmp_path: Path) -> None:
    run = write_run(tmp_path / "two", systems=("C4", "C6"))
    gathered = _gathered(run)
    assert [system["name"] for system in gathered["systems"]] == ["C4", "C6"]
    for system in gathered["systems"]:
        assert len(system["curves"]) == 6 and len(system["calibration"]["points"]["error"]) == 8
        assert sum(map(sum, system["labels"]["counts"].values())) == 12
    assert [one["system"] for one in gathered["films"]] == ["C4", "C6", "C4", "C6"]
    page = write_report(run).read_text()
    for place in ("curves-0", "curves-1", "calibration-1", "labels-1"):
        assert f'id="{place}"' in page


def test_text_of_files_is_no_part_of_the_page(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    quantity = Quantity(
        evil, "activation_energy", evil, evil, 0.5, ("distance", evil), ("work", evil),
        "work.dat", "pull",
    )  # fmt: skip
    run = write_run(tmp_path / "<b>x", quantity=quantity)
    results = json.loads((run / "results.json").read_text())
    for part in (results["observables"], results["reference"], results["iterations"][0]["systems"],
                 results["iterations"][1]["systems"]):  # fmt: skip
        part[evil] = part.pop("ethyl")
    (run / "results.json").write_text(json.dumps(results))
    page = write_report(run).read_text()
    assert evil not in page and "<script>alert" not in page and "<b>x" not in page
    assert _data_of(page)["systems"][0]["name"] == evil


def test_the_page_loads_nothing_and_stays_small(run: Path) -> None:
    page = write_report(run).read_text()
    shown = _without_scripts(page)
    assert "default-src 'none'" in shown
    assert not re.search(r"https?:|//\w|\bsrc=|@import|url\(", shown)
    assert len(page.encode()) < FIVE_MB
    for number in range(2, 30):  # a long campaign
        shutil.copytree(run / "iter_001", run / f"iter_{number:03d}")
    assert len(write_report(run).read_bytes()) < FIVE_MB


@pytest.mark.parametrize(
    "lost",
    [
        "labels",
        "reference",
        "structure.extxyz",
        "config.resolved.json",
        "log.txt",
        "iter_001/pull_1/work.dat",
        "iter_001/pull_1/trajectory.lammpstrj",
        "iter_001/labels.json",
        "iter_001/around_event.json",
        "iter_001/selected.extxyz",
        "iter_001",
        "results.json",
    ],
)
def test_what_is_missing_takes_only_its_own_part_away(run: Path, lost: str) -> None:
    if (run / lost).is_dir():
        shutil.rmtree(run / lost)
    else:
        (run / lost).unlink()
    assert "</html>" in write_report(run).read_text()


@pytest.mark.parametrize(
    "damaged",
    [
        "labels/labels.sqlite",
        "structure.extxyz",
        "config.resolved.json",
        "log.txt",
        "reference/pull_1/work.dat",
        "reference/pull_1/trajectory.extxyz",
        "iter_001/pull_1/work.dat",
        "iter_001/pull_1/trajectory.lammpstrj",
        "iter_001/labels.json",
        "iter_001/around_event.json",
        "iter_001/selected.extxyz",
    ],
)
@pytest.mark.slow  # all of them
@pytest.mark.parametrize("content", [b"", b"\x00\xff nonsense\n", b"[1]\n"])
def test_a_damaged_file_never_ends_the_report(run: Path, damaged: str, content: bytes) -> None:
    (run / damaged).write_bytes(content)
    assert "</html>" in write_report(run).read_text()


def test_unreadable_files_are_named(run: Path) -> None:
    (run / "iter_001" / "pull_1" / "work.dat").write_text("nonsense\n")
    (run / "labels" / "labels.sqlite").unlink()
    page = write_report(run).read_text()
    assert "1 file could not be read" in page and "iter_001/pull_1/work.dat: expected" in page
    assert "labels/labels.sqlite is not there" in page


def test_a_campaign_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    page = write_report(tmp_path).read_text()
    assert "Just begun" in page and "No iteration is finished" in page and "No film" in page


def test_every_term_is_explained_in_the_words_of_the_glossary() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text().replace("`", "")
    meanings = dict(re.findall(r"^\| (.+?) \| (.+?) \|", text, re.MULTILINE))
    for term, text in TERMS.items():
        assert meanings.get(term) == text, term


def test_every_explanation_that_the_page_refers_to_is_on_it(run: Path) -> None:
    page = _without_scripts(write_report(run).read_text())
    referred = set(re.findall(r'class="term" href="#([^"]+)"', page))
    assert referred and referred <= set(re.findall(r'<dd id="([^"]+)"', page))
    assert term_of("calibrated / error (meV)") == "calibrated spread"
    assert term_of("strength (GPa)", ["strength"]) == "observable"
    assert term_of("time (s)") is None


def test_the_libraries_are_those_of_their_packages() -> None:
    folder = files("alrare.campaign.page") / "libraries"
    known = re.findall(r"`(\S+\.js)` .* `([0-9a-f]{64})`", (folder / "README.md").read_text())
    assert {name for name, _ in known} == {"plotly-basic.min.js", "3Dmol-min.js"}
    for name, checksum in known:
        content = (folder / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == checksum
        assert b"</script" not in content
