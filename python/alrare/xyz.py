"""The text of an XYZ file, checked frame by frame before ASE reads it, and the keys in it."""

import bz2
import gzip
import io
import lzma
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.formats import filetype

from .errors import AlrareError

_COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}
_FORTRAN_EXPONENT = re.compile(r"(?<=\d|\.)[dD](?=[+-]?\d+$)")


def is_xyz(path: Path) -> bool:
    """Whether a file is XYZ or extended XYZ by its name, compressed or not."""
    return plain_name(path).suffix in (".xyz", ".extxyz")


def plain_name(path: Path) -> Path:
    """Return the name of a file without the suffix of its compression."""
    return path.with_suffix("") if path.suffix in _COMPRESSED else path


def read_text(path: Path) -> str:
    """Read a text file, compressed or not, as UTF-8; a byte-order mark is dropped.

    Raises
    ------
    AlrareError
        If it is cut off or not UTF-8.
    """
    try:
        content = path.read_bytes()
        return _COMPRESSED.get(path.suffix, bytes)(content).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise AlrareError(
            f"{path}, line {line}: expected UTF-8 text, got the byte"
            f" {error.object[error.start]:#04x}; save the file as UTF-8"
        ) from error
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise AlrareError(f"{path}: cannot be read ({error})") from error


def whole_frames(text: str) -> str:
    """Return the text of an XYZ file without a last frame that is cut off, as a kill leaves it."""
    lines = text.splitlines(keepends=True)
    row = 0
    while row < len(lines) and lines[row].strip().isdigit():
        end = row + 2 + int(lines[row])
        if end > len(lines) or not lines[end - 1].endswith("\n"):
            return "".join(lines[:row])
        row = end
    return text


def check_frames(text: str, path: Path) -> None:
    """Check that the frames of an XYZ file are complete and their positions are numbers.

    Parameters
    ----------
    text : str
        Frames of a line with the number of atoms, a comment, and a line for each atom: the element,
        and its position in Å.
    path : Path
        Named in errors.

    Raises
    ------
    AlrareError
        For the first mistake; the message names the frame, counted from 1, and the line.
    """
    for number, start, comment, atoms in _frames(text.splitlines(), path):
        columns = re.search(r'Properties="?(\S+?)"?(?:\s|$)', comment)
        plain = columns is None or columns.group(1).startswith("species:S:1:pos:R:3")
        for offset, line in enumerate(atoms):
            words = line.split()
            place = f"{path}, frame {number}, line {start + offset}"
            if len(words) < 4:
                raise AlrareError(
                    f"{place}: expected an element and a position, got {line.strip()!r}; is the"
                    " file cut off?"
                )
            for word in words[1:4] if plain else ():
                _check_number(word, place)


def source_of(path: Path, *, leave_out_cut: bool) -> dict[str, Any] | None:
    """Return the arguments by which ASE reads a file; None if nothing is left of it."""
    plain = plain_name(path)
    if plain == path and not is_xyz(path):
        return {"filename": path}
    # ASE's readers seek, which begins the decompression anew: minutes for some thousand frames.
    text = read_text(path)
    if is_xyz(path):
        if leave_out_cut and not (text := whole_frames(text)):
            return None
        check_frames(text, path)
    return {"filename": io.StringIO(text), "format": filetype(plain.name, read=False)}


def fortran_number(text: str) -> float:
    """Read a number that may have a Fortran exponent: -0.939D+04.

    Raises
    ------
    ValueError
        If it is no number.
    """
    return float(_FORTRAN_EXPONENT.sub("e", text.strip()))


def without_empty_texts(frame: Atoms) -> Atoms:
    """Return a frame whose `info` can be written; a copy if it has empty texts."""
    empty = [key for key, value in frame.info.items() if isinstance(value, str) and not value]
    if not empty:
        return frame
    plain: Atoms = frame.copy()
    plain.calc = frame.calc
    for key in empty:
        del plain.info[key]
    return plain


def other_keys(atoms: Atoms) -> str:
    """Name what may be a frame's energy or forces under another name; empty if nothing is."""
    energies = [k for k, value in atoms.info.items() if isinstance(value, float | np.floating)]
    arrays = [
        key
        for key, value in atoms.arrays.items()
        if key != "positions" and value.shape == (len(atoms), 3) and value.dtype.kind == "f"
    ]
    named = []
    if energies:
        listed = ", ".join(energies)
        named.append(f"numbers {listed} (--energy-key KEY, if one is the energy in eV)")
    if arrays:
        listed = ", ".join(arrays)
        named.append(f"{listed} of each atom (--forces-key KEY, if it is forces in eV/Å)")
    return f", but {' and '.join(named)}" if named else ""


def cure(atoms: Atoms) -> str:
    """Say how a frame without a label gets one; CP2K's comments read i = , time = , E = ."""
    if {"i", "time", "E"} <= atoms.info.keys():
        return "it looks like a file of CP2K: docs/training.md shows how to join its files"
    return "label it first: alrare label"


def _check_number(word: str, place: str) -> None:
    try:
        float(word)
    except ValueError as error:
        cure = ""
        if "," in word:
            cure = "; write decimals with a point"
        elif _FORTRAN_EXPONENT.search(word):
            cure = "; write exponents with E"
        raise AlrareError(f"{place}: expected a number, got {word!r}{cure}") from error


def _frames(lines: list[str], path: Path) -> Iterator[tuple[int, int, str, list[str]]]:
    """Yield each frame's number and first line, from 1, its comment and the lines of its atoms."""
    while lines and not lines[-1].strip():
        lines.pop()
    number = row = 0
    while row < len(lines):
        number += 1
        head = lines[row].strip()
        if not head.isdigit() or int(head) == 0:
            raise AlrareError(
                f"{path}, frame {number}, line {row + 1}: expected the number of atoms, got"
                f" {head[:60]!r}"
            )
        atoms = lines[row + 2 : row + 2 + int(head)]
        if len(atoms) < int(head):
            raise AlrareError(
                f"{path}, frame {number}: expected {head} atoms, got {len(atoms)}: the file is cut"
                " off; remove this frame or make the file again"
            )
        yield number, row + 3, lines[row + 1], atoms
        row += 2 + int(head)
