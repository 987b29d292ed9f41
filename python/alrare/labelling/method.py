"""The method of a label; labels of different methods are never combined in a data set."""

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..config import Labeller
from .dftb.method import PARSER_VERSION, hamiltonian, mixers, parameter_hashes
from .dftb.run import program_version


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
    else:
        assert labeller.calculator is not None
        description |= {
            "version": _version_of(labeller.calculator),
            "calculator": labeller.calculator,
            "arguments": labeller.arguments,
        }
    canonical = json.dumps(description, sort_keys=True, separators=(",", ":"), default=str)
    return Method(
        description=json.loads(canonical), hash=hashlib.sha256(canonical.encode()).hexdigest()
    )


def _version_of(calculator: str) -> str:
    package = calculator.partition(".")[0]
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
