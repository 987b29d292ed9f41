"""Labels of an iteration's candidates, and of noisy copies of them."""

from pathlib import Path
from typing import Literal

from ase import Atoms

from ..exploration.exploration import Observed
from ..files import read_json, write_json
from ..frames import frame_key, read_frames, write_frames
from ..selection.augment import noisy_copies
from ..selection.budget import choose
from .context import Campaign, System
from .explored import Explored


def label_candidates(
    campaign: Campaign,
    system: System,
    iteration: int,
    folder: Path,
    maximum: int,
    explored: Explored,
) -> tuple[list[str], list[str]]:
    """Label the candidates that the budget allows, and noisy copies of them.

    Parameters
    ----------
    campaign : Campaign
    system : System
    iteration : int
    folder : Path
        Folder of the system in the iteration. If it holds `labels.json`, the result is read from
        there.
    maximum : int
        Largest number of candidates to label, without their copies.
    explored : Explored
        The model's pulls.

    Returns
    -------
    list of str, list of str
        Keys of the candidates' labels, and keys of their copies' labels.
    """
    record = folder / "labels.json"
    content = read_json(record) if record.is_file() else {}
    known = content and campaign.has_labels([*content["chosen"], *content["copies"]])
    if not known:
        frames = _select(campaign, system, iteration, folder, maximum, explored)
        keys = campaign.label(system, frames, f"iteration {iteration}")
        where = f"iteration {iteration}" + (f", {system.name}" if system.subfolder else "")
        if not frames and maximum:
            counts = [run.selection for run in explored.runs]
            screened = any(count.threshold is not None for count in counts)
            written = sum(count.selected for count in counts)
            campaign.progress.message(
                f"{where}: no candidate is labelled: "
                + (
                    f"all {written} came later than after_event allows ([select])"
                    if written
                    else "no configuration was above the threshold"
                )
                if screened
                else f"WARNING {where}: nothing was selected: no run did"
                " the screening_steps that give the threshold ([select]); lower it, or run longer"
            )
        _warn_of_early_events(campaign, where, explored)
        of_copies = {frame_key(f, campaign.method) for f in frames if "copy_of" in f.info}
        content = {
            "chosen": [key for key in keys if key not in of_copies],
            "copies": [key for key in keys if key in of_copies],
        }
        write_json(record, content)
    return content["chosen"], content["copies"]


def _warn_of_early_events(campaign: Campaign, where: str, explored: Explored) -> None:
    """Say that the threshold is known only after the event in most runs."""
    select = campaign.config.select
    if select.threshold != "adaptive" or select.relative is not None:
        return
    steps = [observed.event_step for observed in explored.observables.values()]
    early = [step for step in steps if step is not None and step <= select.screening_steps]
    if 2 * len(early) > len(steps):
        campaign.progress.message(
            f"WARNING {where}: in {len(early)} of {len(steps)} runs the event comes within the"
            f" screening_steps = {select.screening_steps} that only give the threshold ([select]),"
            " so nothing before it is selected; lower screening_steps"
        )


def _select(
    campaign: Campaign,
    system: System,
    iteration: int,
    folder: Path,
    maximum: int,
    explored: Explored,
) -> list[Atoms]:
    """Return the configurations to label; read from `selected.extxyz` if it exists."""
    chosen_path = folder / "selected.extxyz"
    if chosen_path.is_file():
        return read_frames(chosen_path)
    select, augment = campaign.config.select, campaign.config.augment
    candidates = explored.candidates()
    chosen = (
        choose(
            [path for path, _ in candidates],
            last_steps=[_last_step(run, select.after_event) for _, run in candidates],
            maximum=maximum,
            strategy=select.strategy,
        )
        if maximum
        else []
    )
    wanted = augment.first_iterations == "all" or iteration < augment.first_iterations
    copies = noisy_copies(
        chosen,
        copies=augment.copies if wanted else 0,
        amplitude=augment.amplitude,
        rng=campaign.rng(iteration, f"noise{system.subfolder}"),
    )
    if chosen:
        write_frames(chosen_path, system.of_molecule([*chosen, *copies]))
        return read_frames(chosen_path)
    return []


def _last_step(run: Observed | None, after_event: int | Literal["all"]) -> int | None:
    """Return the MD step after which a run's candidates are not labelled; None: no limit."""
    if run is None or run.event_step is None or after_event == "all":
        return None
    return max(run.event_step + after_event, run.peak_step)
