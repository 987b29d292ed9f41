"""`alrare explore`: the explorations of an al.toml alone, by a model or by its labeller."""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..config import load_config
from ..progress import open_progress
from ..tables import NO_EVENT, mean_with_sem, number, table_text, with_unit


def add_explore(add: Callable[..., argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add `alrare explore`; return its parser."""
    one = add(
        "explore",
        explore,
        "run the explorations of an al.toml ([[explore]] or [pull]) by a model or its labeller",
        "alrare explore al.toml --model runs/sheet/iter_004 -o out --against runs/sheet/reference",
        resumes=True,
    )
    one.add_argument("config", type=Path, metavar="TOML", help="al.toml")
    one.add_argument(
        "--model",
        type=Path,
        metavar="MODEL",
        help="model folder or file (default: the labeller of al.toml runs them)",
    )
    one.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder of the runs"
    )
    one.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="compare seed by seed with the runs in DIR (of explore, an iteration or a reference)",
    )
    return one


def explore(options: argparse.Namespace) -> int:
    """Run the explorations; print and write what they have observed."""
    from ..campaign.run_alone import run_explorations

    content = run_explorations(
        load_config(options.config),
        options.output,
        model=options.model,
        against=options.against,
        progress=open_progress(quiet=options.quiet),
    )
    print(json.dumps(content, indent=1) if options.json else observed_table(content))
    return 0


def observed_table(content: Mapping[str, Any], *, width: int = 100) -> str:
    """Return the result of `run_explorations` as a table for a terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from ..exploration.exploration import cut_off_sentence

    parts = []
    for name, one in content.items():
        observable = one["observable"]
        value = with_unit(observable["name"], observable["unit"])
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=name)
        table.title_justify = "left"
        for heading in ("seed", value, "decided at step", "event"):
            table.add_column(heading, justify="right", no_wrap=True)
        for seed, run in one["runs"].items():
            value = run[observable["key"]]
            step = "none" if run["event_step"] is None else str(run["event_step"])
            shown = NO_EVENT if value is None else number(value)
            step += "" if run["finished"] else ", ended early"
            table.add_row(seed, shown, str(run["peak_step"]), step)
        table.add_section()
        table.add_row("mean", mean_with_sem(one["mean"]))
        if "difference" in one:
            table.add_row("difference", mean_with_sem(one["difference"], "+"))
        text = table_text(table, width=width)
        n_cut_off = sum(run.get("cut_off", False) for run in one["runs"].values())
        if n_cut_off:
            text += f"\nWARNING {cut_off_sentence(n_cut_off, len(one['runs']), observable)}"
        if one.get("against_cut_off"):
            n, of = one["against_cut_off"], len(one["runs"])
            text += f"\nWARNING of those compared with, {cut_off_sentence(n, of, observable)}"
        parts.append(text)
    return "\n\n".join(parts)
