"""Which system of a campaign gets how many labels of an iteration."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..selection.budget import shares
from .around_event import EventErrors, label_around_event
from .context import Campaign
from .convergence import Convergence
from .explored import Explored
from .new_labels import label_candidates
from .reference import Reference

CHECKED = 0.25
"""Share of the labels around the event for a system that had converged in the iteration before,
where another one has 1: it is only checked."""
LEAST = 0.1
"""A system that has not converged gets at least this share of the candidates of the worst one."""


def label_around_events(
    campaign: Campaign,
    iteration: int,
    folder: Path,
    model: Path,
    references: Mapping[str, Reference],
    explored: Mapping[str, Explored],
    before: Mapping[str, Convergence],
) -> tuple[dict[str, list[str]], dict[str, EventErrors | None]]:
    """Label configurations around the events; return the keys and the errors by system.

    Parameters
    ----------
    campaign : Campaign
    iteration : int
    folder : Path
        Folder of the iteration.
    model : Path
        ensemble.safetensors.
    references, explored : mapping from str
        By the name of the system.
    before : mapping from str to Convergence
        Judgment on the iteration before; empty in iteration 0.
    """
    systems, total = campaign.systems, campaign.config.select.around_event
    weights = [CHECKED if s.name in before and before[s.name].converged else 1.0 for s in systems]
    keys: dict[str, list[str]] = {}
    errors: dict[str, EventErrors | None] = {}
    for system, n_frames in zip(systems, shares(total, weights), strict=True):
        keys[system.name], errors[system.name] = label_around_event(
            campaign,
            system,
            iteration,
            folder / system.subfolder,
            n_frames,
            model,
            references[system.name].structure,
            explored[system.name],
        )
    return keys, errors


def label_all_candidates(
    campaign: Campaign,
    iteration: int,
    folder: Path,
    explored: Mapping[str, Explored],
    convergence: Mapping[str, Convergence],
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Label the candidates that the budget allows; return the keys, and those of their copies.

    A system that has converged gets nothing; the others are served in proportion to their errors
    around the event.
    """
    systems = campaign.systems
    wrong = [
        1.0 if (errors := convergence[s.name].around_event) is None else errors.energy_mae
        for s in systems
    ]
    least = LEAST * max(wrong)
    weights = [
        0.0 if convergence[system.name].converged else max(mae, least)
        for system, mae in zip(systems, wrong, strict=True)
    ]
    if not all(np.isfinite(weights)):
        weights = [0.0 if convergence[system.name].converged else 1.0 for system in systems]
    chosen: dict[str, list[str]] = {}
    copies: dict[str, list[str]] = {}
    total = campaign.config.select.max_per_iteration
    for system, maximum in zip(systems, shares(total, weights), strict=True):
        name = system.name
        chosen[name], copies[name] = label_candidates(
            campaign,
            system,
            iteration,
            folder / system.subfolder,
            maximum,
            explored[name],
        )
    return chosen, copies
