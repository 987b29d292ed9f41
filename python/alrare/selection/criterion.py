"""The criterion of `fix al_select` on a finished trajectory: the same code, outside LAMMPS."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms

from .. import _core
from ..config import Select
from ..electronic_state import configuration
from ..errors import AlrareError
from ..files import PathLike
from ..frames import require_frames
from ..model.calculator import EnsembleCalculator
from ..model.ensemble import model_path
from ..model.species import species_of
from ..progress import Progress, SilentProgress
from .settings import open_selection

VERDICTS = ("screening", "below", "unphysical", "too_similar", "over_cap", "selected")
"""The verdicts on a frame; docs/fix_al_select.md explains each."""


@dataclass(frozen=True)
class FrameSelection:
    """Result of a selection from a trajectory."""

    frames: list[Atoms]
    """The selected frames, without labels; `info` holds the keys that the fix writes."""
    verdicts: dict[str, int]
    """Number of frames with each of `VERDICTS`."""
    threshold: float | None
    """At the last frame, eV (`uncertainty = "force"`: eV/Å); None if the window was never full."""
    mean: float
    """Mean of the uncertainty over the adaptive window or all frames, unit of the threshold."""
    std: float
    """Standard deviation of the uncertainty over the same frames."""


def select_frames(
    frames: Sequence[Atoms],
    *,
    model: PathLike,
    select: Select | None = None,
    atoms: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> FrameSelection:
    """Select the frames of a trajectory that deserve a label, as fix al_select would in a run.

    Parameters
    ----------
    frames : sequence of Atoms
        In order of time. The MD step of a frame is ``info["step"]``, else ``info["Timestep"]`` (as
        LAMMPS's dump extxyz writes it), else the number of the frame, from 0.
    model : Path or str
        `ensemble.safetensors` or its folder, evaluated by the native engine.
    select : Select, optional
        The `[select]` table; by default with its default values. `max_per_run` limits the number
        of selected frames; keys that concern whole iterations are ignored.
    atoms : two ints, optional
        Two atoms, counted from 1, whose distance (Å) is the collective variable. By default the
        variable is ``info["cv"]`` if every frame has it; otherwise there is no variable, and
        `cv_gap` is not tested.
    progress : Progress, optional
        Receives one stage that counts the frames.

    Raises
    ------
    AlrareError
        If there is no frame, the two atoms do not exist in every frame, or the model has a single
        member.
    ModelError
        If the file is not an ensemble, or the model does not know an element.
    """
    require_frames(frames, "select_frames")
    if not frames:
        raise AlrareError("select_frames: expected at least one frame, got none")
    select, progress = select or Select(), progress or SilentProgress()
    _check_atoms(frames, atoms)
    by_force = select.uncertainty == "force"
    calculator = EnsembleCalculator(model_path(model, ".safetensors"), force_std=by_force)
    has_cv = atoms is not None or all("cv" in frame.info for frame in frames)
    selection = open_selection(select, has_cv=has_cv)
    verdicts: Counter[str] = Counter()
    chosen = []
    with progress.stage("frames judged", len(frames)) as stage:
        for number, frame in enumerate(frames):
            values = _evaluate(calculator, frame)
            step = _step(frame, number)
            cv = _variable(frame, atoms) if has_cv else 0.0
            verdict = selection.judge(
                values["force_std"] if by_force else values["energy_std"],
                values["energy"],
                cv=cv,
                step=step,
                size=values["force_max"] if by_force else None,
                geometry_is_sound=partial(
                    _is_sound, frame, calculator.elements, select.min_distance
                ),
            )
            verdicts[verdict] += 1
            if verdict == "selected":
                info = {"step": step} | ({"cv": cv} if has_cv else {})
                info |= {key: values[key] for key in _written(by_force)}
                chosen.append(_candidate(frame, info | {"threshold": selection.threshold}))
            stage.update(number + 1)
    return FrameSelection(
        frames=chosen,
        verdicts={name: verdicts[name] for name in VERDICTS},
        threshold=selection.threshold,
        mean=selection.mean,
        std=selection.std,
    )


def _check_atoms(frames: Sequence[Atoms], atoms: tuple[int, int] | None) -> None:
    fewest = min((len(frame) for frame in frames), default=0)
    if atoms is None:
        return
    if atoms[0] == atoms[1] or not all(1 <= index <= fewest for index in atoms):
        raise AlrareError(
            f"atoms {atoms[0]} {atoms[1]}: expected two different atoms of each frame, from 1 to"
            f" {fewest}"
        )


def _evaluate(calculator: EnsembleCalculator, frame: Atoms) -> dict[str, Any]:
    """Return energies (eV) and, if the calculator computes them, sizes of forces (eV/Å)."""
    # such a frame has no energy and counts as unphysical
    if not np.isfinite(frame.positions).all() or not _is_sound(frame, calculator.elements, 1e-6):
        return dict.fromkeys(("energy", "energy_std", "force_std", "force_max"), np.nan)
    calculator.calculate(frame)
    values = dict(calculator.results)
    members = values["member_energies"]
    if len(members) < 2:
        raise AlrareError("the model has 1 member; the uncertainty needs at least 2")
    values["force_max"] = float(np.linalg.norm(values["forces"], axis=1).max(initial=0.0))
    return values


def _step(frame: Atoms, number: int) -> int:
    for key in ("step", "Timestep"):
        if key in frame.info:
            return int(frame.info[key])
    return number


def _variable(frame: Atoms, atoms: tuple[int, int] | None) -> float:
    if atoms is None:
        return float(frame.info["cv"])
    periodic = bool(frame.pbc.any())
    return float(frame.get_distance(atoms[0] - 1, atoms[1] - 1, mic=periodic))


def _is_sound(frame: Atoms, elements: Sequence[str], min_distance: float) -> bool:
    """Whether no two atoms, periodic images included, are nearer than `min_distance` (Å)."""
    near, _, _ = _core.neighbors(
        species_of(frame, elements),
        frame.positions,
        min_distance,
        np.asarray(frame.cell),
        [bool(periodic) for periodic in frame.pbc],
    )
    return len(near) == 0


def _written(by_force: bool) -> tuple[str, ...]:
    return ("member_energies", "energy_std") + (("force_std",) if by_force else ())


def _candidate(frame: Atoms, info: dict[str, Any]) -> Atoms:
    """Return the configuration with its info keys and without a label."""
    candidate = configuration(frame)
    candidate.info |= info
    return candidate
