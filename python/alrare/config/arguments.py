"""Charge and multiplicity among the arguments of an ASE calculator."""

from typing import Any

STATE_ARGUMENTS = {"charge": ("charge",), "multiplicity": ("multiplicity", "mult")}
"""Names under which ASE calculators take the charge and the multiplicity as arguments."""


def with_state_of_arguments(values: Any) -> Any:
    """Return the content of al.toml with the charge and multiplicity that its arguments give.

    Parameters
    ----------
    values
        Content of al.toml, not checked yet.

    Raises
    ------
    ValueError
        If the top of al.toml gives another value.
    """
    labeller = values.get("labeller") if isinstance(values, dict) else None
    arguments = labeller.get("arguments") if isinstance(labeller, dict) else None
    if not isinstance(arguments, dict):
        return values
    stated = {
        key: arguments[name]
        for key, names in STATE_ARGUMENTS.items()
        for name in names
        if type(arguments.get(name)) is int
    }
    for key, value in stated.items():
        if values.get(key) not in (None, value):
            raise ValueError(
                f"{key} = {values[key]}: but arguments give {value} ([labeller]); correct one"
            )
    return {**values, **stated}
