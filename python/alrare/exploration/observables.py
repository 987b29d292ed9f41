"""Observables of a pull: the activation energy, and where and how a bond broke or formed.

The activation energy is the largest work until the spring has gone slack after the event: until its
tension, averaged over 75 fs, is below a tenth of the largest. The average is needed since
fragments recoil: in dimethyl ether the tension falls below zero for a moment 40 fs after the event
in some pulls and not in others, and then both kinds pull on for half a picosecond. Later the spring
only drags the fragments through the thermostat, and a work that grows with the length of the run is
no property of the bond.

The activation energy scatters by a tenth of an eV from seed to seed (docs/results.md). The work at
the event, the peak of the spring force and the highest potential energy scatter less; and pulls in
which different bonds broke should not be compared.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.units import kB
from numpy.typing import NDArray

from ..errors import SimulationError
from .event import Event, find_event
from .work import WorkCurve

PlusSteps = int | Literal["slack", "all"]
"""MD steps after the event that count; see `observe`."""
SLACK = 0.1
"""Share of the largest tension: a spring that pulls less is slack but for friction."""
SLACK_TIME = 75.0
"""fs over which the tension is averaged for that: more than a recoil takes
(docs/decisions/0040-until-the-spring-is-slack.md)."""
AFTERWARDS = 75.0
"""fs that a run of the labeller goes on after the last step that counts."""
_LOUD = 0.1
"""Share of the largest tension: where the thermal noise of the spring is more, an average over
`SLACK_TIME` does not tell when it is slack."""
_HEADER = 8  # lines of a snapshot before the atoms: step, count, box


@dataclass(frozen=True)
class Observables:
    """Observables of one pull by a model or by the labeller.

    The largest values are those until the spring has gone slack after the event, or as
    `[pull] plus_steps` says; without an event, those of the whole pull, which then say only how far
    it went.
    """

    activation_energy: float | None
    """Largest work, eV (paper, Fig. 2b); None if no bond broke or formed."""
    peak_step: int
    """MD step of the largest work, from the start of the pull."""
    work_at_event: float | None
    """Work at the event, eV; None without an event."""
    event_step: int | None
    """MD step of the event, from the start of the pull; None without an event."""
    event: Event | None
    """The first bond that broke or formed; None if none did."""
    peak_force: float
    """Largest tension of the spring, eV/Å."""
    peak_energy: float
    """Highest potential energy minus that of the first step of the pull, eV."""
    cut_off: bool = False
    """Whether the spring had not gone slack where `plus_steps` or the pull ended: the activation
    energy is then too low, by what a longer stretch would have added."""

    @property
    def value(self) -> float | None:
        """The activation energy, eV."""
        return self.activation_energy

    @property
    def center(self) -> int:
        """MD step of the event, or that of the largest work if there was none."""
        return self.peak_step if self.event_step is None else self.event_step

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)


def observe(
    curve: WorkCurve,
    frames: Sequence[Atoms],
    *,
    plus_steps: PlusSteps,
    timestep: float = 0.5,
    noise: float = 0.0,
    steps: int | None = None,
    pulled: Collection[int] = (),
) -> Observables:
    """Compute the observables of a pull from its work curve and its configurations.

    Parameters
    ----------
    curve : WorkCurve
        Work curve of the pull.
    frames : sequence of Atoms
        Trajectory of the pull in order of step, with `info["step"]`; may be empty.
    plus_steps : int, "slack" or "all"
        "slack": steps count for the largest values until the spring has gone slack after the event;
        int: but at most so many after the event; "all": the whole pull counts.
    timestep : float, fs
        Of the MD.
    noise : float, eV/Å
        `thermal_noise` of the spring. If it is more than a tenth of the largest tension the spring
        never counts as slack.
    steps : int, optional
        Steps that the pull was to have: with "all", a shorter one is cut off.
    pulled : collection of int
        The pulled atoms, from 1.

    Raises
    ------
    SimulationError
        If the curve holds no finite work.
    """
    curve = _before_nan(curve)
    known = [frame for frame in frames if frame.info.get("step", 0) <= curve.step[-1]]
    event = find_event(known, pulled)  # what a table that was cut does not show is not known
    step = None if event is None else int(known[event.index].info["step"])
    counts = np.ones(len(curve.step), dtype=bool)
    cut_off = steps is not None and bool(curve.step[-1] < steps)
    if step is not None and plus_steps != "all":
        slack = slack_step(curve.step, curve.force, step, timestep=timestep, noise=noise)
        last = _last_step(slack, step, plus_steps)
        counts = curve.step <= last
        cut_off = plus_steps != 0 and bool(slack > min(last, curve.step[-1]))
    work = np.where(counts, curve.work, np.nan)
    peak = int(np.nanargmax(work))
    return Observables(
        activation_energy=None if event is None else float(work[peak]),
        peak_step=int(curve.step[peak]),
        work_at_event=None if step is None else float(np.interp(step, curve.step, curve.work)),
        event_step=step,
        event=event,
        peak_force=_largest(curve.force[counts]),
        peak_energy=_largest(curve.potential_energy[counts]) - _first(curve.potential_energy),
        cut_off=cut_off and step is not None,
    )


def thermal_noise(spring: float, temperature: float) -> float:
    """Return by how much the tension of a spring fluctuates, eV/Å: sqrt(k kB T).

    Parameters
    ----------
    spring : float
        Spring constant k, eV/Å².
    temperature : float
        K.
    """
    return float(np.sqrt(spring * kB * temperature))


def is_decided(
    curve: WorkCurve,
    event_step: int,
    *,
    plus_steps: PlusSteps,
    timestep: float = 0.5,
    noise: float = 0.0,
) -> bool:
    """Whether a pull need not go on: its observables are known, and `AFTERWARDS` is over.

    Parameters
    ----------
    curve : WorkCurve
        Work curve so far.
    event_step : int
        MD step of its event.
    plus_steps, timestep, noise
        As of `observe`.
    """
    slack = slack_step(curve.step, curve.force, event_step, timestep=timestep, noise=noise)
    last = _last_step(slack, event_step, plus_steps)
    return bool((curve.step[-1] - last) * timestep >= AFTERWARDS)


def slack_step(
    step: NDArray[np.float64],
    tension: NDArray[np.float64],
    event_step: int,
    *,
    timestep: float,
    noise: float,
) -> float:
    """Return the first step from the event on at which a spring has gone slack, or infinity.

    Parameters
    ----------
    step : (n,) array
        MD steps, one after the other.
    tension : (n,) array
        Of the spring, eV/Å; positive where it drives the atoms.
    event_step : int
        MD step of the event.
    timestep, noise : float
        As of `observe`.
    """
    rows = np.arange(1, len(step) + 1)
    steps = max(1, round(SLACK_TIME / timestep))
    tension = np.where(np.isfinite(tension), tension, np.nan)
    total = np.convolve(tension, np.ones(steps))[: len(rows)]
    mean = total / np.minimum(rows, steps)
    largest = np.fmax.accumulate(tension)
    quiet = noise < _LOUD * largest
    slack = step[(step >= event_step) & (mean < SLACK * largest) & quiet]
    return float(slack.min(initial=np.inf))


def _last_step(slack: float, event_step: int, plus_steps: PlusSteps) -> float:
    """Return the last step that counts, infinity if the spring has not gone slack yet."""
    if plus_steps == "all":
        return np.inf
    return slack if plus_steps == "slack" else min(event_step + plus_steps, slack)


def _before_nan(curve: WorkCurve) -> WorkCurve:
    """Return a curve up to its first step whose work is no finite number."""
    finite = np.isfinite(curve.work)
    if finite.all():
        return curve
    end = int(np.argmin(finite))
    if end == 0:
        raise SimulationError("work curve: expected finite work, got only NaN; the pull blew up")
    rows = {name: row[:end] for name, row in vars(curve).items() if row is not None}
    return replace(curve, **rows)


def _largest(values: NDArray[np.float64]) -> float:
    return float(values[np.isfinite(values)].max())


def _first(values: NDArray[np.float64]) -> float:
    return float(values[np.isfinite(values)][0])


def read_trajectory(path: Path) -> list[Atoms]:
    """Read the configurations of a model's pull.

    Parameters
    ----------
    path : Path
        `trajectory.lammpstrj` of a pull; an incomplete last frame is ignored.

    Returns
    -------
    list of Atoms
        In order of step; `info["step"]` is the MD step. Positions are unwrapped. If any
        direction is periodic there is a cell, whose corner is the origin along those.

    Raises
    ------
    SimulationError
        If the file is missing or damaged.
    """
    try:
        snapshots = path.read_text(encoding="utf-8").split("ITEM: TIMESTEP\n")[1:]
    except OSError as error:
        raise SimulationError(f"{path}: no configurations of a pull ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SimulationError(f"{path}: expected the dump of a pull, got no text") from error
    try:
        frames = [_frame(text.splitlines(keepends=True)) for text in snapshots]
    except (ValueError, KeyError, IndexError) as error:
        raise SimulationError(
            f"{path}: expected the dump of a pull (id element xu yu zu), got another file ({error})"
        ) from error
    return [frame for frame in frames if frame is not None]


def _frame(lines: list[str]) -> Atoms | None:
    """Read a snapshot; return None if it is incomplete."""
    rows = lines[_HEADER:]
    if not rows:
        return None
    rows = rows[: int(lines[2])]
    if len(rows) < int(lines[2]) or not rows[-1].endswith("\n"):
        return None
    words = [row.split() for row in rows]
    positions = np.array([[float(x) for x in row[2:5]] for row in words])
    frame = Atoms([row[1] for row in words], positions, info={"step": int(lines[0])})
    _set_box(frame, lines[3], lines[4:7])
    return frame


def _set_box(frame: Atoms, header: str, rows: Sequence[str]) -> None:
    """Give a frame the box of its snapshot along the periodic directions."""
    frame.pbc = [word == "pp" for word in header.split()[-3:]]
    if not frame.pbc.any():
        return
    bounds = np.array([[float(word) for word in row.split()] for row in rows])
    low, high = bounds[:, 0], bounds[:, 1]
    xy, xz, yz = bounds[:, 2] if bounds.shape[1] == 3 else (0.0, 0.0, 0.0)
    # LAMMPS gives the box around a tilted cell ("How to: triclinic")
    low = low - [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]
    high = high - [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0]
    lx, ly, lz = high - low
    frame.positions -= np.where(frame.pbc, low, 0.0)
    frame.cell = [[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, lz]]
