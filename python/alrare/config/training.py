"""The tables [model] and [train] of al.toml, and the recipes."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from .types import Count, CountOrZero, Element, NotNegative, Positive, Section, SetBy, WholeNumber


class Model(Section):
    """The ensemble of ANI networks (paper, §2.3.1 and Table 1)."""

    members: Annotated[WholeNumber, Field(ge=2)] = 5
    """Networks in the ensemble; the uncertainty is their standard deviation."""
    hidden: dict[Element, tuple[Count, ...]] = {}
    """Widths of the hidden layers by element; other elements use `hidden_default`."""
    hidden_default: tuple[Count, ...] = (96, 64, 48)
    """Widths of the hidden layers of every other element."""
    radial_cutoff: Annotated[Positive, Field(gt=1)] = 5.1
    """The descriptor sees neighbors within this distance, Å."""
    angular_cutoff: Annotated[Positive, Field(gt=1)] = 3.5
    """Pairs of neighbors, both within this distance, Å, count by their angle."""
    radial_shifts: Annotated[Count, Field(le=128)] = 16
    """Radial terms for each element: Gaussians evenly spaced from 0.8 Å to the cutoff, whose widths
    follow the spacing."""
    angular_shifts: Annotated[Count, Field(le=32)] = 8
    """Radial parts of the angular terms, spaced alike up to `angular_cutoff`."""
    angle_sections: Annotated[Count, Field(le=16)] = 4
    """Directions of the angular terms, evenly spaced over 180°; for each pair of elements there are
    `angular_shifts` times as many terms."""

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
"""The values that each `[train] recipe` gives to keys that are not set."""
STEPS_IN_CAMPAIGN = 1200
"""`min_steps` of the recipe fast in a campaign: most of its models only find configurations, and
its stop rule says whether they are good enough (docs/decisions/0023-training-on-any-data.md)."""


class Train(Section):
    """How each member is fitted. The recipe sets the keys that are not given here."""

    recipe: Literal["paper", "fast"] = "fast"
    """fast: whitened descriptor, SOAP, one-cycle rate. paper: Adam at a constant rate."""
    epochs: Annotated[Count, SetBy("recipe")] = 20
    """Passes over the training data; the best epoch is kept (fast: 20, paper: 300)."""
    min_steps: Annotated[CountOrZero, SetBy("recipe")] = 4000
    """Epochs are added until at least this many steps are done (fast: 1200 in a campaign, 4000 for
    `alrare train`, 0 if `epochs` is given; paper: 0)."""
    batch_size: Annotated[Count, SetBy("recipe")] = 32
    """Configurations per step (fast: 32, paper: 64)."""
    learning_rate: Annotated[Positive, SetBy("recipe")] = 5e-3
    """fast: highest rate of the cycle (5e-3). paper: the constant rate (1e-3). Halved where the
    loss runs away."""
    force_weight: Annotated[NotNegative, SetBy("recipe")] = 1.0
    """Weight α of the forces in the loss, eq. 3 (fast: 1.0, paper: 0.1)."""
    stress_weight: Annotated[NotNegative, SetBy("recipe")] = 1.0
    """Weight γ of the stress in the loss, for cells whose labels have one; 0: not used (fast: 1.0,
    paper: 0)."""
    weight_decay: Annotated[NotNegative, SetBy("recipe")] = 0.2
    """Each step also shrinks the weights by this times the learning rate, which keeps a network
    with more weights than data from following their noise (fast: 0.2, paper: 0)."""
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
    tensorboard: bool = False
    """Write TensorBoard event files too; needs the package tensorboard."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_recipe(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("recipe", "fast") not in RECIPES:
            return given
        exact: dict[str, float] = {"min_steps": 0} if "epochs" in given else {}
        return {**RECIPES[given.get("recipe", "fast")], **exact, **given}


def train_in_campaign(given: Any) -> Any:
    """Return the content of `[train]` with what a campaign gives where al.toml says nothing."""
    if not isinstance(given, dict) or given.get("recipe", "fast") != "fast" or "epochs" in given:
        return given
    return {"min_steps": STEPS_IN_CAMPAIGN, **given}
