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
"""Maximum number of attempts after transient failures. The other kinds are not tried again in the
same batch, since the configuration or the settings are at fault."""


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
