"""results.json: the results of a campaign so far, with one entry per iteration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import AlrareError
from ..exploration.observables import Observables, activation_energies
from ..exploration.work import mean_of
from ..files import PathLike, read_json, write_json

RESULTS = "results.json"


def iteration_record(
    *,
    iteration: int,
    n_labels: int,
    n_left_out: int,
    evaluation: Mapping[str, Any],
    selection: Sequence[Mapping[str, Any]],
    n_chosen: int,
    convergence: Mapping[str, Any],
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
    evaluation : mapping
        `evaluate.Evaluation.to_json()`.
    selection : sequence of mappings
        `SelectionCounts.to_json()` of each pull: threshold (eV or eV/Å), selected, above,
        too_similar, unphysical.
    n_chosen : int
        Number of candidates labelled, from all pulls, without noisy copies.
    convergence : mapping
        `Convergence.to_json()`: change, settled, around_event, converged.
    seconds : mapping from stage to float, s
        Wall time of each stage.
    """
    counts = {
        key: sum(int(pull[key] or 0) for pull in selection)
        for key in ("selected", "above", "too_similar", "unphysical")
    }
    thresholds = [pull["threshold"] for pull in selection if pull["threshold"] is not None]
    return {
        "iteration": iteration,
        "n_labels": n_labels,
        "n_left_out": n_left_out,
        **evaluation,
        "selection": {"thresholds": thresholds, **counts, "chosen": n_chosen},
        "convergence": dict(convergence),
        "seconds": dict(seconds),
    }


def reference_record(pulls: Mapping[int, Observables]) -> dict[str, Any]:
    """Return the "reference" in results.json from the labeller's pulls by seed."""
    values = activation_energies(pulls)
    energy = mean_of(list(values.values())) if values else None
    return {
        "activation_energy": energy and energy.mean,
        "activation_energy_sem": energy and energy.sem,
        "n_pulls": len(pulls),
        "seeds": list(pulls),
        "values": [values.get(seed) for seed in pulls],
    }


def write_results(
    run: Path, *, reference: Mapping[str, Any], iterations: Sequence[Mapping[str, Any]]
) -> None:
    """Write results.json of a run.

    Parameters
    ----------
    run : Path
        The run folder.
    reference : mapping
        activation_energy (eV), activation_energy_sem (eV or None), n_pulls, ...
    iterations : sequence of mappings
        Results of `iteration_record`, in order.
    """
    write_json(run / RESULTS, {"reference": dict(reference), "iterations": list(iterations)})


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
        return {"reference": {}, "iterations": []}
    content = read_json(run / RESULTS)
    if not isinstance(content, dict) or not isinstance(content.get("iterations"), list):
        raise AlrareError(
            f"{run / RESULTS}: expected results written by alrare, got something else"
        )
    return content


def _check_run(run: Path) -> None:
    if not run.is_dir():
        raise AlrareError(f"{run}: no such run folder; expected one made by `alrare run al.toml`")
    if not ((run / "config.toml").is_file() or (run / RESULTS).is_file()):
        raise AlrareError(f"{run}: not a run folder: neither config.toml nor {RESULTS} is in it")
