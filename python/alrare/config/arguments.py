"""Values at the top of al.toml that stand elsewhere in it."""

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


def with_first_system(values: Any) -> Any:
    """Return the content of al.toml with the structure and the atoms of its first `[[system]]`.

    Parameters
    ----------
    values
        Content of al.toml, not checked yet.

    Raises
    ------
    ValueError
        If they are given beside `system`.
    """
    systems = values.get("system") if isinstance(values, dict) else None
    if isinstance(systems, dict):
        raise ValueError("system: expected one or several tables [[system]], with two brackets")
    if not isinstance(systems, list | tuple) or not systems or not isinstance(systems[0], dict):
        return values
    pull = values.get("pull", {})
    given = [key for key in ("structure", "charge", "multiplicity", "groups") if key in values]
    given += ["[pull] atoms"] if isinstance(pull, dict) and "atoms" in pull else []
    if given:
        raise ValueError(
            f"{', '.join(given)}: given beside [[system]], which has its own; remove one of them"
        )
    first = systems[0]
    # What a system lacks is told of the system, so it is not to be missed here, too.
    filled: dict[str, Any] = {"structure": first.get("structure", "missing")}
    if isinstance(pull, dict) and (pull or not values.get("explore")):
        filled["pull"] = {**pull, "atoms": first.get("atoms", (1, 2))}
    return {**values, **filled}


def with_tables(values: Any) -> Any:
    """Return the content of al.toml; refuse `[explore]`, of which there may be several.

    Raises
    ------
    ValueError
        If `explore` is a single table.
    """
    if isinstance(values, dict) and isinstance(values.get("explore"), dict):
        raise ValueError("explore: expected one or several tables [[explore]], with two brackets")
    return values


def with_start_of_relabelled(values: Any) -> Any:
    """Return the content of al.toml in which training starts from the campaign `relabel`.

    Parameters
    ----------
    values
        Content of al.toml, not checked yet; `[train] start` stays as it is if it is given.
    """
    if not isinstance(values, dict):
        return values
    initial, train = values.get("initial"), values.get("train", {})
    relabels = isinstance(initial, dict) and initial.get("relabel") is not None
    if not relabels or not isinstance(train, dict):
        return values
    return {**values, "train": {"start": "relabelled", **train}}


def with_train(values: Any) -> Any:
    """Return the content of al.toml with a table `[train]`, whose recipe depends on the family."""
    return {"train": {}, **values} if isinstance(values, dict) else values
