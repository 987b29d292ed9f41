"""The run folder of a campaign: its configuration, its lock, and the times of its stages."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..config import FAMILY_RECIPES, Config, Stop, tables, title_of
from ..electronic_state import state_of
from ..errors import AlrareError, ConfigError
from ..files import read_json, write_json, write_text
from ..frames import frame_key, read_frames, write_frames
from .context import System

STRUCTURE_FILE = "structure.extxyz"
"""Copy of the structures that the campaign was begun with."""
RESOLVED_FILE = "config.resolved.json"
"""The configuration with every default."""
_PLACES = (
    "structure",
    "labeller.slater_koster",
    "charge",
    "multiplicity",
    "initial.data",
    "initial.relabel",
)
"""Keys whose text does not matter. Files may move with the campaign; what is in them must stay,
which `write_config` tests for the structure, the hash of the labeller's method for parameters, and
`initial.json` for given labels.
Charge and multiplicity are those of the structure, whether al.toml, its file or nobody states
them."""
LOG_LINES = 3
"""Lines of log.txt that the status and a watched page show."""
_END_OF_LOG = 8192  # bytes that hold these lines
MAY_CHANGE = (
    "iterations",
    "run",
    "cluster",
    "stop",
    "labeller.timeout",
    "labeller.engine",
    "labeller.max_failed",
    "reference",
)
"""Keys and tables of al.toml that may be changed for a campaign that has begun, since no finished
result depends on them."""


def write_config(
    config: Config, systems: Sequence[System], config_path: Path, folder: Path
) -> None:
    """Write the configuration into the run folder; refuse one that the results do not belong to.

    Parameters
    ----------
    config : Config
    systems : sequence of System
        The molecules that `config` names.
    config_path : Path
        The al.toml.
    folder : Path
        The run folder, which this process has locked.
    """
    resolved, start = folder / RESOLVED_FILE, folder / STRUCTURE_FILE
    content = json.loads(config.model_dump_json())
    if config.explore:  # the texts of inputs and files, which are part of the results
        content["inputs"] = {
            system.name: system.exploration.settings().get("explore") for system in systems
        }
    changed = _changed(read_json(resolved), content) if resolved.is_file() else []
    structures = [system.structure for system in systems]
    begun = read_frames(start) if start.is_file() else structures
    if len(begun) != len(structures):
        changed.append("the number of systems")
    for system, before in zip(systems, begun, strict=False):
        of_system = f" of {system.name}" if system.subfolder else ""
        if state_of(before) != state_of(system.structure):
            changed.append(f"charge or multiplicity{of_system}")
        elif frame_key(before, "") != frame_key(system.structure, ""):
            changed.append(f"the structure{of_system}")
    if changed:
        raise ConfigError(
            f"{config_path}: {', '.join(changed)} changed since {folder} was begun, and its"
            " results depend on that; give the campaign a new name, or undo the change (keys that"
            f" al.toml lacks have defaults, which another alrare may have had otherwise:"
            f" {resolved})"
        )
    write_text(folder / "config.toml", config_path.read_text(encoding="utf-8-sig"))
    write_frames(start, structures)
    write_json(resolved, content)


def _changed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the keys that differ; a key that an older alrare lacked counts with its default."""
    before, after = _flat(old), _flat(new)
    defaults = _defaults(after.get("train.recipe"), after.get("model.family", "ani"))
    before = {key: value for key, value in defaults.items() if key in after} | before
    return [
        f"{key}{_values(before.get(key), after.get(key))}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and not _may_change(key)
    ]


def _values(old: Any, new: Any) -> str:
    """Name both values, where they are short and no hash of a file: ` (20, now 40)`."""
    if not all(value is None or isinstance(value, bool | int | float) for value in (old, new)):
        return ""
    return f" ({json.dumps(old)}, now {json.dumps(new)})"


def _may_change(key: str) -> bool:
    if key.startswith("system."):  # system.C4.structure
        return key.rpartition(".")[2] in _PLACES
    if key.startswith("explore."):  # what is in them is kept with each run
        *_, table, last = key.split(".")
        if table in ("columns", "variables", "observable"):
            return (table, last) == ("observable", "tolerance")
        return last in ("input", "files")
    return any(key == free or key.startswith(f"{free}.") for free in (*MAY_CHANGE, *_PLACES))


def _defaults(recipe: str | None, family: str) -> dict[str, Any]:
    """Return the default of every plain key of the tables that has one, those of a recipe too."""
    values = FAMILY_RECIPES[family].get(recipe or "", {})
    of_recipe = {f"train.{key}": value for key, value in values.items()}
    return {
        f"{name}.{key}": json.loads(json.dumps(field.default, default=str))
        for name, table in tables().items()
        for key, field in table.model_fields.items()
        if not field.is_required() and not isinstance(field.default, dict)
    } | of_recipe


def _title(entry: dict[str, Any]) -> str:
    """Return the name of a `[[system]]` or `[[explore]]` table."""
    return title_of(entry.get("name"), Path(entry.get("input", "")))


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name the values of nested tables by dotted keys: `train.epochs`."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif key in ("system", "explore"):  # the tables of a list, by name
            flat |= _flat({_title(entry): entry for entry in value}, f"{key}.")
        else:
            flat[prefix + key] = value
    return flat


def stop_of(run: Path) -> Stop:
    """Return the `[stop]` table of a run folder; its defaults if that cannot be read."""
    try:
        return stop_in(read_json(run / RESOLVED_FILE))
    except (AlrareError, OSError):
        return Stop()


def stop_in(config: Mapping[str, Any]) -> Stop:
    """Return the `[stop]` table of a resolved configuration; its defaults if it has none."""
    try:
        return Stop.model_validate(config.get("stop") or {})
    except (ConfigError, ValidationError):
        return Stop()


def own_file(run: Path, name: str) -> Path | None:
    """Return a file of a run folder; None without it, or where a link leads out of the folder."""
    path = (run / name).resolve()
    return path if path.is_file() and path.is_relative_to(run.resolve()) else None


def end_of_log(path: Path) -> list[str]:
    """Return the last lines of a log.txt that are not empty, `LOG_LINES` at most."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _END_OF_LOG))
        text = stream.read().decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()][-LOG_LINES:]


@contextmanager
def timed(folder: Path, stage: str, clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Record the time of a stage in seconds.json, the first time it runs; by default wall time.

    Of what is done beside another stage, the CPU time of the thread (`time.thread_time`) counts.
    """
    path = folder / "seconds.json"
    begin = clock()
    yield
    seconds = read_json(path) if path.is_file() else {}
    if stage not in seconds:
        seconds[stage] = round(clock() - begin, 2)
        write_json(path, seconds)
