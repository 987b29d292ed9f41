"""The labels of several campaigns as one data set."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from ..electronic_state import state_of
from ..errors import AlrareError
from ..files import PathLike, read_json
from ..labelling.store import STORE_FILE, LabelStore
from .run_folder import RESOLVED_FILE


@dataclass(frozen=True)
class Collection:
    """Labels of one method."""

    frames: tuple[Atoms, ...]
    """Labelled configurations, each once, in the order of the campaigns and by origin."""
    method: str
    """Hash of the method; empty for labels of a store that names none."""
    name: str
    """The method in a few words: `GFN2-xTB (tblite)`."""
    repeated: int
    """Number of labels that a campaign before had already; they are left out."""
    failed: int
    """Number of configurations whose label failed; they are left out."""


def collect_labels(campaigns: Sequence[PathLike], *, method: str | None = None) -> Collection:
    """Read the labels of campaigns, those that it did not train on and isolated atoms too.

    Parameters
    ----------
    campaigns : sequence of Path or str
        Run folders, or folders of `alrare label` that hold a label store.
    method : str, optional
        The beginning of a method's hash; needed if the labels are of several methods.

    Returns
    -------
    Collection
        Each frame carries its energy (eV) and forces (eV/Å); `info` has ``config_type``, the name
        of its campaign, ``origin``, ``charge``, ``multiplicity``, ``method`` and ``label``
        (`frames`).

    Raises
    ------
    AlrareError
        If a folder holds no labels, or the labels are of several methods and none is chosen.
    """
    if isinstance(campaigns, str) or not isinstance(campaigns, Sequence):
        raise AlrareError(
            "collect_labels: expected a sequence of run folders, such as ['runs/hexane'], got"
            f" {type(campaigns).__name__}"
        )
    folders = [Path(campaign) for campaign in campaigns]
    stores = [_store_of(folder) for folder in folders]
    known: dict[str, dict[str, Any]] = {}
    counts: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for path in stores:
        with LabelStore(path) as store:
            known |= store.methods()
            for one, statuses in store.counts_by_method().items():
                counts[one] += statuses.get("ok", 0)
                failed[one] += sum(statuses.values()) - statuses.get("ok", 0)
    chosen = _choose({one: n for one, n in counts.items() if n}, known, method, folders)
    frames: dict[str, Atoms] = {}
    repeated = 0
    for folder, path in zip(folders, stores, strict=True):
        with LabelStore(path) as store:
            keys = store.keys(method=chosen)
            new = store.frames(key for key in keys if key not in frames)
        repeated += len(keys) - len(new)
        for frame in sorted(new, key=lambda frame: (frame.info["origin"], frame.info["label"])):
            frame.info |= state_of(frame)._asdict() | {"config_type": _name_of(folder)}
            frames[frame.info["label"]] = frame
    name = _name_of_method(known.get(chosen, {}))
    return Collection(tuple(frames.values()), chosen, name, repeated, failed[chosen])


def _store_of(folder: Path) -> Path:
    for path in (folder / "labels" / STORE_FILE, folder / STORE_FILE):
        if path.is_file():
            return path
    raise AlrareError(
        f"{folder}: holds no labels; expected the run folder of a campaign (runs/NAME), or a folder"
        f" with {STORE_FILE}"
    )


def _name_of(folder: Path) -> str:
    """Return the name of a campaign; of another folder, its own."""
    resolved = folder / RESOLVED_FILE
    content = read_json(resolved) if resolved.is_file() else {}
    return str(content.get("name") or folder.absolute().name)


def _choose(
    counts: dict[str, int],
    known: dict[str, dict[str, Any]],
    wanted: str | None,
    folders: Iterable[Path],
) -> str:
    """Return the hash of the one method that is meant."""
    found = [one for one in counts if wanted is None or one.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not counts:
        raise AlrareError(f"{', '.join(map(str, folders))}: expected labels, found no good one")
    named = ", ".join(
        f"{one[:16] or 'unnamed'} ({_name_of_method(known.get(one, {}))}, {number} labels)"
        for one, number in counts.items()
    )
    if not found:
        raise AlrareError(f"method {wanted}: expected the beginning of one of {named}")
    raise AlrareError(
        f"expected labels of one method, since energies of two do not belong together, got {named};"
        " choose one with --method (method= in Python)"
    )


def _name_of_method(description: dict[str, Any]) -> str:
    program = description.get("program", "unknown")
    what = description.get("method") or description.get("calculator")
    return f"{what} ({program})" if what else str(program)
