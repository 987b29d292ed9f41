"""results.json, the table, the figures and the page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alrare.campaign.report import (
    convergence_line,
    iteration_table,
    outcome,
    reference_line,
    status,
    write_report,
)
from alrare.campaign.results import (
    iteration_record,
    of_system,
    read_results,
    system_record,
    write_results,
)
from alrare.config import Stop
from alrare.errors import AlrareError
from alrare.exploration.exploration import ACTIVATION_ENERGY

STOP = Stop()
HEADER = (
    "# step distance/angstrom target/angstrom force/(eV/angstrom) work/eV potential_energy/eV"
    " temperature/K\n"
)


def _curve(path: Path, peak: float, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True)
    distance = np.linspace(6.5, 9.5, 400)
    opened = (distance - 6.5) / 1.9
    work = np.where(opened < 1, peak * opened**2, peak - 0.4 * (opened - 1))
    work = work + 0.01 * rng.standard_normal(400)
    rows = [
        f"{k} {d} {d} 0 {w} -10 10\n" for k, (d, w) in enumerate(zip(distance, work, strict=True))
    ]
    path.write_text(HEADER + "".join(rows))


def _record(number: int, error: float) -> dict[str, Any]:
    evaluation = {
        "activation_energy": 6.34 + error,
        "activation_energy_sem": 0.05,
        "n_runs": 2,
        "error": error,
        "error_sem": 0.02,
        "energy_mae_test": abs(error) / 3,
        "force_mae_test": 0.1,
        "barrier_error": 0.004,
        "calibration": {"energy_std": 0.02, "energy_error": 0.05, "energy_check": 2.5},
    }
    pull = {"threshold": 0.012, "selected": 25, "above": 700, "too_similar": 675, "unphysical": 3}
    record = system_record(
        evaluation=evaluation,
        selection=[pull, pull | {"threshold": None}],
        n_chosen=50,
        convergence={"change": None, "settled": False, "around_event": None, "converged": False},
    )
    return iteration_record(
        iteration=number,
        n_labels=300 + 150 * number,
        n_left_out=0,
        systems={"hexane": record},
        seconds={"train": 120.0, "simulate": 60.5},
    )


def _changed(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Change an entry's values of its system."""
    return row | {"systems": {name: one | changes for name, one in row["systems"].items()}}


def _results(reference: dict[str, Any], *rows: dict[str, Any]) -> dict[str, Any]:
    return {"reference": {"hexane": reference}, "iterations": list(rows)}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "hexane"
    rng = np.random.default_rng(1)
    errors = [-5.3, -0.9, 0.3, 0.03]
    for seed in (1, 2):
        _curve(folder / "reference" / f"pull_{seed}" / "work.dat", 6.3 + 0.05 * seed, rng)
        for number, error in enumerate(errors):
            work = folder / f"iter_{number:03d}" / f"pull_{seed}" / "work.dat"
            _curve(work, 6.3 + 0.05 * seed + error, rng)
    (folder / "config.toml").write_text('name = "hexane"  # <script>\n')
    write_results(
        folder,
        observables={"hexane": ACTIVATION_ENERGY.to_json()},
        reference={
            "hexane": {"activation_energy": 6.34, "activation_energy_sem": 0.05, "n_runs": 2}
        },
        iterations=[_record(number, error) for number, error in enumerate(errors)],
    )
    return folder


def test_a_record_holds_the_keys_of_the_results_file(run: Path) -> None:
    row = of_system(read_results(run))["iterations"][2]
    assert row == of_system(read_results(run), "hexane")["iterations"][2]
    assert row["iteration"] == 2 and row["n_labels"] == 600 and row["n_runs"] == 2
    for key in ("activation_energy", "activation_energy_sem", "error", "error_sem"):
        assert isinstance(row[key], float)
    assert row["energy_mae_test"] == pytest.approx(0.1)
    assert row["selection"] == {
        "uncertainty": "energy",
        "thresholds": [0.012],
        "selected": 50,
        "above": 1400,
        "too_similar": 1350,
        "unphysical": 6,
        "chosen": 50,
    }
    assert row["seconds"] == {"train": 120.0, "simulate": 60.5}


def test_the_table_shows_each_iteration_on_one_line(run: Path) -> None:
    lines = iteration_table(read_results(run)).splitlines()
    assert "labeller: 6.340 ± 0.050 eV (2 pulls)" in lines[0]
    words = lines[-1].split()
    assert words[:8] == ["3", "750", "12.0", "50", "6", "20", "/", "50"]
    assert "6.370 ± 0.050" in lines[-1] and "+0.030 ± 0.020" in lines[-1] and "180" in words[-1]
    assert max(map(len, lines)) <= 126


def test_unknown_values_are_shown_as_a_dash() -> None:
    row = _changed(_record(0, 0.0), error=None, energy_mae_test=None, calibration=None)
    row["systems"]["hexane"]["selection"]["thresholds"] = []
    last = iteration_table({"reference": {}, "iterations": [row]}).splitlines()[-1]
    assert last.split().count("-") == 5


def test_pulls_without_an_event_are_told_in_place_of_an_activation_energy() -> None:
    broken, whole = (
        {"model": {"event": bond, "activation_energy": energy}}
        for bond, energy in (([1, 2], 6.3), (None, None))
    )
    rows = [_changed(_record(0, 0.0), runs=[broken, whole])]
    rows += [_changed(_record(1, 0.0), runs=[whole, whole], activation_energy=None)]
    reference = {"activation_energy": None, "n_runs": 2, "values": [None, None]}
    text = iteration_table(_results(reference, *rows))
    lines = text.splitlines()
    assert lines[0].strip() == "Activation energy of the labeller: no event in 2 pulls"
    assert "6.340 ± 0.050" in lines[-3] and lines[-2].strip() == "no event in 1"
    assert "no event" in lines[-1] and "6.340" not in lines[-1]
    some = {"activation_energy": 6.3, "n_runs": 2, "values": [None, 6.3]}
    assert "6.300 eV (2 pulls, no event in 1)" in reference_line(some, ACTIVATION_ENERGY.to_json())


def test_runs_whose_value_is_cut_off_are_counted_in_the_table() -> None:
    cut, whole = (
        {"model": {"event": [1, 2], "activation_energy": 6.3, "cut_off": cut_off}}
        for cut_off in (True, False)
    )
    lines = iteration_table(_results({}, _changed(_record(0, 0.0), runs=[cut, whole]))).splitlines()
    assert "6.340 ± 0.050" in lines[-2] and lines[-1].strip() == "cut off in 1"


def test_runs_that_made_no_step_are_counted_in_the_table() -> None:
    row = _changed(_record(0, 0.0), n_without_step=1)
    assert iteration_table(_results({}, row)).splitlines()[-1].strip() == "ended early 1"


def test_the_last_line_says_whether_and_why_the_campaign_converged() -> None:
    convergence = {
        "change": {"mean": -0.01, "sem": 0.004},
        "settled": True,
        "around_event": {"n_frames": 48, "energy_mae": 0.012, "force_mae": 0.25},
        "converged": False,
    }
    row = _changed(_record(3, 0.0), convergence=convergence)
    text = convergence_line(_results({}, row), STOP)
    assert text == (
        "Not converged; last change -0.010 ± 0.004 eV; on 48 frames around the event:"
        " energy 12 meV, forces 250 meV/Å."
    )
    assert convergence_line(_results({}), STOP) == "Not converged."


def test_what_the_labeller_contradicts_is_said_where_the_campaign_converged() -> None:
    row = _record(3, 0.139)  # ± 0.02
    converged = row["systems"]["hexane"]["convergence"] | {"converged": True}
    results = _results({}, _changed(row, convergence=converged))
    said = convergence_line(results, STOP)
    assert said.startswith("Converged. BUT model minus labeller is +0.139 ± 0.020 eV, beyond the")
    assert "tolerance of 0.0434 eV and twice its standard error" in said
    assert "train longer ([train] min_steps = 4000)" in said
    assert "BUT" not in convergence_line(results, Stop(tolerance=0.2))  # as al.toml says now
    assert "BUT" not in convergence_line(_results({}, row), STOP)  # the table says enough
    one = _results({}, _changed(row, convergence=converged, error_sem=None))
    assert "beyond the tolerance of 0.0434 eV: under" in convergence_line(one, STOP)
    unknown = _results({}, _changed(row, convergence=converged, error=None))
    assert convergence_line(unknown, STOP) == "Converged."


def _two_systems() -> dict[str, Any]:
    rows = []
    for number in range(2):
        row = _record(number, 0.1)
        row["systems"] = {"C4": row["systems"]["hexane"], "C6": row["systems"]["hexane"]}
        rows.append(row)
    level = {"activation_energy": 6.34, "activation_energy_sem": 0.05, "n_runs": 2}
    return {"reference": {"C4": level, "C6": level}, "iterations": rows}


def test_several_systems_have_a_line_each() -> None:
    lines = iteration_table(_two_systems()).splitlines()
    assert lines[0].startswith("C4: Activation energy of the labeller: 6.340 ± 0.050 eV")
    assert lines[1].startswith("C6: Activation")
    assert [line.split()[:3] for line in lines[-4:]] == [
        ["0", "C4", "300"],
        ["0", "C6", "300"],
        ["1", "C4", "450"],
        ["1", "C6", "450"],
    ]
    assert max(map(len, lines)) <= 126
    said = convergence_line(_two_systems(), STOP).splitlines()
    assert [line[:18] for line in said] == ["C4: Not converged.", "C6: Not converged."]


def test_the_outcome_names_the_systems_that_the_labeller_contradicts() -> None:
    results = _two_systems()  # both +0.1 ± 0.02
    assert outcome(results, Stop(tolerance=0.2)) == "converged"
    systems = results["iterations"][-1]["systems"]
    systems["C4"] = systems["C4"] | {"error": 0.03}
    assert "BUT the labeller's own runs of C6 contradict that" in outcome(results, STOP)


def test_a_system_is_asked_for_by_its_name() -> None:
    assert of_system(_two_systems(), "C6")["reference"]["n_runs"] == 2
    with pytest.raises(AlrareError, match="C7: no such system; the campaign has C4, C6"):
        of_system(_two_systems(), "C7")


def test_results_of_an_earlier_version_are_told(run: Path) -> None:
    (run / "results.json").write_text('{"reference": {}, "iterations": [{"iteration": 0}]}')
    with pytest.raises(AlrareError, match="written by an earlier version of alrare"):
        read_results(run)


@pytest.mark.slow
def test_the_report_is_one_page_with_the_table_and_figures_beside_it(run: Path) -> None:
    page = write_report(run).read_text()
    assert "<td>+0.030 ± 0.020</td>" in page
    assert "# &lt;script&gt;" in page and "# <script>" not in page
    for name in ("work_curves", "errors"):
        assert (run / f"{name}.png").stat().st_size > 10_000
        assert (run / f"{name}.svg").read_text().startswith("<?xml")


def test_a_report_of_a_campaign_that_just_began_is_possible(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    assert "report" in write_report(tmp_path).read_text()
    assert "no iteration yet" in status(tmp_path)


def test_status_tells_labels_iterations_and_the_last_lines_of_the_log(run: Path) -> None:
    from alrare.labelling.store import LabelStore
    from ase import Atoms

    with LabelStore(run / "labels" / "labels.sqlite") as store:
        store.put_ok("k", Atoms("H", positions=[[0, 0, 0]]), energy=-1.0, forces=np.zeros((1, 3)))
    (run / "log.txt").write_text("one\ntwo\nthree\nfour\n")
    text = status(run)
    assert "labels    1 ok" in text and "4 iterations" in text
    assert "log       four" in text and "one" not in text


def test_a_narrow_terminal_gets_the_columns_that_matter_most(run: Path) -> None:
    wide, narrow = status(run), status(run, width=80)
    (heading,) = (line for line in narrow.splitlines() if "labels" in line and "iter" in line)
    assert len(heading) <= 80 and "error" in heading
    assert "…" not in narrow
    assert "selected" in wide and "selected" not in narrow


def test_a_narrow_terminal_gets_long_lines_in_several_and_no_broken_rows(run: Path) -> None:
    row = "    5     822           1.3       707           0          1 / 1  7.699 ± 0.085  -0.044"
    said = "2026-11-29 11:09:18 finished, converged; results.json and both figures are there now"
    (run / "log.txt").write_text(f"{row}\n{said}\n")
    wide, narrow = status(run, width=126), status(run, width=80)
    assert row in wide and said in wide
    lines = narrow.splitlines()
    assert max(map(len, lines)) <= 80
    assert said not in narrow and said in " ".join(narrow.split())
    assert "822" not in narrow


def test_status_tells_what_the_time_went_into(run: Path) -> None:
    content = json.loads((run / "results.json").read_text())
    for row in content["iterations"]:
        row["seconds"] = {"train": 90.0, "simulate": 29.9, "label": 0.1}
    (run / "results.json").write_text(json.dumps(content))
    whole = f"{2 * len(content['iterations'])} min 00 s in iterations, train 75 %, simulate 25 %"
    assert f"time      {whole}" in status(run)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AlrareError, match=r"neither config\.toml nor results\.json is in it"):
        read_results(tmp_path)
    with pytest.raises(AlrareError, match="no such run folder"):
        status(tmp_path / "nowhere")


def test_a_damaged_results_file_is_named(run: Path) -> None:
    (run / "results.json").write_text('{"reference"')
    with pytest.raises(
        AlrareError, match=r"results\.json: damaged: expected JSON.* remove this file"
    ):
        read_results(run)
    (run / "results.json").write_text(json.dumps([1]))
    with pytest.raises(AlrareError, match=r"results\.json: expected results written by alrare"):
        read_results(run)
