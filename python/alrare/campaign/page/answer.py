"""The answer of a campaign in sentences: the observable, and whether and why it has converged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...config import Stop
from ...exploration.exploration import cut_off_sentence
from ...tables import NO_EVENT, with_sem
from ..report import contradiction


def answer(
    results: Mapping[str, Any], *, stop: Stop, n_atoms: int | None, iterations: int | None
) -> dict[str, Any]:
    """Return what a system's campaign has found so far.

    Parameters
    ----------
    results : mapping
        `of_system`.
    stop : Stop
        The `[stop]` table.
    n_atoms : int or None
        Number of atoms of the structure; None if it is not known.
    iterations : int or None
        How many the campaign does at most; None if it is not known.

    Returns
    -------
    dict
        ``value`` (text with its error), ``unit``, ``name``, ``against`` (a sentence that compares
        it with the labeller), ``converged``, ``verdict`` and ``reasons``: ``met`` (None: not known)
        and ``text`` of each condition.
    """
    observable, rows = results["observable"], results["iterations"]
    row = rows[-1] if rows else {}
    state = row.get("convergence") or {}
    converged = bool(state.get("converged"))
    but = contradiction(row, observable, stop) if converged else ""
    return {
        "name": _capital(observable["name"]),
        "unit": observable["unit"],
        "value": _value(row, observable["key"]) if rows else "not known yet",
        "basis": _basis(row, observable) if rows else "No iteration is finished.",
        "against": _against(row, results["reference"], observable),
        "converged": converged and not but,
        "verdict": "Converged, but the labeller contradicts it"
        if but
        else _verdict(len(rows), converged, stop, iterations),
        "reasons": _reasons(row, state, observable, stop, n_atoms, but) if rows else [],
    }


def _value(row: Mapping[str, Any], key: str) -> str:
    if row.get(key) is None:
        return NO_EVENT if row.get("runs") else "not known"
    return with_sem(row[key], row.get(f"{key}_sem"))


def _basis(row: Mapping[str, Any], observable: Mapping[str, Any]) -> str:
    n, runs = row.get("n_runs", 0), observable["runs"]
    without = sum(pull["model"].get(observable["key"]) is None for pull in row.get("runs") or [])
    text = (
        f"By the model of iteration {row['iteration']}, trained on {row['n_labels']} labels, in {n}"
        f" {runs}{'' if n == 1 else 's'}"
    )
    return f"{text}, {without} of them without an event." if without else f"{text}."


def _against(
    row: Mapping[str, Any], reference: Mapping[str, Any], observable: Mapping[str, Any]
) -> str:
    key, unit, runs = observable["key"], observable["unit"], observable["runs"]
    if reference.get("n_runs") == 0:
        return f'The labeller does no {runs}s (reference = "none"): the error is not known.'
    if reference.get(key) is None:
        values = reference.get("values") or []
        if values and values.count(None) == len(values):
            return f"The labeller's own {runs}s have no event: the error is not known."
        return f"The labeller's own {runs}s are not there yet."
    level = with_sem(reference[key], reference.get(f"{key}_sem"))
    text = f"The labeller's own {runs}s: {level} {unit}".rstrip()
    if row.get("error") is None:
        return f"{text}."
    error = f"{with_sem(row['error'], row.get('error_sem'), '+')} {unit}".rstrip()
    return f"{text}. Model minus labeller, seed by seed: {error}."


def _verdict(n_rows: int, converged: bool, stop: Stop, iterations: int | None) -> str:
    done = n_rows - 1  # without the initial model
    if converged:
        return "Converged"
    if iterations is not None and done >= iterations:
        if stop.small_changes == 0:
            return f"{iterations} of {iterations} iterations done, as asked"
        return f"Not converged in {iterations} iteration{'' if iterations == 1 else 's'}"
    return "Not converged so far" if n_rows else "Just begun"


def _reasons(
    row: Mapping[str, Any],
    state: Mapping[str, Any],
    observable: Mapping[str, Any],
    stop: Stop,
    n_atoms: int | None,
    but: str,
) -> list[dict[str, Any]]:
    reasons = []
    if stop.small_changes:
        reasons.append(_settled(state, observable, stop))
    check = state.get("around_event")
    if check is not None:
        reasons.append(_confirmed(check, stop, n_atoms))
    elif stop.small_changes:
        text = "There are no labels around the event of the model's own runs to confirm it."
        reasons.append({"met": False, "text": text})
    lost = row.get("n_without_step", 0)
    cut = lost + sum(not pull.get("finished", True) for pull in row.get("runs") or [])
    if cut:
        text = f"{cut} of {row['n_runs'] + lost} {observable['runs']}s of the model ended early."
        reasons.append({"met": False, "text": text})
    cut_off = sum(pull["model"].get("cut_off", False) for pull in row.get("runs") or [])
    if cut_off:
        text = cut_off_sentence(cut_off, row["n_runs"], observable)
        reasons.append({"met": False, "text": f"{_capital(text)}."})
    if but:
        reasons.append({"met": False, "text": f"{_capital(but)}."})
    return reasons


def _settled(state: Mapping[str, Any], observable: Mapping[str, Any], stop: Stop) -> dict[str, Any]:
    change, unit = state.get("change"), observable["unit"]
    allowed = stop.tolerance if observable["tolerance"] is None else observable["tolerance"]
    limit = f"{allowed:.3g} {unit}".rstrip()
    times = f"{stop.small_changes} times in a row" if stop.small_changes > 1 else "once"
    rule = f"allowed {limit}, {times}"
    if not change:
        text = f"There is no earlier iteration to compare with ({rule})."
    else:
        last = f"{with_sem(change['mean'], change['sem'], '+')} {unit}".rstrip()
        text = f"The last change from iteration to iteration was {last} ({rule})."
    has = "has" if state.get("settled") else "has not"
    return {
        "met": bool(state.get("settled")),
        "text": f"The {observable['name']} {has} settled. {text}",
    }


def _confirmed(check: Mapping[str, Any], stop: Stop, n_atoms: int | None) -> dict[str, Any]:
    energy, force = check.get("energy_mae"), check.get("force_mae")
    limit = None if n_atoms is None else stop.energy_limit(n_atoms)
    if limit is None and stop.energy_error is not None:
        limit = stop.energy_error
    allowed = [
        "" if limit is None else f" (allowed {_millis(limit)})",
        f" (allowed {_millis(stop.force_error)})",
    ]
    if energy is None or force is None:
        return {"met": False, "text": "The labels around the event are no numbers."}
    met = None if limit is None else energy < limit and force < stop.force_error
    confirm = {None: "were compared with the model", True: "confirm it", False: "do not confirm it"}
    return {
        "met": met,
        "text": (
            f"{check['n_frames']} labels around the event of the model's own runs {confirm[met]}:"
            f" mean error of the energies {_millis(energy)} meV{allowed[0]}, of the forces"
            f" {_millis(force)} meV/Å{allowed[1]}."
        ),
    }


def _millis(value: float) -> str:
    """Write a value in thousandths, with two or three digits that matter."""
    value *= 1000
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def reference_times(log: Path) -> list[str]:
    """Return what the log says of the time of the labeller's relaxation and runs."""
    if not log.is_file():
        return []
    found: dict[str, str] = {}
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        stage, done, time = line[20:].partition(": done in ")
        if done and stage.startswith(("relax", "reference")):
            found[stage] = time.strip()
    return [f"{stage} {time}" for stage, time in found.items()]
