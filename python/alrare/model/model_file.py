"""The bytes of the model files: metadata, checksum, calibration; no torch."""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..files import PathLike, file_hash

ENTRY = "alrare"
"""Entry of the file's metadata that holds the JSON text."""
CHECKSUM = "sha256"
"""Key in that text of the checksum of the rest of it and of the tensors."""
CURE = "copy the file again, or train again with the same command, which keeps finished members"
METADATA_FILE = "alrare.json"
"""Extra file of `ensemble.pt` that holds the JSON text."""


@dataclass(frozen=True)
class SpreadFactors:
    """The calibration of a model: factors that make an error of its spread (`calibration`)."""

    energy: float
    """Rms error of the relative energy over rms energy_std."""
    force: float
    """Rms error of the force components over their rms standard deviation."""
    n_frames: int
    """Number of labelled frames behind both."""
    files: dict[str, str] = field(default_factory=dict)
    """Hashes of the model's files as they were trained, by suffix (`model_hash`)."""


def spread_factors(metadata: Mapping[str, Any]) -> SpreadFactors | None:
    """Return the calibration in the object of a model's JSON text; None without one."""
    content = metadata.get("calibration")
    return None if content is None else SpreadFactors(**content)


def model_path(model: PathLike, suffix: str) -> Path:
    """Return one of a model's two files, given either of them or their folder.

    Parameters
    ----------
    model : Path or str
    suffix : {".safetensors", ".pt"}
    """
    if not isinstance(model, str | os.PathLike):
        raise ModelError(f"model: expected the path of a model, got {type(model).__name__}")
    model = Path(model)
    if model.is_dir():
        return model / f"ensemble{suffix}"
    return model.with_suffix(suffix) if model.suffix in ("", ".safetensors", ".pt") else model


def model_hash(path: Path) -> str:
    """Return the hash of a model file as it was trained, which no calibration changes.

    Whatever is made with a model is kept by this name: a calibration says how far its energies can
    be trusted, and changes none of them.

    Parameters
    ----------
    path : Path
        `ensemble.safetensors` or `ensemble.pt`. Of another or a damaged file it is the hash of the
        bytes that are there.
    """
    try:
        metadata = read_export_metadata(path) if path.suffix == ".pt" else read_metadata(path)
        factors = spread_factors(metadata)
    except (ModelError, TypeError):
        factors = None
    as_trained = None if factors is None else factors.files.get(path.suffix)
    return as_trained or file_hash(path)


def read_export_metadata(path: Path) -> dict[str, Any]:
    """Return the object of the JSON text in an `ensemble.pt` after comparing its checksums.

    Raises
    ------
    ModelError
        If the file is missing, is no model of alrare, or is not as it was written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise ModelError(f"{path}: damaged: {damaged} in it is not as written; {CURE}")
            (name,) = (n for n in archive.namelist() if n.endswith(f"/extra/{METADATA_FILE}"))
            return dict(json.loads(archive.read(name)))
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: expected an ensemble.pt of alrare, got: {error}; {CURE}") from (
            error
        )


def checksum(metadata: Mapping[str, Any], content: bytes) -> str:
    """Return the sha256, in hexadecimal, of a model's metadata followed by its tensors.

    Parameters
    ----------
    metadata : mapping
        The object of the JSON text; its own `CHECKSUM` is left out, and keys are sorted.
    content : bytes
        A safetensors file: 8 bytes that hold the length of its header, the header, the tensors.
    """
    others = {key: value for key, value in metadata.items() if key != CHECKSUM}
    digest = hashlib.sha256(json.dumps(others, sort_keys=True).encode())
    digest.update(memoryview(content)[8 + int.from_bytes(content[:8], "little") :])
    return digest.hexdigest()


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the object of a model file's JSON text after comparing the checksum.

    Files of older versions have no checksum and are accepted.

    Raises
    ------
    ModelError
        If the file is missing, is no model of alrare, or is not as it was written.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path}: expected an ensemble.safetensors file, got: {error.strerror or error}; give"
            " the folder or the file of a model"
        ) from error
    entries = _entries(content, path)
    if ENTRY not in entries:
        raise ModelError(
            f"{path}: a safetensors file without alrare's metadata; expected an ensemble written by"
            " `alrare train`"
        )
    try:
        metadata = dict(json.loads(entries[ENTRY]))
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path}: metadata of another format: {error}; {CURE}") from error
    if metadata.get(CHECKSUM) not in (None, checksum(metadata, content)):
        raise ModelError(
            f"{path}: damaged: its weights or metadata are not those that were written (checksum"
            f" {CHECKSUM}); {CURE}"
        )
    return metadata


def _entries(content: bytes, path: Path) -> dict[str, Any]:
    """Return the metadata entries of a whole safetensors file."""
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
        entries: dict[str, Any] = header.pop("__metadata__", {})
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (ValueError, AttributeError, LookupError, TypeError) as error:
        raise ModelError(
            f"{path}: expected an ensemble.safetensors file, got another or a damaged one; {CURE}"
        ) from error
    if len(content) != 8 + length + end:
        raise ModelError(
            f"{path}: expected an ensemble.safetensors file of {8 + length + end} bytes, got"
            f" {len(content)}; {CURE}"
        )
    return entries
