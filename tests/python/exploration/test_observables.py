"""What a pull shows: its event, the activation energy, the peaks; and its dump."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from alrare.config import Explore
from alrare.errors import SimulationError
from alrare.exploration.event import find_event
from alrare.exploration.input_run import observe_table
from alrare.exploration.observables import observe, read_trajectory, thermal_noise
from alrare.exploration.work import WorkCurve
from ase import Atoms
from ase.build import molecule

SNAPSHOT = """\
ITEM: TIMESTEP
{step}
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS mm mm mm
-9 9
-9 9
-9 9
ITEM: ATOMS id element xu yu zu
1 C 0 0 0
2 H 0 0 {height}
"""


def stretched(n: int) -> list[Atoms]:
    """Ethane stretched along its C-C bond until it is 1.7 times as long, ten steps a frame."""
    start = molecule("C2H6")
    half = np.sign(start.positions[:, 2])
    frames = []
    for number, stretch in enumerate(np.linspace(0.0, 0.53, n)):
        frame = start.copy()
        frame.positions[:, 2] += half * stretch
        frame.info["step"] = 10 * number
        frames.append(frame)
    return frames


def curve(n: int) -> WorkCurve:
    step = np.arange(10.0 * n)
    work = np.minimum(0.01 * step, 2.0) - 0.001 * np.maximum(step - 250.0, 0.0)
    return WorkCurve(
        step=step,
        distance=step,
        target=step,
        force=np.where(step == 77, 4.0, 1.0),
        work=work,
        potential_energy=-100.0 + np.where(step == 88, 3.0, 0.0),
        temperature=step,
        energy_std=None,
    )


def test_a_pull_is_observed_at_its_event_and_at_its_peaks() -> None:
    frames = stretched(50)
    event = find_event(frames)
    assert event is not None
    seen = observe(curve(50), frames, plus_steps=0)
    assert seen.event == event and seen.event.atoms == (1, 2)
    assert seen.event_step == 10 * event.index
    assert seen.work_at_event == pytest.approx(curve(50).work[10 * event.index])
    assert seen.activation_energy == pytest.approx(2.0)
    assert seen.peak_step == 200
    assert seen.peak_force == 4.0
    assert seen.peak_energy == pytest.approx(3.0)


def test_the_activation_energy_ends_shortly_after_the_event() -> None:
    frames, whole = stretched(50), curve(50)
    event_step = observe(whole, frames, plus_steps=0).event_step
    assert event_step is not None
    # the spring goes on to drag the fragments through the thermostat
    dragged = replace(whole, work=np.maximum(whole.work, 0.01 * (whole.step - 200.0)))
    for plus in (0, 50):
        last = event_step + plus
        seen = observe(dragged, frames, plus_steps=plus)
        assert seen.activation_energy == pytest.approx(dragged.work[: last + 1].max())
        assert seen.peak_step <= last
    everything = observe(dragged, frames, plus_steps="all")
    assert everything.activation_energy == pytest.approx(dragged.work.max())
    assert everything.peak_step == dragged.step[-1]


def pulled_for(steps: int, recoil: int | None = None) -> tuple[WorkCurve, list[Atoms], int]:
    """Return a pull whose spring goes slack so many steps after the event, and the event's step.

    `recoil`: the tension is negative for a moment so many steps after the event.
    """
    frames = stretched(50)
    event = find_event(frames)
    assert event is not None
    event_step, whole = 10 * event.index, curve(200)
    force = np.where(whole.step <= event_step + steps, 1.0, 0.01)
    if recoil is not None:
        force = np.where(np.abs(whole.step - event_step - recoil) < 5, -0.5, force)
    return replace(whole, work=0.01 * whole.step, force=force), frames, event_step


@pytest.mark.parametrize("recoil", [None, 40])
def test_the_work_counts_until_the_spring_has_gone_slack(recoil: int | None) -> None:
    whole, frames, event_step = pulled_for(400, recoil)
    # 13 of the last 150 steps are those of 1: 13 + 137 * 0.01 is below a tenth of 150
    last = event_step + 400 + 137
    for plus_steps in ("slack", 2000):
        seen = observe(whole, frames, plus_steps=plus_steps)
        assert (seen.peak_step, seen.cut_off) == (last, False)
        assert seen.activation_energy == pytest.approx(0.01 * last)
    shorter = observe(whole, frames, plus_steps=60)
    assert (shorter.peak_step, shorter.cut_off) == (event_step + 60, True)
    everything = observe(whole, frames, plus_steps="all")
    assert (everything.peak_step, everything.cut_off) == (1999, False)


@pytest.mark.parametrize("rate", [1.0, -1.0])
def test_the_shipped_pull_ends_as_a_pull_does(rate: float) -> None:
    whole, frames, _ = pulled_for(400, recoil=40)
    table = {
        "step": whole.step,
        "distance": whole.distance,
        "force": np.sign(rate) * whole.force,
        "work": whole.work,
        "potential_energy": whole.potential_energy,
    }
    given = Explore(input="pull", variables={"rate": rate})
    for timestep in (0.5, 0.25):
        pull = observe(whole, frames, plus_steps="slack", timestep=timestep, noise=0.09)
        seen = observe_table(given, table, frames, timestep=timestep)
        assert (seen.value, seen.peak_step) == (pull.value, pull.peak_step)
        assert not seen.cut_off
    cut = {name: column[: int(pull.peak_step)] for name, column in table.items()}
    assert observe_table(given, cut, frames, timestep=0.25).cut_off
    warm = Explore(input="pull", variables={"rate": rate, "temperature": 300.0})
    assert observe_table(warm, table, frames).cut_off  # its noise hides when it is slack
    everything = Explore(input="pull", observable={"plus_steps": "all"})
    assert observe_table(everything, table, frames).peak_step == whole.step[-1]


def test_the_tension_is_averaged_over_a_time() -> None:
    """A recoil takes as long with a short time step, which is more steps."""
    whole, frames, event_step = pulled_for(400)
    for timestep, steps in ((1.0, 75), (0.25, 300)):
        seen = observe(whole, frames, plus_steps="slack", timestep=timestep)
        # k steps of 1 are too much in n of which the others are of 0.01: k + 0.01 (n - k) < n / 10
        k = int(np.ceil(0.09 * steps / 0.99)) - 1
        assert seen.peak_step == event_step + 400 + steps - k


def test_a_spring_whose_noise_hides_when_it_is_slack_is_never_slack() -> None:
    assert thermal_noise(10.0, 300.0) == pytest.approx(0.508, abs=1e-3)
    whole, frames, _ = pulled_for(400)
    quiet, loud = (observe(whole, frames, plus_steps="slack", noise=one) for one in (0.05, 0.2))
    assert not quiet.cut_off and loud.cut_off
    assert loud.activation_energy == pytest.approx(whole.work.max())


def test_steps_from_the_first_without_a_finite_work_on_are_not_known() -> None:
    whole, frames, event_step = pulled_for(400)
    gap = np.abs(whole.step - event_step - 100) < 20
    seen = observe(replace(whole, work=np.where(gap, np.nan, whole.work)), frames, plus_steps="all")
    assert seen.peak_step == event_step + 80
    seen = observe(
        replace(whole, work=np.where(gap, np.nan, whole.work)), frames, plus_steps="slack"
    )
    assert seen.peak_step == event_step + 80 and seen.cut_off


def test_a_whole_pull_that_is_shorter_than_it_was_to_be_is_cut_off() -> None:
    whole, frames, _ = pulled_for(400)
    for steps, cut_off in ((None, False), (1999, False), (2500, True)):
        assert observe(whole, frames, plus_steps="all", steps=steps).cut_off == cut_off


def test_an_event_after_the_end_of_the_table_is_not_known() -> None:
    frames, whole = stretched(50), curve(50)
    event_step = observe(whole, frames, plus_steps=0).event_step
    assert event_step is not None
    seen = observe(curve((event_step - 10) // 10), frames, plus_steps=60)
    assert seen.event is None and seen.activation_energy is None


def test_work_that_still_grows_where_the_steps_that_count_end_is_cut_off() -> None:
    pulling, frames, event_step = pulled_for(5000)
    for plus_steps in (60, 5000, "slack"):
        assert observe(pulling, frames, plus_steps=plus_steps).cut_off
    for plus_steps in (0, "all"):  # as asked for
        assert not observe(pulling, frames, plus_steps=plus_steps).cut_off
    friction = replace(pulling, force=np.where(pulling.step > event_step, 0.09, pulling.force))
    assert not observe(friction, frames, plus_steps="slack").cut_off
    assert not observe(pulling, [], plus_steps="slack").cut_off  # no event


def test_forces_and_energies_of_fragments_that_meet_later_are_no_peaks() -> None:
    frames, whole = stretched(50), curve(50)
    late = whole.step == 480
    collided = replace(
        whole,
        force=np.where(late, 99.0, whole.force),
        potential_energy=np.where(late, 0.0, whole.potential_energy),
    )
    assert observe(collided, frames, plus_steps=10).peak_force == 4.0
    assert observe(collided, frames, plus_steps=10).peak_energy == pytest.approx(3.0)


def test_a_pull_without_an_event_has_no_activation_energy() -> None:
    seen = observe(curve(50), stretched(50)[:5], plus_steps=200)
    assert (seen.event, seen.event_step, seen.work_at_event) == (None, None, None)
    assert seen.activation_energy is None and seen.peak_step == 200


def test_a_pull_at_nan_is_refused() -> None:
    nan = replace(curve(5), work=np.full(50, np.nan))
    with pytest.raises(SimulationError, match="only NaN; the pull blew up"):
        observe(nan, stretched(5), plus_steps=200)


def test_a_dump_gives_its_frames_and_leaves_out_one_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "trajectory.lammpstrj"
    whole = SNAPSHOT.format(step=0, height=1.1) + SNAPSHOT.format(step=10, height=1.25)
    for cut in (SNAPSHOT.format(step=20, height=1.5)[:-3], "ITEM: TIMESTEP\n20\n", "ITEM: TIM", ""):
        path.write_text(whole + cut)
        frames = read_trajectory(path)
        assert [frame.info["step"] for frame in frames] == [0, 10]
        assert frames[1].get_chemical_symbols() == ["C", "H"]
        assert frames[1].positions[1].tolist() == [0.0, 0.0, 1.25]
        assert not frames[1].pbc.any()


def test_a_foreign_or_missing_dump_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="no configurations of a pull"):
        read_trajectory(tmp_path / "trajectory.lammpstrj")
    (tmp_path / "trajectory.lammpstrj").write_text(SNAPSHOT.format(step="x", height=1))
    with pytest.raises(SimulationError, match="expected the dump of a pull"):
        read_trajectory(tmp_path / "trajectory.lammpstrj")
