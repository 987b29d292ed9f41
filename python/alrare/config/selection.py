"""The tables [select] and [augment] of al.toml: which configurations deserve a label."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ..units import KCAL_PER_MOL
from .types import (
    Count,
    CountOrAll,
    CountOrZero,
    NotNegative,
    Positive,
    PositiveOrAdaptive,
    PositiveOrAuto,
    PositiveOrNone,
    Section,
    SetBy,
    matching,
)

_NUMBER = r"(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"


class Select(Section):
    """Which configurations of a pull deserve a label (paper, §2.3.2 and §2.3.3)."""

    uncertainty: Literal["energy", "force"] = "energy"
    """energy: the uncertainty is energy_std, in eV (paper). force: it is force_std, the largest of
    all atoms, in eV/Å."""
    threshold: PositiveOrAdaptive = "adaptive"
    """A configuration whose uncertainty is above this is a candidate: adaptive, or a number in eV
    (force: eV/Å)."""
    sigma: Positive = 3.0
    """adaptive: the threshold is mean + sigma · std of the uncertainty over `screening_steps`."""
    screening_steps: Count = 1000
    """adaptive: number of MD steps, from the start of the pull, that give the threshold."""
    relative: Annotated[Positive | None, SetBy("threshold"), Field(examples=[0.002])] = None
    """Threshold as a share of the strain energy (force: of the largest force on an atom), instead
    of the adaptive one; needs `relative_floor`."""
    relative_floor: Annotated[Positive | None, SetBy("threshold"), Field(examples=[1.0])] = None
    """Strain energy in eV (force: largest force in eV/Å) below which the threshold of `relative`
    shrinks no further."""
    energy_gap: NotNegative = KCAL_PER_MOL
    """A candidate must differ from all earlier ones by more than this in energy, eV. The default is
    1 kcal/mol."""
    cv_gap: NotNegative = 0.01
    """A candidate must also differ from all earlier ones by more than this in the distance of the
    pulled atoms (the collective variable), Å."""
    gap_steps: CountOrZero = 0
    """After this many MD steps without a selection both gaps are ignored; 0: never."""
    upper: PositiveOrNone = "none"
    """A configuration with an uncertainty above this, eV (force: eV/Å), is unphysical: it is
    counted and never selected."""
    min_distance: Positive = 0.5
    """A configuration with two atoms closer than this (Å) is unphysical: it is never selected."""
    bias: Annotated[
        str,
        *matching(
            rf"none|linear [-+]?{_NUMBER}|bounded {_NUMBER} {_NUMBER}",
            'expected "none", "linear B" or "bounded A W" with A, W > 0',
        ),
    ] = "none"
    """Further runs of the model are drawn to what it does not know by a bias energy, and give
    candidates: "linear B" adds B times energy_std (B < 0), "bounded A W" adds
    A (exp(-(energy_std/W)²) - 1), eV. The observable is of the runs without a bias alone."""
    biased_runs: Count = 2
    """Number of such runs in each iteration, with the seeds that follow the others."""
    max_per_run: Count = 400
    """Largest number of candidates that one pull writes."""
    max_per_iteration: Count = 30
    """Largest number of candidates labelled per iteration, from all pulls together."""
    strategy: Literal["paper", "spread"] = "spread"
    """Which candidates are labelled if there are more than that. spread: some at every distance of
    the pulled atoms. paper: the earliest MD steps."""
    after_event: CountOrAll = 600
    """Candidates later than this many MD steps after the event, the first bond that breaks or
    forms, are not labelled, but for those until the step that decides the observable; all: no
    limit."""
    around_event: CountOrZero = 48
    """Number of configurations around the event that are labelled in each iteration, from all pulls
    together and whatever their uncertainty. They test the model where the activation energy is
    decided (`[stop]`) and are then added to the training data."""
    event_window: tuple[Count, Count] = (400, 200)
    """MD steps before and after the event between which these configurations lie; where the
    observable is decided later, half of them lie between there and the window."""
    max_force: PositiveOrAuto = "auto"
    """New labels with a larger force on an atom (eV/Å) are stored but not trained on: they come
    from pulls that blew up, and a few of them spoil the fit of all others. auto: three times the
    largest force on an atom that three quarters of all labels stay below."""
    max_energy: PositiveOrAuto = "auto"
    """New labels with an energy more than this (eV) above the relaxed structure are stored but not
    trained on. auto: twice the energy that the model's pulls have reached until their events, but
    at least 11.1 eV, that of the strongest chemical bond."""

    @field_validator("bias")
    @classmethod
    def _some_bias(cls, value: str) -> str:
        form, *numbers = value.split()
        sizes = [float(number) for number in numbers]
        if 0.0 in sizes:
            raise ValueError(f'expected numbers other than 0 in "{form} ...", or "none"')
        if not all(1e-50 < abs(size) < 1e50 for size in sizes):
            raise ValueError(f"expected energies of a sensible size, eV, got {value!r}")
        return value

    @model_validator(mode="after")
    def _one_threshold(self) -> "Select":
        lowest = None if self.threshold == "adaptive" else self.threshold
        if (self.relative is None) != (self.relative_floor is None):
            raise ValueError(
                "relative and relative_floor go together: give both, or neither"
                f" (got relative = {self.relative}, relative_floor = {self.relative_floor})"
            )
        if self.relative is not None and self.relative_floor is not None:
            if lowest is not None:
                raise ValueError("threshold and relative exclude each other: remove one of them")
            lowest = self.relative * self.relative_floor
        if self.upper != "none" and lowest is not None and self.upper <= lowest:
            raise ValueError(
                f"upper = {self.upper:g}: must be larger than the threshold, which is"
                f" {'at least ' if self.relative else ''}{lowest:g}"
            )
        return self


class Augment(Section):
    """Noisy copies of each selected configuration (paper, §2.3.4)."""

    copies: CountOrZero = 2
    """Copies of each selected configuration."""
    amplitude: NotNegative = 0.05
    """Uniform noise of ± this on every coordinate, Å."""
    first_iterations: CountOrAll = 2
    """Copies are made in the first iterations only, this many of them, or in all (paper)."""
