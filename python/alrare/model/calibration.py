r"""Calibration: factors that make an error of a model's spread, from labels new to it.

The members of an ensemble agree better with each other than with the labeller, by a factor that
depends on the model and on where it is used. It is measured where there are labels that the model
was not trained on, and kept in the model file. One factor scales all spreads, as in the linear
scaling of Musil, Willatt, Langovoy, Ceriotti, "Fast and accurate uncertainty estimation in chemical
machine learning", J. Chem. Theory Comput. 2019, 15, 906 (arXiv:1809.07653), where alpha squared is
the mean of (error / spread)². Here it is the mean squared error over the mean squared spread,

.. math:: \alpha = \sqrt{\sum_n (\bar E_n - E_n)^2 / \sum_n \sigma_n^2},

so that frames of small spread, whose few members happen to agree, do not decide it. It takes up
what a sample of few members is wrong by, too. What else was tried: docs/decisions/0025.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ase import Atoms

from ..errors import AlrareError
from ..files import PathLike
from ..frames import frame_key
from .accuracy import Calibration, check_frames, compare
from .ensemble import Ensemble, load_ensemble, model_path
from .model_file import (
    CHECKSUM,
    SpreadFactors,
    model_hash,
    read_export_metadata,
    read_metadata,
    spread_factors,
)
from .torchscript import export_torchscript

MIN_FRAMES = 10
"""Fewest frames of a calibration: the rms of this many errors is uncertain by a fifth."""


def calibrate(model: PathLike, frames: Sequence[Atoms]) -> SpreadFactors:
    """Calibrate a model by labelled frames that it was not trained on; both its files keep it.

    Parameters
    ----------
    model : Path or str
        `ensemble.safetensors`, or its folder. Its energies and forces stay as they are.
    frames : sequence of Atoms
        Each with a calculator that holds its energy (eV) and forces (eV/Å). They should be like
        those that the model is used for: what they do not contain the factors do not know.

    Raises
    ------
    AlrareError
        If the frames cannot be compared (`frame_errors`), their labels are by another method, or
        they are too few, or the model has no spread.
    """
    path = model_path(model, ".safetensors")
    checked = check_frames(path, frames)
    if checked.same_method is False:
        raise AlrareError(
            f"{path}: cannot be calibrated by labels of another method than those that it was"
            " trained on; relabel the frames (alrare label)"
        )
    once = {frame_key(frame, ""): frame for frame in checked.several}  # copies prove nothing
    found = compare(path, list(once.values()), forces="mean").calibration()
    factors = factors_of(found)
    if factors is None:
        raise AlrareError(
            f"{path}: cannot be calibrated: expected at least {MIN_FRAMES} frames whose composition"
            f" occurs more than once, and members that differ on them; got {found.n_frames} such"
            f" frames, energy_std {found.energy_std} eV"
        )
    write_calibration(path, factors)
    return factors


def factors_of(found: Calibration) -> SpreadFactors | None:
    """Return the factors of a comparison; None if it has too few frames or no spread."""
    if found.n_frames < MIN_FRAMES or not found.energy_ratio or not found.force_ratio:
        return None
    return SpreadFactors(found.energy_ratio, found.force_ratio, found.n_frames)


def write_calibration(model: Path, factors: SpreadFactors) -> None:
    """Write factors into `ensemble.safetensors` and, if it is of the same model, `ensemble.pt`.

    Files that hold these factors already are left as they are.
    """
    ensemble = load_ensemble(model)
    export = model_path(model, ".pt")
    exported = read_export_metadata(export) if export.is_file() else {}
    paths = (model, export) if _plain(exported) == _plain(read_metadata(model)) else (model,)
    factors = replace(factors, files={path.suffix: model_hash(path) for path in paths})
    calibrated = Ensemble(replace(ensemble.metadata, calibration=factors), ensemble.weights)
    if export in paths and spread_factors(exported) != factors:
        export_torchscript(calibrated, export)
    if ensemble.metadata.calibration != factors:
        calibrated.save(model)


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what both files of one model say alike, calibrated or not."""
    without = (CHECKSUM, "calibration", "alrare_version")
    return {key: value for key, value in metadata.items() if key not in without}
