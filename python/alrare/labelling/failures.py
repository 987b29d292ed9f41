"""The kinds of failure of a label."""

from collections.abc import Sequence
from typing import Literal

from ..errors import LabelError

Kind = Literal["not_converged", "unphysical", "crashed", "timed_out", "rejected"]
"""not_converged: the self-consistency did not converge; unphysical: NaN, or two atoms too close;
crashed: the program or its process died; timed_out: no result within the time limit; rejected:
input or parameters refused, or the result is not an energy and forces."""

LONGEST_TEXT = 300
"""Number of characters of a failure's text that are kept."""

ATTEMPTS: dict[str, int] = {"crashed": 4, "timed_out": 2}
"""Maximum number of attempts in one batch after failures that may pass. The other kinds are tried
once, since the configuration or the settings are at fault."""

FINAL = ("not_converged", "unphysical")
"""Kinds that a new batch does not try again: with the same method the result is the same. The cause
of the others may have been removed: a missing program, a license, a full disk, a wrong setting."""

_ADVICE = {
    "unphysical": "such a configuration has no label; it is left out",
    "crashed": "remove the cause, then run the same command again",
    "timed_out": "raise `timeout` ([labeller]) if labels may take longer",
    "rejected": "correct it, then run the same command again",
}


def advice(kind: str, program: str) -> str:
    """Return what to do about a kind of failure of a labeller's program."""
    if kind == "not_converged":
        return (
            "set its own options of convergence ([labeller] arguments)"
            if program == "ase"
            else "a higher electronic_temperature ([labeller]) converges more easily"
        )
    return _ADVICE[kind]


class LabelFailure(LabelError):  # noqa: N818  (it is a result too, sent between processes)
    """One configuration could not be labelled.

    Parameters
    ----------
    kind : Kind
        What happened.
    text : str
        One sentence for a person; of a long one the beginning and the end are kept.
    """

    def __init__(self, kind: Kind, text: str) -> None:
        words = " ".join(text.split())
        if len(words) > LONGEST_TEXT:  # programs say why at the beginning or at the end
            words = f"{words[: LONGEST_TEXT * 2 // 3]} … {words[-LONGEST_TEXT // 3 :]}"
        super().__init__(f"{kind}: {words}")
        self.kind: Kind = kind
        self.text = words

    def __reduce__(self) -> tuple[type["LabelFailure"], tuple[Kind, str]]:
        return type(self), (self.kind, self.text)


def describe_failures(kinds: Sequence[str]) -> str:
    """Return a count of each kind, most frequent first: `3 not_converged, 1 timed_out`."""
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {kind}" for kind, count in ordered)
