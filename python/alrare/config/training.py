"""The tables [model] and [train] of al.toml, and the recipes."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from .types import (
    Count,
    CountOrZero,
    Element,
    NotNegative,
    Positive,
    Section,
    SetBy,
    WholeNumber,
    matching,
    require_owner,
)

Family = Literal["ani", "schnet"]
_ANI, _SCHNET = SetBy("family", ("ani",)), SetBy("family", ("schnet",))


class Model(Section):
    """The ensemble of networks (paper, §2.3.1 with Table 1, and §2.3.5 with Table 2)."""

    family: Family = "ani"
    """ani: a network for each element on a fixed descriptor, evaluated natively and fast. schnet:
    SchNet, whose atoms exchange learned messages; slower, and it sees three times as far."""
    members: Annotated[WholeNumber, Field(ge=2)] = 5
    """Networks in the ensemble; the uncertainty is their standard deviation."""
    hidden: Annotated[dict[Element, tuple[Count, ...]], _ANI] = {}
    """ani: widths of the hidden layers by element; other elements use `hidden_default`."""
    hidden_default: Annotated[tuple[Count, ...], _ANI] = (96, 64, 48)
    """ani: widths of the hidden layers of every other element (96, 64, 48)."""
    radial_cutoff: Annotated[Positive, Field(gt=1), _ANI] = 5.1
    """ani: the descriptor sees neighbors within this distance, Å (5.1)."""
    angular_cutoff: Annotated[Positive, Field(gt=1), _ANI] = 3.5
    """ani: pairs of neighbors, both within this distance, Å, count by their angle (3.5)."""
    radial_shifts: Annotated[Count, Field(le=128), _ANI] = 16
    """ani: radial terms for each element (16): Gaussians evenly spaced from 0.8 Å to the cutoff,
    whose widths follow the spacing."""
    angular_shifts: Annotated[Count, Field(le=32), _ANI] = 8
    """ani: radial parts of the angular terms (8), spaced alike up to `angular_cutoff`."""
    angle_sections: Annotated[Count, Field(le=16), _ANI] = 4
    """ani: directions of the angular terms (4), evenly spaced over 180°; for each pair of elements
    there are `angular_shifts` times as many terms."""
    features: Annotated[Count, Field(ge=2, le=1024), _SCHNET] = 128
    """schnet: numbers that describe an atom (128)."""
    gaussians: Annotated[Count, Field(ge=2, le=1024), _SCHNET] = 25
    """schnet: Gaussians of the distance (25), evenly spaced from 0 to `cutoff`."""
    interactions: Annotated[Count, Field(le=8), _SCHNET] = 3
    """schnet: how often each atom learns from its neighbors (3); an energy depends on atoms as far
    away as this many cutoffs."""
    cutoff: Annotated[Positive, Field(gt=1), _SCHNET] = 5.0
    """schnet: atoms within this distance, Å, are neighbors (5.0)."""

    @model_validator(mode="after")
    def _check_family(self) -> Self:
        require_owner(self, "family", self.family)
        return self

    @model_validator(mode="after")
    def _check_cutoffs(self) -> Self:
        if self.angular_cutoff > self.radial_cutoff:
            raise ValueError(
                f"angular_cutoff: expected at most radial_cutoff, {self.radial_cutoff:g}, got"
                f" {self.angular_cutoff:g}"
            )
        return self


RECIPES: Mapping[str, Mapping[str, float]] = {
    "paper": {
        "epochs": 300,
        "min_steps": 0,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "force_weight": 0.1,
        "stress_weight": 0.0,
        "weight_decay": 0.0,
        "train_fraction": 0.8,
    },
    "fast": {
        "epochs": 20,
        "min_steps": 4000,
        "batch_size": 32,
        "learning_rate": 5e-3,
        "force_weight": 1.0,
        "stress_weight": 1.0,
        "weight_decay": 0.2,
        "train_fraction": 0.95,
    },
}
"""The values that each `[train] recipe` gives to keys that are not set; for the family ani."""
SCHNET_RECIPES: Mapping[str, Mapping[str, float]] = {
    "paper": {
        "epochs": 300,
        "min_steps": 0,
        "batch_size": 64,
        "learning_rate": 5e-4,
        "energy_share": 0.1,
        "stress_weight": 0.0,
        "weight_decay": 0.0,
        "train_fraction": 0.8,
    },
    "fast": {
        "epochs": 20,
        "min_steps": 4000,
        "batch_size": 16,
        "learning_rate": 3e-3,
        "energy_share": 0.1,
        "stress_weight": 1.0,
        "weight_decay": 0.02,
        "train_fraction": 0.95,
    },
}
"""The same for the family schnet."""
FAMILY_RECIPES = {"ani": RECIPES, "schnet": SCHNET_RECIPES}
_FOREIGN = {"ani": ("energy_share",), "schnet": ("force_weight",)}
"""Keys of `[train]` that a family does not have."""
STEPS_IN_CAMPAIGN = 1200
"""`min_steps` of the recipe fast in a campaign: most of its models only find configurations, and
its stop rule says whether they are good enough (docs/decisions/0023-training-on-any-data.md)."""
EPOCHS_IN_CAMPAIGN = {"ani": 40, "schnet": 20}
"""`epochs` of the recipe fast in a campaign, which count from a thousand labels on: with half as
many, seven alkanes had one chain wrong by 0.1 eV (docs/decisions/0023-training-on-any-data.md)."""


class Train(Section):
    """How each member is fitted. The recipe sets the keys that are not given here."""

    recipe: Literal["paper", "fast"] = "fast"
    """fast: SOAP, one-cycle rate; for ani a whitened descriptor. paper: Adam at a constant rate,
    which for schnet falls where the validation loss stays."""
    epochs: Annotated[Count, SetBy("recipe")] = 20
    """Passes over the training data; the best epoch is kept (fast: 20, ani in a campaign 40;
    paper: 300)."""
    min_steps: Annotated[CountOrZero, SetBy("recipe")] = 4000
    """Epochs are added until at least this many steps are done (fast: 1200 in a campaign, 4000 for
    `alrare train`, 0 if `epochs` is given; paper: 0)."""
    batch_size: Annotated[Count, SetBy("recipe")] = 32
    """Configurations per step (fast: 32, schnet 16; paper: 64)."""
    learning_rate: Annotated[Positive, SetBy("recipe")] = 5e-3
    """fast: highest rate of the cycle (5e-3; schnet 3e-3). paper: the constant rate (1e-3), or the
    first (schnet 5e-4). Halved where the loss runs away."""
    force_weight: Annotated[NotNegative, SetBy("recipe")] = 1.0
    """ani: weight α of the forces in the loss, eq. 3 (fast: 1.0, paper: 0.1)."""
    energy_share: Annotated[
        Annotated[Positive, Field(le=1)] | None, SetBy("recipe"), Field(examples=[0.1])
    ] = None
    """schnet: weight ρ of the energies in the loss, eq. 4, with 1 - ρ for the forces (0.1)."""
    stress_weight: Annotated[NotNegative, SetBy("recipe")] = 1.0
    """Weight γ of the stress in the loss, for cells whose labels have one; 0: not used (fast: 1.0,
    paper: 0)."""
    weight_decay: Annotated[NotNegative, SetBy("recipe")] = 0.2
    """Each step also shrinks the weights by this times the learning rate, which keeps a network
    with more weights than data from following their noise (fast: 0.2, schnet 0.02; paper: 0)."""
    train_fraction: Annotated[Positive, Field(lt=1), SetBy("recipe")] = 0.95
    """Share of the configurations used for training; the rest is for validation (fast: 0.95,
    paper: 0.8)."""
    split: Literal["random", "inherited"] = "inherited"
    """inherited: configurations keep their role in all later iterations (paper, §2.3.6). random: a
    new split in every iteration."""
    start: Annotated[Literal["random", "previous", "relabelled"], SetBy("relabel of [initial]")] = (
        "random"
    )
    """Initial weights: random, those of the previous iteration's model, or those of the last model
    of the campaign `[initial] relabel`, which is the default where that is given."""
    device: Annotated[str, *matching(r"cpu|cuda(:\d+)?", 'expected "cpu", "cuda" or "cuda:N"')] = (
        "cpu"
    )
    """Where members are trained, cpu or cuda; on a GPU one at a time is best ([run] workers)."""
    tensorboard: bool = False
    """Write TensorBoard event files too; needs the package tensorboard."""

    @property
    def family(self) -> Family:
        """The family of models that these settings are for."""
        return "ani" if self.energy_share is None else "schnet"

    @classmethod
    def of_family(cls, family: Family, **given: Any) -> Self:
        """Return the settings of a family's recipe, with some keys given.

        Raises
        ------
        ConfigError
            If a value is not allowed, or the family does not have the key.
        """
        return cls(**{"family": family, **given})

    @model_validator(mode="before")
    @classmethod
    def _fill_from_recipe(cls, given: Any) -> Any:
        """Fill in what the recipe gives; `family` beside the keys says for which family."""
        if not isinstance(given, dict):
            return given
        family = given.get("family", "schnet" if "energy_share" in given else "ani")
        given = {key: value for key, value in given.items() if key != "family"}
        for key in _FOREIGN[family]:
            if key in given:
                other = "schnet" if family == "ani" else "ani"
                raise ValueError(
                    f'{key} is for family = "{other}" only ([model]), and family = "{family}" would'
                    " ignore it: remove it"
                )
        recipe = given.get("recipe", "fast")
        if not isinstance(recipe, str) or recipe not in RECIPES:
            return given
        exact: dict[str, float] = {"min_steps": 0} if "epochs" in given else {}
        return {**FAMILY_RECIPES[family][recipe], **exact, **given}

    @model_serializer(mode="wrap")
    def _without_foreign(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = handler(self)
        return {key: value for key, value in content.items() if key not in _FOREIGN[self.family]}


def train_in_campaign(given: Any, family: str = "ani") -> Any:
    """Return the content of `[train]` with what a campaign gives where al.toml says nothing."""
    if not isinstance(given, dict):
        return given
    if "family" in given:
        raise ValueError("family: unknown key; it belongs to [model]")
    given = {"family": family, **given}
    if given.get("recipe", "fast") != "fast" or "epochs" in given:
        return given
    return {"epochs": EPOCHS_IN_CAMPAIGN[family], "min_steps": STEPS_IN_CAMPAIGN, **given}
