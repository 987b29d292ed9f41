"""Labels of an iteration's candidates, and of noisy copies of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ase import Atoms

from ..exploration.observables import Observables
from ..files import read_json, write_json
from ..frames import frame_key, read_frames, write_frames
from ..selection.augment import noisy_copies
from ..selection.budget import choose
from .context import Campaign


def label_candidates(
    campaign: Campaign,
    iteration: int,
    folder: Path,
    candidates: Mapping[int, Path],
    observables: Mapping[int, Observables],
) -> tuple[list[str], list[str]]:
    """Label the candidates that the budget allows, and noisy copies of them.

    Parameters
    ----------
    campaign : Campaign
    iteration : int
    folder : Path
        Folder of the iteration. If it holds `labels.json`, the result is read from there.
    observables : mapping from seed to Observables
        Observables of the model's pulls.
    candidates : mapping from seed to Path
        The file that fix al_select wrote in each pull.

    Returns
    -------
    list of str, list of str
        Keys of the candidates' labels, and keys of their copies' labels.
    """
    record = folder / "labels.json"
    if not record.is_file():
        frames = _select(campaign, iteration, folder, candidates, observables)
        keys = campaign.label(frames, f"iteration {iteration}")
        if not frames:
            campaign.progress.message(
                f"iteration {iteration}: no configuration was above the threshold"
            )
        of_copies = {frame_key(f, campaign.method) for f in frames if "copy_of" in f.info}
        content = {
            "chosen": [key for key in keys if key not in of_copies],
            "copies": [key for key in keys if key in of_copies],
        }
        write_json(record, content)
    content = read_json(record)
    return content["chosen"], content["copies"]


def _select(
    campaign: Campaign,
    iteration: int,
    folder: Path,
    candidates: Mapping[int, Path],
    observables: Mapping[int, Observables],
) -> list[Atoms]:
    """Return the configurations to label; read from `selected.extxyz` if it exists."""
    chosen_path = folder / "selected.extxyz"
    if chosen_path.is_file():
        return read_frames(chosen_path)
    select, augment = campaign.config.select, campaign.config.augment
    chosen = choose(
        list(candidates.values()),
        last_steps=[_last_step(observables.get(seed), select.after_event) for seed in candidates],
        maximum=select.max_per_iteration,
        strategy=select.strategy,
    )
    wanted = augment.first_iterations == "all" or iteration < augment.first_iterations
    copies = noisy_copies(
        chosen,
        copies=augment.copies if wanted else 0,
        amplitude=augment.amplitude,
        rng=campaign.rng(iteration, "noise"),
    )
    if chosen:
        write_frames(chosen_path, campaign.of_molecule([*chosen, *copies]))
        return read_frames(chosen_path)
    return []


def _last_step(pull: Observables | None, after_event: int | Literal["all"]) -> int | None:
    """Return the MD step after which a pull's candidates are not labelled; None: no limit."""
    if pull is None or pull.event_step is None or after_event == "all":
        return None
    return pull.event_step + after_event
