"""results.json: the results of a campaign so far, with one entry per iteration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..errors import AlrareError
from ..exploration.exploration import ACTIVATION_ENERGY, Observed
from ..exploration.work import mean_of
from ..files import PathLike, read_json, write_json
from .explored import values_of

RESULTS = "results.json"


def iteration_record(
    *,
    iteration: int,
    n_labels: int,
    n_left_out: int,
    systems: Mapping[str, Mapping[str, Any]],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Return one entry of the "iterations" in results.json.

    Parameters
    ----------
    iteration : int
        Number of the iteration; 0 is the initial model.
    n_labels : int
        Number of labels that this iteration's ensemble was trained on or validated with.
    n_left_out : int
        Number of further labels that are not trained on (`[select] max_energy`, `max_force`).
    systems : mapping from str to mapping
        `system_record` by the name of the system.
    seconds : mapping from stage to float, s
        Wall time of each stage.
    """
    return {
        "iteration": iteration,
        "n_labels": n_labels,
        "n_left_out": n_left_out,
        "systems": {name: dict(record) for name, record in systems.items()},
        "seconds": dict(seconds),
    }


def system_record(
    *,
    evaluation: Mapping[str, Any],
    selection: Sequence[Mapping[str, Any]],
    n_chosen: int,
    convergence: Mapping[str, Any],
    uncertainty: Literal["energy", "force"] = "energy",
    n_without_step: int = 0,
    biased: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return what an iteration's entry holds of one system.

    Parameters
    ----------
    evaluation : mapping
        `evaluate.Evaluation.to_json()`.
    selection : sequence of mappings
        `SelectionCounts.to_json()` of each pull: threshold (eV or eV/Å), selected, above,
        too_similar, unphysical.
    n_chosen : int
        Number of candidates labelled, from all pulls, without noisy copies.
    convergence : mapping
        `Convergence.to_json()`: change, settled, around_event, converged.
    uncertainty : {"energy", "force"}
        `[select] uncertainty`, whose unit the thresholds have.
    n_without_step : int
        Runs in which nothing was observed, since they ended before the first watched step.
    biased : sequence of mappings
        As `selection`, of the runs with a bias.
    """
    return {
        **_with_present_names(evaluation),
        "n_without_step": n_without_step,
        "selection": {**_counts(selection, uncertainty), "chosen": n_chosen},
        **({"biased_selection": _counts(biased, uncertainty)} if biased else {}),
        "convergence": dict(convergence),
    }


def _counts(selection: Sequence[Mapping[str, Any]], uncertainty: str) -> dict[str, Any]:
    """Return the thresholds of runs, and the sums of their counts."""
    return {
        "uncertainty": uncertainty,
        "thresholds": [pull["threshold"] for pull in selection if pull["threshold"] is not None],
        **{
            key: sum(int(pull[key] or 0) for pull in selection)
            for key in ("selected", "above", "too_similar", "unphysical")
        },
    }


def reference_record(key: str, runs: Mapping[int, Observed]) -> dict[str, Any]:
    """Return a system's entry of the "reference" in results.json, from the labeller's runs.

    Parameters
    ----------
    key : str
        Name of the observable, `activation_energy`.
    runs : mapping from seed to Observed
    """
    values = values_of(runs)
    mean = mean_of(list(values.values())) if values else None
    return {
        key: mean and mean.mean,
        f"{key}_sem": mean and mean.sem,
        "n_runs": len(runs),
        "seeds": list(runs),
        "values": [values.get(seed) for seed in runs],
        "n_cut_off": sum(run.cut_off for run in runs.values()),
    }


def write_results(
    run: Path,
    *,
    observables: Mapping[str, Any],
    reference: Mapping[str, Any],
    iterations: Sequence[Mapping[str, Any]],
) -> None:
    """Write results.json of a run.

    Parameters
    ----------
    run : Path
        The run folder.
    observables : mapping from str to mapping
        `Quantity.to_json()` by the name of the system.
    reference : mapping from str to mapping
        `reference_record` by the name of the system.
    iterations : sequence of mappings
        Results of `iteration_record`, in order.
    """
    content = {"reference": dict(reference), "iterations": list(iterations)}
    write_json(run / RESULTS, {"observables": dict(observables), **content})


def read_results(run: PathLike) -> dict[str, Any]:
    """Read results.json of a run; return empty results if there is none yet.

    Raises
    ------
    AlrareError
        If `run` is no run folder or the file is damaged.
    """
    run = Path(run)
    _check_run(run)
    if not (run / RESULTS).is_file():
        return {"observables": {}, "reference": {}, "iterations": []}
    content = read_json(run / RESULTS)
    rows = content.get("iterations") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise AlrareError(
            f"{run / RESULTS}: expected results written by alrare, got something else"
        )
    if any("systems" not in row for row in rows):
        raise AlrareError(
            f"{run / RESULTS}: written by an earlier version of alrare; show it with that version,"
            " or run the campaign under another name (`reference` takes over its reference)"
        )
    reference = {
        name: _with_present_names(r) for name, r in (content.get("reference") or {}).items()
    }
    present = [
        row | {"systems": {name: _with_present_names(r) for name, r in row["systems"].items()}}
        for row in rows
    ]
    return {**content, "reference": reference, "iterations": present}


def _with_present_names(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record whose runs, which were called pulls once, have the name of today."""
    names = {"n_pulls": "n_runs", "pulls": "runs"}
    return {names.get(key, key): value for key, value in record.items()}


def of_system(results: Mapping[str, Any], name: str | None = None) -> dict[str, Any]:
    """Return the results of one system.

    Parameters
    ----------
    results : mapping
        Content of results.json.
    name : str, optional
        By default the first system, in a campaign of one molecule the only one.

    Returns
    -------
    dict
        ``observable``, its name, unit, ``key`` and the axes of its curve; ``reference``, the entry
        of the system, empty if there is none yet; ``iterations``, in whose
        entries those of the system stand beside ``iteration``, ``n_labels`` and the others.

    Raises
    ------
    AlrareError
        If there is no such system.
    """
    names = system_names(results)
    if name is not None and name not in names:
        raise AlrareError(f"{name}: no such system; the campaign has {', '.join(names) or 'none'}")
    name = name or next(iter(names), "")
    rows = [
        {key: value for key, value in row.items() if key != "systems"} | row["systems"][name]
        for row in results["iterations"]
    ]
    observable = (results.get("observables") or {}).get(name) or ACTIVATION_ENERGY.to_json()
    reference = dict((results.get("reference") or {}).get(name, {}))
    return {"observable": observable, "reference": reference, "iterations": rows}


def system_names(results: Mapping[str, Any]) -> list[str]:
    """Return the names of the systems in results.json, in the order of al.toml."""
    rows = results["iterations"]
    return list(rows[-1]["systems"] if rows else results.get("reference") or {})


def _check_run(run: Path) -> None:
    if not run.is_dir():
        raise AlrareError(f"{run}: no such run folder; expected one made by `alrare run al.toml`")
    if not ((run / "config.toml").is_file() or (run / RESULTS).is_file()):
        raise AlrareError(f"{run}: not a run folder: neither config.toml nor {RESULTS} is in it")
