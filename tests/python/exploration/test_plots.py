"""Plots: what a legend names."""

import numpy as np
import pytest
from alrare.exploration.plots import draw_work
from alrare.exploration.work import WorkCurve
from matplotlib.figure import Figure


def curve() -> WorkCurve:
    steps = np.arange(5.0)
    return WorkCurve(steps, steps, steps, steps, steps, steps, steps, None)


def legend(count: int, names: dict[int, str] | None = None) -> list[str]:
    axes = Figure().subplots()
    iterations = {number: [curve()] for number in range(count)}
    draw_work(axes, reference=[curve()], iterations=iterations, names=names)
    assert len(axes.get_lines()) == 1 + count + 1  # the labeller's, theirs, and the zero
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_few_iterations_are_all_named() -> None:
    assert legend(3) == ["labeller", "initial model", "iteration 1", "iteration 2"]
    assert len(legend(7)) == 8


@pytest.mark.parametrize("count", [8, 11, 40])
def test_of_many_iterations_the_last_and_at_most_seven_are_named(count: int) -> None:
    named = legend(count)
    assert named[:2] == ["labeller", "initial model"]
    assert named[-1] == f"iteration {count - 1}"
    assert len(named[2:]) <= 7


def test_names_that_are_given_are_shown() -> None:
    names = {number: f"rate {number}" for number in range(10)}
    assert legend(10, names) == ["labeller", *names.values()]
