"""Display of a campaign's results: table, plots, HTML page, status."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import Stop
from ..errors import AlrareError
from ..exploration.exploration import ACTIVATION_ENERGY
from ..exploration.table import TableCurve, read_table
from ..files import write_text
from ..labelling.store import STORE_FILE, LabelStore
from ..progress import duration
from ..tables import NO_EVENT, number, table_text, with_sem, with_unit
from .convergence import is_contradicted
from .results import of_system, read_results, system_names
from .run_folder import end_of_log, stop_of


def iteration_table(results: Mapping[str, Any], *, width: int = 126) -> str:
    """Lay out one line per iteration and system, as text for a terminal or a log.

    Where the width does not hold all columns, the last of `_LEFT_OUT` are missing.
    """
    headings, rows = _headings(results), _rows(results)
    kept = list(range(len(headings)))
    for heading in _LEFT_OUT:
        text = _table(results, headings, rows, kept, width=1000)
        if max(len(line) for line in text.splitlines()) <= width:
            break
        kept.remove(next(row for row, one in enumerate(headings) if one.startswith(heading)))
    return _table(results, headings, rows, kept, width)


def _table(
    results: Mapping[str, Any],
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    kept: Sequence[int],
    width: int,
) -> str:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        box=SIMPLE_HEAD,
        title="\n".join(_reference_lines(results)),
        title_justify="left",
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for column in kept:
        table.add_column(headings[column].replace(" ", "\n", 1), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[column] for column in kept))
    return table_text(table, width=width)


def convergence_line(results: Mapping[str, Any], stop: Stop) -> str:
    """Return for each system a sentence that says whether and why it has converged.

    Parameters
    ----------
    results : mapping
        As from `read_results`.
    stop : Stop
        The `[stop]` table.
    """
    names = system_names(results)
    lines = []
    for name in names:
        found = of_system(results, name)
        row = found["iterations"][-1] if found["iterations"] else {}
        state = row.get("convergence") or {}
        of_name = f"{name}: " if len(names) > 1 else ""
        lines.append(of_name + _convergence(state, found["observable"]["unit"]))
        if state.get("converged") and (but := contradiction(row, found["observable"], stop)):
            lines[-1] += f" BUT {but}."
    return "\n".join(lines)


def outcome(results: Mapping[str, Any], stop: Stop) -> str:
    """Say in a few words how a campaign has ended that has converged."""
    wrong = [
        name
        for name in system_names(results)
        if contradiction(
            (found := of_system(results, name))["iterations"][-1], found["observable"], stop
        )
    ]
    if not wrong:
        return "converged"
    of_names = f" of {', '.join(wrong)}" if len(system_names(results)) > 1 else ""
    return (
        f"converged, BUT the labeller's own runs{of_names} contradict that (`alrare status` says by"
        " how much)"
    )


def contradiction(row: Mapping[str, Any], observable: Mapping[str, Any], stop: Stop) -> str:
    """Say by how much the labeller's own runs contradict a model, and what helps; empty if not.

    Parameters
    ----------
    row : mapping
        Entry of an iteration, of `of_system`.
    observable : mapping
        `Quantity.to_json()`.
    stop : Stop
        The `[stop]` table.
    """
    sem, tolerance = row.get("error_sem"), observable["tolerance"] or stop.tolerance
    if not is_contradicted(row.get("error"), sem, tolerance):
        return ""
    error = f"{with_sem(row['error'], sem, '+')} {observable['unit']}".rstrip()
    limit = f"{tolerance:.3g} {observable['unit']}".rstrip()
    chance = "" if sem is None else " and twice its standard error"
    return (
        f"model minus labeller is {error}, beyond the tolerance of {limit}{chance}: under another"
        " name, train longer ([train] min_steps = 4000) or take more labels around the event"
        " ([select] around_event)"
    )


def _convergence(state: Mapping[str, Any], unit: str) -> str:
    change, check = state.get("change"), state.get("around_event")
    parts = ["Converged" if state.get("converged") else "Not converged"]
    if change:
        parts.append(f"last change {with_sem(change['mean'], change['sem'], '+')} {unit}".rstrip())
    if check:
        parts.append(
            f"on {check['n_frames']} frames around the event: energy"
            f" {1000 * check['energy_mae']:.0f} meV, forces {1000 * check['force_mae']:.0f} meV/Å"
        )
    return "; ".join(parts) + "."


def status(run: Path, *, width: int = 126) -> str:
    """Return a text on how far a campaign is, read from its run folder.

    No line but one with a longer path has more columns than `width`.

    Raises
    ------
    AlrareError
        If `run` is no run folder.
    """
    results = read_results(run)
    lines = [f"campaign  {run}"]
    store = run / "labels" / STORE_FILE
    if store.is_file():
        try:
            with LabelStore(store) as labels:
                counts = labels.counts()
            lines.append("labels    " + ", ".join(f"{n} {word}" for word, n in counts.items()))
        except AlrareError as error:  # busy, or on a read-only disk: show the rest all the same
            lines.append(f"labels    {error}")
    done = len(results["iterations"])
    count = f"{done} iteration{'' if done == 1 else 's'}, counting the initial model"
    lines.append(f"finished  {count if done else 'no iteration yet'}")
    if done:
        lines.append(f"time      {_time_by_stage(results)}")
    log = run / "log.txt"
    if log.is_file():
        ends = [f"log       {line}" for line in end_of_log(log)]
        # A row of a table that is too wide tells nothing that the table below does not.
        lines += [line for line in ends if len(line) <= width or not line.startswith(" ", 10)]
    lines = [_wrapped(line, width, indent=10) for line in lines]
    if done:
        said = convergence_line(results, stop_of(run))
        sentences = [_wrapped(line, width) for line in said.splitlines()]
        lines += ["", iteration_table(results, width=width), "", *sentences]
    return "\n".join(lines)


def _wrapped(line: str, width: int, indent: int = 0) -> str:
    """Break a line between words, of which a long path is one; further lines are indented."""
    return textwrap.fill(
        line,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _time_by_stage(results: Mapping[str, Any]) -> str:
    """Return what the iterations took in all, by stage, the longest first."""
    total: Counter[str] = Counter()
    for row in results["iterations"]:
        total.update(row.get("seconds") or {})
    whole = sum(total.values())
    parts = [
        f"{stage} {100 * seconds / whole:.0f} %"
        for stage, seconds in total.most_common()
        if seconds > 0.005 * whole
    ]
    return ", ".join([f"{duration(whole)} in iterations", *parts])


def write_plots(run: Path) -> list[Path]:
    """Draw work_curves and errors (.png and .svg) into the run folder; return the PNG files.

    The curves are those of the pulls in ``reference`` and ``iter_KKK``. With several systems, each
    has its own figures: ``work_curves_NAME``, ``errors_NAME``.
    """
    from ..exploration.plots import plot_errors, plot_work  # matplotlib takes a second to import

    results = read_results(run)
    names = system_names(results) or [""]
    figures = []
    for name in names:
        subfolder, suffix = (name, f"_{name}") if len(names) > 1 else ("", "")
        observable = of_system(results, name or None)["observable"]
        iterations = {
            int(folder.name.removeprefix("iter_")): curves
            for folder in sorted(run.glob("iter_[0-9]*"))
            if (curves := _curves(folder / subfolder, observable))
        }
        plot_work(
            run / f"work_curves{suffix}",
            reference=_curves(run / "reference" / subfolder, observable),
            iterations=iterations,
            labels=(observable["x"][1], observable["y"][1]),
        )
        figures.append(run / f"work_curves{suffix}.png")
        if results["iterations"]:
            plot_errors(run / f"errors{suffix}", results=of_system(results, name))
            figures.append(run / f"errors{suffix}.png")
    return figures


def write_report(run: Path) -> Path:
    """Write report.html, an interactive page that needs no other file, and the figures beside it.

    Raises
    ------
    AlrareError
        If `run` is no run folder, or the disk refuses a write.
    """
    page = report_page(run)
    write_plots(run)
    target = run / "report.html"
    write_text(target, page)
    return target


def report_page(run: Path, *, state: str = "") -> str:
    """Return the page of `write_report`; with a state that of `alrare watch`.

    Raises
    ------
    AlrareError
        If `run` is no run folder.
    """
    from .page.render import page_text  # jinja2

    results = read_results(run)
    return page_text(
        run,
        results,
        headings=_headings(results),
        rows=_rows(results),
        sentences=[*(f"{line}." for line in _reference_lines(results)), _explanation(results)],
        state=state,
    )


_THRESHOLD = "threshold"
_HEADINGS = (
    "iter",
    "labels",
    _THRESHOLD,
    "selected",
    "unphysical",
    "calibrated / error (meV)",
    "observable",
    "error",
    "barrier error (meV)",
    "test MAE (meV)",
    "time (s)",
)


_LEFT_OUT = _HEADINGS[4], _HEADINGS[3], _HEADINGS[2], _HEADINGS[5], _HEADINGS[8], _HEADINGS[10]
"""Columns that a narrow terminal does without, the first of them first."""


def _headings(results: Mapping[str, Any]) -> list[str]:
    names = system_names(results)
    found = [of_system(results, name)["observable"] for name in names]
    symbols, units = ({one[key] for one in found} for key in ("symbol", "unit"))
    symbol = symbols.pop() if len(symbols) == 1 else "observable"
    unit = units.pop() if len(units) == 1 else ""
    renamed = {"observable": with_unit(symbol, unit), "error": with_unit("error", unit)}
    renamed[_THRESHOLD] = f"threshold ({_unit_of_thresholds(results)})"
    first, *others = [renamed.get(heading, heading) for heading in _HEADINGS]
    return [first, *(["system"] if len(names) > 1 else []), *others]


def _unit_of_thresholds(results: Mapping[str, Any]) -> str:
    systems = [one for row in results["iterations"] for one in row["systems"].values()]
    kinds = {(one.get("selection") or {}).get("uncertainty") for one in systems}
    units = {"energy": "meV", "force": "meV/Å", None: "meV, meV/Å"}  # earlier it was not said
    return units[kinds.pop() if len(kinds) == 1 else None]


def _rows(results: Mapping[str, Any]) -> list[list[str]]:
    """Return the cells of the table, the systems of an iteration below each other."""
    names = system_names(results)
    by_system = [of_system(results, name)["iterations"] for name in names]
    keys = [of_system(results, name)["observable"]["key"] for name in names]
    rows = []
    for of_iteration in zip(*by_system, strict=True):
        for name, key, row in zip(names, keys, of_iteration, strict=True):
            first, *others = _cells(row, key)
            rows.append([first, *([name] if len(names) > 1 else []), *others])
    return rows


def _cells(row: Mapping[str, Any], key: str) -> list[str]:
    selection = row.get("selection") or {}
    thresholds = selection.get("thresholds") or []
    mean = sum(thresholds) / len(thresholds) if thresholds else None
    new = row.get("calibration") or {}
    return [
        str(row["iteration"]),
        str(row["n_labels"]),
        _millis(mean, 1),
        *(str(selection.get(count, "-")) for count in ("selected", "unphysical")),
        f"{_millis(_calibrated_std(new), 0)} / {_millis(new.get('energy_error'), 0)}",
        _observable(row, key),
        with_sem(row.get("error"), row.get("error_sem"), sign="+"),
        _millis(row.get("barrier_error"), 1),
        _millis(row.get("energy_mae_test"), 1),
        f"{sum((row.get('seconds') or {}).values()):.0f}",
    ]


def _calibrated_std(new: Mapping[str, Any]) -> float | None:
    """Return the rms energy_std, calibrated by labels of other pulls than those it is for, eV."""
    error, check = new.get("energy_error"), new.get("energy_check")
    return error / check if error is not None and check else None


def _observable(row: Mapping[str, Any], key: str) -> str:
    pulls = row.get("runs") or []
    cut = row.get("n_without_step", 0) + sum(not pull.get("finished", True) for pull in pulls)
    ended = f"\nended early {cut}" if cut else ""
    runs = [pull["model"] for pull in pulls]
    without = sum(run[key] is None for run in runs)
    if runs and without == len(runs):
        return f"{NO_EVENT}{ended}"
    text = with_sem(row.get(key), row.get(f"{key}_sem"))
    cut_off = sum(run.get("cut_off", False) for run in runs)
    ended += f"\ncut off in {cut_off}" if cut_off else ""
    return (f"{text}\n{NO_EVENT} in {without}" if without else text) + ended


def _millis(value: float | None, digits: int) -> str:
    """Write a value in meV; a small one with one digit more than 0 would have."""
    small = digits == 0 and value is not None and abs(value) < 0.0095
    return number(value, factor=1000.0, digits=1 if small else digits)


def _reference_lines(results: Mapping[str, Any]) -> list[str]:
    names = system_names(results)
    found = [of_system(results, name) for name in names] or [of_system(results)]
    return [
        (f"{name}: " if len(names) > 1 else "")
        + reference_line(one["reference"], one["observable"])
        for name, one in zip(names or [""], found, strict=True)
    ]


def reference_line(reference: Mapping[str, Any], observable: Mapping[str, Any]) -> str:
    """Return the labeller's observable of a system as a phrase.

    Parameters
    ----------
    reference : mapping
        `results.reference_record`.
    observable : mapping
        `Quantity.to_json()`.
    """
    name, key, runs = observable["name"], observable["key"], f"{observable['runs']}s"
    value = reference.get(key)
    of_labeller = f"{name[0].upper()}{name[1:]} of the labeller"
    missing = (reference.get("values") or []).count(None)
    if value is None and missing:
        return f"{of_labeller}: {NO_EVENT} in {missing} {runs}"
    if value is None and reference.get("n_runs") == 0:
        return f'The labeller does no {runs} (reference = "none"): errors are not known'
    if value is None:
        return f"{of_labeller}: not known yet"
    without = f", {NO_EVENT} in {missing}" if missing else ""
    text = f"{with_sem(value, reference.get(f'{key}_sem'))} {observable['unit']}".rstrip()
    return f"{of_labeller}: {text} ({reference.get('n_runs', '?')} {runs}{without})"


def _curves(folder: Path, observable: Mapping[str, Any]) -> list[TableCurve]:
    """Return the curve of each run in a folder."""
    files = sorted(folder.glob(f"{observable['runs']}_*/{observable['table']}"))
    tables = [read_table(path) for path in files]
    return [TableCurve(one[observable["x"][0]], one[observable["y"][0]]) for one in tables]


def _explanation(results: Mapping[str, Any]) -> str:
    """Say what the column of the observable shows."""
    observables = [of_system(results, name)["observable"] for name in system_names(results)]
    found = dict.fromkeys(one["name"] for one in observables or [of_system(results)["observable"]])
    if list(found) == [ACTIVATION_ENERGY.name]:
        return (
            "E_a: maximum of the work of a pull, mean ± standard error over the seeds in whose"
            " pulls a bond broke or formed, until the spring is slack or as plus_steps says."
        )
    return " ".join(
        f"{name[0].upper()}{name[1:]}: mean ± standard error over the seeds." for name in found
    )
