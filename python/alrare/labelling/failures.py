"""How a label fails: the few kinds that everything about labels agrees on."""

from typing import Literal, get_args

from ..errors import LabelError

Kind = Literal["not_converged", "unphysical", "crashed", "timed_out", "rejected"]
"""not_converged: the self-consistency did not; unphysical: NaN, or atoms on top of each other;
crashed: the program or its process died; timed_out; rejected: input or parameters refused."""

KINDS: tuple[Kind, ...] = get_args(Kind)

ATTEMPTS: dict[str, int] = {"crashed": 4, "timed_out": 2}
"""How often a label is tried in all while it fails for a reason that may pass; the configuration
itself is at fault in the other kinds, or the settings are."""


class LabelFailure(LabelError):  # noqa: N818  (it is a result too, sent between processes)
    """One configuration could not be labelled.

    Parameters
    ----------
    kind : Kind
        What happened.
    text : str
        One sentence for a person.
    """

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind: Kind = kind
        self.text = text

    def __reduce__(self) -> tuple[type["LabelFailure"], tuple[Kind, str]]:
        return type(self), (self.kind, self.text)
