"""Writing the page: the template, its styles and scripts, and the libraries that it carries."""

import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...files import write_text
from ...progress import duration
from ...tables import with_unit
from .data import page_data
from .terms import TERMS, place, term_of

LIBRARIES = ("plotly-basic.min.js", "3Dmol-min.js")
"""What draws the figures and the film: libraries/README.md."""


def write_page(
    target: Path,
    run: Path,
    results: Mapping[str, Any],
    *,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    sentences: Sequence[str],
) -> None:
    """Write the page of a campaign, which needs no other file.

    Parameters
    ----------
    target : Path
        report.html.
    run : Path
        The run folder.
    results : mapping
        `read_results`.
    headings : sequence of str
        Of the table by iteration.
    rows : sequence of sequences of str
        Its cells.
    sentences : sequence of str
        What the labeller found, and what the table shows.

    Raises
    ------
    AlrareError
        If the disk refuses the write.
    """
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("alrare.campaign.page", "template"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    environment.globals |= {"place": place, "duration": duration}
    environment.filters["with_unit"] = with_unit
    data = plain(page_data(run, results))
    symbols = [system["observable"]["symbol"] for system in data["systems"]]
    configuration = run / "config.toml"
    template = files("alrare.campaign.page") / "template"
    libraries = files("alrare.campaign.page") / "libraries"
    page = environment.get_template("page.html.jinja").render(
        name=run.resolve().name,
        data=data,
        headings=[(heading, term_of(heading, symbols)) for heading in headings],
        rows=rows,
        sentences=sentences,
        terms=TERMS,
        config=_text(configuration),
        style=(template / "page.css").read_text(encoding="utf-8"),
        scripts=[
            *((libraries / name).read_text(encoding="utf-8") for name in LIBRARIES),
            *((template / name).read_text(encoding="utf-8") for name in ("figures.js", "film.js")),
        ],
    )
    write_text(target, page)


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: no tuples, and None for what is no number."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
