"""The contract of an input of `[[explore]]`: three includes, and names that alrare uses itself."""

import re
from collections.abc import Collection, Sequence

from ..errors import ConfigError

SYSTEM_FILE, POTENTIAL_FILE, WATCH_FILE = "system.lmp", "potential.lmp", "watch.lmp"
"""The files that an input includes, in this order."""
SEEDS = ("seed", "noise_seed")
"""Variables that system.lmp defines: for `velocity` and for a thermostat."""
RESERVED = {
    "compute": ("uq", "pair_distances", "closest_pair"),
    "dump": ("trajectory",),
    "fix": ("select", "table", "structure_blew_up", "atoms_collided"),
    "variable": ("al_cv", "blown_up", "closest_pair"),
}
"""IDs that alrare's own files define, by command."""
_UNDONE = {"uncompute": "compute", "undump": "dump", "unfix": "fix"}


def without_comments(text: str) -> str:
    """Return an input without its comments."""
    return "\n".join(line.partition("#")[0] for line in text.splitlines())


def check_contract(name: str, text: str, others: Sequence[str], variables: Collection[str]) -> None:
    """Refuse an input that does not keep the contract (docs/explore.md).

    Parameters
    ----------
    name : str
        File name of the input.
    text : str
        The input, which has the includes.
    others : sequence of str
        Texts of the files beside it.
    variables : collection of str
        Names that al.toml gives values to.

    Raises
    ------
    ConfigError
    """
    lines = [line.split() for line in without_comments(text).splitlines()]
    places = _includes(name, lines)
    for words in (
        *lines,
        *(line.split() for one in others for line in without_comments(one).splitlines()),
    ):
        _check_command(name, words)
    for number, words in enumerate(lines):
        early = number < places[SYSTEM_FILE] and words[:1] == ["variable"] and len(words) > 1
        if early and words[1] in (*SEEDS, *variables):
            raise ConfigError(
                f"{name}: `variable {words[1]}` stands before `include {SYSTEM_FILE}`, so the value"
                " of al.toml would be ignored; put it after that line ([[explore]])"
            )
    after = [word for words in lines[places[WATCH_FILE] + 1 :] for word in words]
    if "reset_timestep" in after:
        raise ConfigError(
            f"{name}: `reset_timestep` stands after `include {WATCH_FILE}`, from where on steps"
            " count on; put it before that line ([[explore]])"
        )
    if not {"run", "minimize", "include", "jump"} & set(after):
        raise ConfigError(f"{name}: expected a `run` after `include {WATCH_FILE}` ([[explore]])")


def _includes(name: str, lines: Sequence[Sequence[str]]) -> dict[str, int]:
    """Return the line of each of the three includes."""
    places: dict[str, int] = {}
    for number, words in enumerate(lines):
        if words[:1] == ["include"] and len(words) > 1:
            places.setdefault(words[1].strip("\"'").removeprefix("./"), number)
    order = (SYSTEM_FILE, POTENTIAL_FILE, WATCH_FILE)
    expected = ", ".join(f"`include {one}`" for one in order)
    for file in order:
        if file not in places:
            raise ConfigError(
                f"{name}: expected the lines {expected}, in this order; `include {file}` is missing"
                " ([[explore]])"
            )
    if sorted(order, key=places.__getitem__) != list(order):
        raise ConfigError(f"{name}: expected {expected} in this order ([[explore]])")
    return places


def _check_command(name: str, words: Sequence[str]) -> None:
    """Refuse a command that would undo what the three files do."""
    if "pair_style" in (word.strip("\"'") for word in words) or words[:1] == ["clear"]:
        command = "clear" if words[:1] == ["clear"] else "pair_style"
        raise ConfigError(
            f"{name}: `{command}`: the forces come from `include {POTENTIAL_FILE}`; remove this"
            " command ([[explore]])"
        )
    if words[:1] == ["units"] and words[1:2] != ["metal"]:
        raise ConfigError(f"{name}: expected `units metal`, got `{' '.join(words)}`")
    if len(words) < 2:
        return
    command = _UNDONE.get(words[0], words[0])
    if re.sub("[\"']", "", words[1]) in RESERVED.get(command, ()):
        raise ConfigError(
            f"{name}: `{' '.join(words[:2])}`: alrare's own files use this name; choose another"
            " ([[explore]])"
        )
