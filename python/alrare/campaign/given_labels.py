"""First training data that were there before the campaign: labelled files, another campaign.

Which labels were taken is kept in `initial.json` of the run folder, so that a file that changes
later changes nothing in a campaign that has begun.
"""

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from ..config import Config
from ..errors import AlrareError, ConfigError
from ..files import read_json, write_json
from ..frames import check_labels, frame_key, is_isolated_atom, label_of, place_of, read_frames
from ..labelling.method import method_of
from ..labelling.store import STORE_FILE, LabelStore
from ..model.species import species_of
from ..selection.budget import most_unlike, shares
from .context import Campaign, System

INITIAL_FILE = "initial.json"
"""Keys of these labels, in the run folder."""


def given_labels(campaign: Campaign) -> list[str]:
    """Return the keys of the labels that `[initial] data` and `[initial] relabel` give.

    Frames of `data` enter the store with their labels; configurations of the campaign `relabel` are
    labelled by this campaign's labeller.

    Raises
    ------
    AlrareError
        If a frame has no label, is of another method or of an unknown element, or `relabel` names
        no campaign with labels of one of the systems.
    LabelError
        If too many labels fail.
    """
    record = campaign.folder / INITIAL_FILE
    if not record.is_file():
        initial = campaign.config.initial
        keys = [key for path in initial.data for key in _of_file(campaign, path)]
        if initial.relabel is not None:
            keys += _relabelled(campaign, initial.relabel, initial.relabel_count)
        write_json(record, {"keys": list(dict.fromkeys(keys))})
    keys = read_json(record)["keys"]
    return list(keys)


def _of_file(campaign: Campaign, path: Path) -> list[str]:
    """Store the labels of a file; return their keys."""
    config = campaign.config
    method = method_of(config.labeller, campaign.elements)
    frames = labels_of_file(config, path, method.hash, campaign.elements)
    keys = []
    with LabelStore(campaign.store_path) as store, store.transaction():
        store.put_method(method.hash, method.description)
        for frame in frames:
            energy, forces = label_of(frame)
            keys.append(frame_key(frame, method.hash))
            store.put_ok(
                keys[-1], frame, energy=energy, forces=forces, origin=path.name, method=method.hash
            )
    campaign.progress.message(f"initial data: {len(set(keys))} labels of {path}")
    return keys


def labels_of_file(config: Config, path: Path, method: str, elements: Sequence[str]) -> list[Atoms]:
    """Read a file of `[initial] data`; refuse frames that cannot join the training data.

    Parameters
    ----------
    config : Config
    path : Path
    method : str
        Hash of the labeller's method.
    elements : sequence of str
        Those of the campaign's model.

    Returns
    -------
    list of Atoms
        Without isolated atoms.
    """
    frames = [frame for frame in read_frames(path) if not is_isolated_atom(frame)]
    check_labels(frames)
    for number, frame in enumerate(frames, start=1):
        _check_method(config, frame, number, method)
        species_of(frame, elements)
    return frames


def _check_method(config: Config, frame: Atoms, number: int, method: str) -> None:
    stated = frame.info.get("method")
    if stated is None and not config.initial.data_is_by_labeller:
        raise AlrareError(
            f"{place_of(frame, number)}: does not say by which method it was labelled; if all such"
            " frames of `data` were labelled by exactly the method of [labeller], say so:"
            " data_is_by_labeller = true ([initial])"
        )
    if stated is not None and stated != method:
        raise AlrareError(
            f"{place_of(frame, number)}: labelled by another method ({str(stated)[:16]}) than that"
            f" of [labeller] ({method[:16]}), and energies of two methods do not belong"
            " together; `alrare label` labels it anew"
        )


def _relabelled(campaign: Campaign, run: Path, count: int) -> list[str]:
    """Label configurations of another campaign that differ most; return the keys."""
    frames = _trained_on(run)
    by_system = [_of_molecule(system, frames) for system in campaign.systems]
    if not any(by_system):
        formulas = ", ".join(s.structure.get_chemical_formula() for s in campaign.systems)
        raise AlrareError(
            f"{run}: holds no configuration of {formulas} ([initial] relabel); expected a campaign"
            " of the same molecule"
        )
    keys = []
    numbers = shares(count, [float(bool(frames)) for frames in by_system])
    for system, frames, number in zip(campaign.systems, by_system, numbers, strict=True):
        chosen = [frames[row] for row in most_unlike(frames, min(number, len(frames)))]
        keys += campaign.label(system, chosen, "relabelled")
    campaign.progress.message(f"initial data: {len(keys)} configurations of {run}, labelled anew")
    return keys


def require_trained(run: Path) -> Path:
    """Return dataset.json of the last iteration of a campaign; ConfigError if there is none."""
    data = sorted(run.glob("iter_[0-9]*/dataset.json"))
    if not data or not (run / "labels" / STORE_FILE).is_file():
        raise ConfigError(
            f"relabel = '{run}': expected the run folder of a campaign that has trained a model"
            " ([initial])"
        )
    return data[-1]


def last_model(run: Path) -> Path:
    """Return the model of the last iteration of a campaign; ConfigError if there is none."""
    models = sorted(run.glob("iter_[0-9]*/ensemble.safetensors"))
    if not models:
        require_trained(run)
        raise ConfigError(f"relabel = '{run}': no iteration of it has trained a model ([initial])")
    return models[-1]


def _trained_on(run: Path) -> list[Atoms]:
    """Return the configurations that the last iteration of a campaign trained on."""
    data = require_trained(run)
    with LabelStore(run / "labels" / STORE_FILE) as labels:
        return labels.frames(read_json(data)["keys"])


def _of_molecule(system: System, frames: Sequence[Atoms]) -> list[Atoms]:
    """Return the configurations of a system's molecule, with the same order of atoms."""
    numbers = system.structure.numbers.tolist()
    return [frame for frame in frames if frame.numbers.tolist() == numbers]
