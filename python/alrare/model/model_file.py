"""The bytes of `ensemble.safetensors`: its metadata and its checksum; no torch."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError

ENTRY = "alrare"
"""Entry of the file's metadata that holds the JSON text."""
CHECKSUM = "sha256"
"""Key in that text of the checksum of the rest of it and of the tensors."""
CURE = "copy the file again, or train again with the same command, which keeps finished members"


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
