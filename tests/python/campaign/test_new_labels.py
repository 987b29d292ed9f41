"""What a campaign says when nothing before the event can be selected."""

from types import SimpleNamespace
from typing import Any

import pytest
from alrare import config
from alrare.campaign.new_labels import _warn_of_early_events
from small_training import Recorder


def warnings(events: list[int | None], **select: Any) -> list[str]:
    """What is said of runs whose events are at these steps."""
    recorder = Recorder()
    settings = SimpleNamespace(select=config.Select(**{"screening_steps": 100, **select}))
    campaign: Any = SimpleNamespace(config=settings, progress=recorder)
    explored: Any = SimpleNamespace(
        observables={k: SimpleNamespace(event_step=step) for k, step in enumerate(events)}
    )
    _warn_of_early_events(campaign, "iteration 2", explored)
    return recorder.messages


def test_events_within_the_screening_steps_are_warned_of() -> None:
    (said,) = warnings([50, 100, None, 400, 70])
    assert said.startswith("WARNING iteration 2: in 3 of 5 runs the event comes within the")


@pytest.mark.parametrize(
    ("events", "select"),
    [
        ([50, 101, 400], {}),
        ([None, None], {}),
        ([], {}),
        ([5, 5], {"threshold": 0.1}),
        ([5, 5], {"relative": 0.1, "relative_floor": 0.1}),
    ],
)
def test_others_are_not(events: list[int | None], select: dict[str, Any]) -> None:
    assert warnings(events, **select) == []
