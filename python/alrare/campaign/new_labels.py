"""What an iteration has labelled: the candidates of its pulls, and their path around the break."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ase import Atoms

from ..exploration.observables import Observables
from ..files import read_json, write_json
from ..frames import frame_key, read_frames, write_frames
from ..labelling.store import LabelStore
from ..selection.augment import noisy_copies
from ..selection.budget import choose
from .around_break import PathErrors, path_errors, path_frames
from .context import Campaign
from .run_folder import timed


def label_around_break(
    campaign: Campaign,
    iteration: int,
    folder: Path,
    model: Path,
    start: Atoms,
    paths: Mapping[int, Sequence[Atoms]],
    seen: Mapping[int, Observables],
) -> tuple[list[str], PathErrors | None]:
    """Label configurations of the model's own path around the break.

    Parameters
    ----------
    campaign : Campaign
    iteration : int
    folder : Path
        Of the iteration; what was done there is read from `around_break.json`.
    model : Path
        ensemble.safetensors.
    start : Atoms
        The relaxed structure, labelled.
    paths : mapping from seed to sequence of Atoms
        Configurations of the model's pulls.
    seen : mapping from seed to Observables
        Of the same pulls.

    Returns
    -------
    list of str
        Keys of the labels.
    PathErrors or None
        Of the driving potential there; None where none were asked for, or no label was to be had.
    """
    select, record = campaign.config.select, folder / "around_break.json"
    if not select.around_break:
        return [], None
    if not record.is_file():
        with timed(folder, "label around the break"):
            frames = path_frames(
                [paths[seed] for seed in sorted(paths)],
                [seen[seed].peak_step for seed in sorted(paths)],
                n_frames=select.around_break,
                before=select.before,
                after=select.after,
            )
            keys = campaign.label(frames, f"around the break {iteration}")
            with LabelStore(campaign.store_path) as store:
                labels = store.frames(keys)
            driver = campaign.config.driver
            errors = path_errors(model, start, labels, driver=driver) if labels else None
            write_json(record, {"keys": keys, **(errors.to_json() if errors else {})})
    content = read_json(record)
    return content.pop("keys"), PathErrors(**content) if content else None


def label_candidates(
    campaign: Campaign,
    iteration: int,
    folder: Path,
    candidates: Mapping[int, Path],
    seen: Mapping[int, Observables],
) -> tuple[list[str], list[str]]:
    """Label what the iteration's budget takes of the candidates, and noisy copies.

    Parameters
    ----------
    campaign, iteration, folder, seen
        As for `label_around_break`; what was done is read from `labels.json`.
    candidates : mapping from seed to Path
        What fix al_select wrote in each pull.

    Returns
    -------
    list of str, list of str
        Keys of the labels: of the candidates, and of their copies.
    """
    record = folder / "labels.json"
    if not record.is_file():
        frames = _select(campaign, iteration, folder, candidates, seen)
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
    seen: Mapping[int, Observables],
) -> list[Atoms]:
    """Return what is to be labelled, from disk when it was decided already."""
    chosen_path = folder / "selected.extxyz"
    if chosen_path.is_file():
        return read_frames(chosen_path)
    select, augment = campaign.config.select, campaign.config.augment
    chosen = choose(
        list(candidates.values()),
        last_steps=[_last_step(seen.get(seed), select.after_break) for seed in candidates],
        maximum=select.max_per_iteration,
        strategy=select.strategy,
    )
    wanted = augment.iterations is None or iteration < augment.iterations
    copies = noisy_copies(
        chosen,
        copies=augment.copies if wanted else 0,
        amplitude=augment.amplitude,
        rng=campaign.rng(iteration, "noise"),
    )
    if chosen:
        write_frames(chosen_path, [*chosen, *copies])
        return read_frames(chosen_path)
    return []


def _last_step(pull: Observables | None, after_break: int | None) -> int | None:
    """Return the last MD step of a pull whose candidates are worth a label."""
    if pull is None or pull.break_step is None or after_break is None:
        return None
    return pull.break_step + after_break
