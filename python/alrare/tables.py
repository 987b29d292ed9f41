"""Numbers and tables as text: for a terminal, a log, or a report."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


NO_EVENT = "no event"
"""Stands for the activation energy of a pull in which no bond broke or formed."""


def table_text(table: "Table", *, width: int) -> str:
    """Lay out a table of rich as plain text, `width` columns wide at most."""
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")


def number(value: float | None, *, factor: float = 1.0, digits: int = 3) -> str:
    """Write ``value * factor`` with some decimals, `-` for None."""
    return "-" if value is None else f"{value * factor:.{digits}f}"


def with_unit(name: str, unit: str) -> str:
    """Write a name and its unit, if it has one: `error (eV)`."""
    return f"{name} ({unit})" if unit else name


def with_sem(value: float | None, sem: float | None, sign: str = "") -> str:
    """Write a value and its standard error: `7.727 ± 0.083`.

    Parameters
    ----------
    value : float or None
        None is written as `-`.
    sem : float or None
        Standard error in the unit of the value; left out if None.
    sign : {"", "+"}
        "+" writes the sign of positive values too.
    """
    if value is None:
        return "-"
    return f"{value:{sign}.3f}" + ("" if sem is None else f" ± {sem:.3f}")


def mean_with_sem(mean: Mapping[str, Any] | None, sign: str = "") -> str:
    """Write the entries "mean" and "sem" of a mapping as `with_sem` does, `-` for None."""
    return "-" if mean is None else with_sem(mean["mean"], mean["sem"], sign)
