"""Making the page: the template, its styles and scripts, and the libraries that it carries."""

import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...progress import duration
from ...tables import with_unit
from ..run_folder import own_file
from .data import page_data
from .terms import TERMS, place, term_of

LIBRARIES = ("plotly-basic.min.js", "3Dmol-min.js")
"""What draws the figures and the film: libraries/README.md."""


def page_text(
    run: Path,
    results: Mapping[str, Any],
    *,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    sentences: Sequence[str],
    state: str = "",
) -> str:
    """Return the page of a campaign, which needs no other file.

    Parameters
    ----------
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
    state : str
        Of a page that `alrare watch` serves: the state that it shows. It asks for the present one
        every few seconds, and loads itself again when that is another.
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
    template = files("alrare.campaign.page") / "template"
    libraries = files("alrare.campaign.page") / "libraries"
    own = ("figures.js", "film.js", *(("watch.js",) if state else ()))
    return environment.get_template("page.html.jinja").render(
        state=state,
        name=run.resolve().name,
        data=data,
        headings=[(heading, term_of(heading, symbols)) for heading in headings],
        rows=rows,
        sentences=sentences,
        terms=TERMS,
        config=_text(run, "config.toml"),
        style=(template / "page.css").read_text(encoding="utf-8"),
        scripts=[
            *((libraries / name).read_text(encoding="utf-8") for name in LIBRARIES),
            *((template / name).read_text(encoding="utf-8") for name in own),
        ],
    )


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: no tuples, and None for what is no number."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _text(run: Path, name: str) -> str:
    """Return the text of a file of the run folder; empty without it (`own_file`)."""
    path = own_file(run, name)
    return "" if path is None else path.read_text(encoding="utf-8", errors="replace")
