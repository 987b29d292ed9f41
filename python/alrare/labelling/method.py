"""The method of a label; labels of different methods are never combined in a data set."""

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ase.data import atomic_numbers

from ..config import Labeller
from ..errors import LabelError
from .dftb.method import PARSER_VERSION, hamiltonian, mixers, parameter_hashes
from .dftb.run import program_version
from .source import code_version, with_file_hashes

_HEAVIEST_OF_XTB = 86


@dataclass(frozen=True)
class Method:
    """Everything that decides the value of a label."""

    description: dict[str, Any]
    """Program, version, settings and parameter checksums; JSON."""
    hash: str
    """sha256 of the description as canonical JSON, in hexadecimal."""


def method_of(labeller: Labeller, elements: Sequence[str]) -> Method:
    """Return the method of a labeller for structures of some elements.

    Parameters
    ----------
    labeller : Labeller
        The `[labeller]` table.
    elements : sequence of str
        Elements of the structures; they decide which parameter files count.

    Raises
    ------
    LabelError
        If the program or a parameter file is missing; the message names it.
    """
    description: dict[str, Any] = {"program": labeller.program}
    if labeller.program == "tblite":
        _require_parameters(labeller.method, elements)
        description |= {
            "version": importlib.metadata.version("tblite"),
            "method": labeller.method,
            "electronic_temperature": labeller.electronic_temperature,
        }
    elif labeller.program == "dftb+":
        assert labeller.slater_koster is not None
        block = hamiltonian(labeller, elements, folder="", periodic=True)
        description |= {
            "version": program_version(),
            "method": labeller.method,
            "electronic_temperature": labeller.electronic_temperature,
            "parser_version": PARSER_VERSION,
            "input": block.splitlines(),
            "mixers": mixers(labeller),
            "parameters": parameter_hashes(labeller.slater_koster, sorted(elements)),
        }
        files = [with_file_hashes(text) for text in re.findall(r'"([^"]+)"', labeller.hamiltonian)]
        if any(isinstance(file, dict) for file in files):
            description["files"] = [file for file in files if isinstance(file, dict)]
    else:
        assert labeller.calculator is not None
        description |= {
            "version": code_version(labeller.calculator),
            "calculator": labeller.calculator,
            "arguments": with_file_hashes(labeller.arguments),
        }
    return Method(
        description=json.loads(json.dumps(description, default=str)), hash=method_hash(description)
    )


def _require_parameters(method: str | None, elements: Sequence[str]) -> None:
    """Refuse elements for which GFN1-xTB and GFN2-xTB have no parameters."""
    heavy = [symbol for symbol in elements if atomic_numbers[symbol] > _HEAVIEST_OF_XTB]
    if heavy:
        raise LabelError(
            f"{method}: no parameters for {', '.join(heavy)}, only up to Rn; choose another"
            " labeller ([labeller])"
        )


def method_hash(description: Mapping[str, Any]) -> str:
    """Return the sha256 of a method's description as canonical JSON, in hexadecimal."""
    canonical = json.dumps(description, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()
