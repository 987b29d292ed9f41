"""When the activation energy has settled."""

import pytest
from alrare.campaign.around_event import EventErrors
from alrare.campaign.convergence import changes, is_contradicted, is_settled, judge
from alrare.config import Stop


def test_changes_are_taken_seed_by_seed() -> None:
    # the seeds differ by 0.3 eV, the iterations by 0.01 in each: noise that both share cancels
    (change,) = changes([{1: 6.0, 2: 6.3, 3: 9.9}, {1: 6.01, 2: 6.31}])
    assert change is not None
    assert change.mean == pytest.approx(0.01)
    assert change.sem == pytest.approx(0.0, abs=1e-12)
    assert changes([{1: 6.0}, {2: 6.0}]) == [None]
    assert changes([]) == []


def test_an_energy_has_settled_after_enough_small_changes_in_a_row() -> None:
    history = [{1: 1.0, 2: 1.1}, {1: 6.0, 2: 6.1}, {1: 6.01, 2: 6.11}, {1: 6.0, 2: 6.1}]
    assert is_settled(history, tolerance=0.04, small_changes=2)
    assert not is_settled(history, tolerance=0.005, small_changes=2)
    assert not is_settled(history, tolerance=0.04, small_changes=3)
    assert not is_settled(history[:2], tolerance=0.04, small_changes=2)


def test_an_event_that_comes_or_goes_is_a_change() -> None:
    history = [{1: 6.0, 2: 6.1}, {1: 6.0}, {1: 6.0}, {1: 6.0}]
    assert not is_settled(history[:3], tolerance=0.04, small_changes=2)
    assert is_settled(history, tolerance=0.04, small_changes=2)


def test_a_change_whose_error_bar_is_wide_is_not_small() -> None:
    history = [{1: 6.0, 2: 6.0}, {1: 6.3, 2: 5.7}]
    assert not is_settled(history, tolerance=0.04, small_changes=1)


def test_zero_iterations_never_settle() -> None:
    assert not is_settled([{1: 6.0}, {1: 6.0}], tolerance=0.04, small_changes=0)


def test_the_limit_of_the_energy_error_follows_the_number_of_atoms_unless_it_is_given() -> None:
    assert [Stop().energy_limit(n) for n in (2, 20, 32)] == [0.02, 0.02, 0.032]
    assert Stop(energy_error=0.005).energy_limit(32) == 0.005
    wrong = EventErrors(n_frames=8, energy_mae=0.03, force_mae=0.01)
    same = [{1: 6.0}, {1: 6.0}, {1: 6.0}]
    verdicts = [
        judge(
            same, finished=True, around_event=wrong, stop=Stop(), n_atoms=n_atoms, tolerance=0.04
        ).converged
        for n_atoms in (20, 32)
    ]
    assert verdicts == [False, True]


@pytest.mark.parametrize(
    ("error", "sem", "expected"),
    [
        (None, None, False),
        (0.139, 0.030, True),
        (-0.139, 0.030, True),
        (0.139, None, True),  # one seed
        (0.040, 0.001, False),  # within the tolerance
        (0.058, 0.043, False),  # by chance
    ],
)
def test_the_labeller_contradicts_what_is_beyond_tolerance_and_chance(
    error: float | None, sem: float | None, expected: bool
) -> None:
    assert is_contradicted(error, sem, 0.0434) is expected
