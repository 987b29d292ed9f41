"""The bytes of `ensemble.safetensors`: its text of metadata and its checksum; no torch."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ..errors import ModelError

TEXT, CHECKSUM = "alrare", "sha256"
"""Entries of the file's metadata: the JSON text, and the checksum of that text and the tensors."""
CURE = "copy the file again, or train again with the same command, which keeps finished members"


def checksum(content: bytes, text: str) -> str:
    """Return the sha256, in hexadecimal, of a model's JSON text followed by its tensors.

    Parameters
    ----------
    content : bytes
        A safetensors file: 8 bytes that hold the length of its header, the header, the tensors.
    text : str
        The JSON text.
    """
    begin = 8 + int.from_bytes(content[:8], "little")
    digest = hashlib.sha256(text.encode())
    digest.update(memoryview(content)[begin:])
    return digest.hexdigest()


def read_text(path: Path) -> str:
    """Return the JSON text of a model file after comparing the checksum.

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
    if TEXT not in entries:
        raise ModelError(
            f"{path}: a safetensors file without alrare's metadata; expected an ensemble written by"
            " `alrare train`"
        )
    text = str(entries[TEXT])
    if entries.get(CHECKSUM) not in (None, checksum(content, text)):
        raise ModelError(
            f"{path}: damaged: its weights or metadata are not those that were written (checksum"
            f" {CHECKSUM}); {CURE}"
        )
    return text


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
