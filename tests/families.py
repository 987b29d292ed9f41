"""A small random model of each family, for tests that every family must pass."""

from alrare.model.ensemble import Ensemble, Metadata, member_weights, stack_members
from alrare.model.schnet import SchNetShape
from ani_reference import random_ensemble

FAMILIES = ("ani", "schnet")
SMALL = SchNetShape(features=16, gaussians=12, interactions=2, cutoff=4.0)


def random_schnet(
    *, members: int = 3, elements: tuple[str, ...] = ("H", "C"), shape: SchNetShape = SMALL
) -> Ensemble:
    """Make an untrained SchNet ensemble."""
    metadata = Metadata(
        elements=elements,
        hidden={},
        self_energies=tuple(-13.6 * (k + 1) for k in range(len(elements))),
        members=members,
        best_member=1 % members,
        schnet=shape,
    )
    return Ensemble(metadata, stack_members([member_weights(metadata, m) for m in range(members)]))


def random_model(family: str) -> Ensemble:
    """Make an untrained ensemble of three members for H and C."""
    if family == "schnet":
        return random_schnet()
    plain = random_ensemble(
        members=3, hidden={"H": (32, 16)}, hidden_default=(16, 8), best_member=1
    )
    return Ensemble(plain.metadata, {name: 2.5 * w for name, w in plain.weights.items()})
