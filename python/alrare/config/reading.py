"""Reading al.toml."""

import tomllib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator

from ..errors import ConfigError
from .arguments import with_state_of_arguments
from .explore import Explore
from .labeller import Labeller
from .messages import explain
from .tables import Config
from .types import Count, Section, WholeNumber


class Labelling(Section):
    """What `alrare label` reads of an al.toml: how to label, and the state of frames."""

    labeller: Labeller = Labeller()
    charge: WholeNumber | None = None
    multiplicity: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _state_of_arguments(cls, values: Any) -> Any:
        return with_state_of_arguments(values)


def load_labelling(path: str | PathLike[str]) -> Labelling:
    """Read how to label: from a whole al.toml, or a file that has no more than that.

    Raises
    ------
    ConfigError
        As `load_config`.
    """
    path = Path(path)
    content = _read(path)
    if not set(content) <= set(Labelling.model_fields):
        config = parse_config(content, folder=path.parent, source=str(path))
        return Labelling(
            labeller=config.labeller, charge=config.charge, multiplicity=config.multiplicity
        )
    try:
        found = Labelling.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, Labelling, source=str(path)))) from error
    return found.model_copy(update={"labeller": _located(found.labeller, path.parent)})


def load_config(path: str | PathLike[str]) -> Config:
    """Read and check a campaign's configuration.

    Paths inside the file are taken relative to the file's own folder.

    Raises
    ------
    ConfigError
        If the file is missing, is not TOML, or holds a key or value that is not allowed; the
        message names each key, its value and what was expected.
    """
    path = Path(path)
    return parse_config(_read(path), folder=path.parent, source=str(path))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror});"
            " `alrare template > al.toml` writes one to start from"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: expected UTF-8 text, got {error}") from error
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def parse_config(content: Mapping[str, Any], *, folder: Path, source: str) -> Config:
    """Check configuration values; relative paths are taken from `folder`.

    Raises
    ------
    ConfigError
        As `load_config`; `source` names where the values came from.
    """
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, Config, source=source))) from error
    labeller = _located(config.labeller, folder)
    paths: dict[str, Any] = {"structure": (folder / config.structure.expanduser()).resolve()}
    paths["system"] = tuple(
        system.model_copy(update={"structure": (folder / system.structure.expanduser()).resolve()})
        for system in config.system
    )
    paths["explore"] = tuple(_resolved(explore, folder) for explore in config.explore)
    if isinstance(config.reference, Path):
        paths["reference"] = (folder / config.reference.expanduser()).resolve()
    initial = config.initial
    given: dict[str, Any] = {
        "data": tuple((folder / path.expanduser()).resolve() for path in initial.data)
    }
    if initial.relabel is not None:
        given["relabel"] = (folder / initial.relabel.expanduser()).resolve()
    if config.cluster.parsl_config is not None:
        file = (folder / config.cluster.parsl_config.expanduser()).resolve()
        paths["cluster"] = config.cluster.model_copy(update={"parsl_config": file})
    paths["initial"] = initial.model_copy(update=given)
    return config.model_copy(update={**paths, "labeller": labeller})


def _located(labeller: Labeller, folder: Path) -> Labeller:
    """Return a labeller with absolute paths."""
    if labeller.slater_koster is None:
        return labeller
    files = (folder / labeller.slater_koster.expanduser()).resolve()
    return labeller.model_copy(update={"slater_koster": files})


def _resolved(explore: Explore, folder: Path) -> Explore:
    """Return an exploration with absolute paths."""
    files = tuple((folder / path.expanduser()).resolve() for path in explore.files)
    paths: dict[str, Any] = {"files": files}
    if explore.shipped is None:
        paths["input"] = (folder / explore.input.expanduser()).resolve()
    return explore.model_copy(update=paths)
