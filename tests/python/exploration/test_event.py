"""The rare event of a run: the first bond that breaks or forms."""

import numpy as np
from alrare.exploration.event import CHANGED, find_event
from ase import Atoms
from ase.build import graphene

CHAIN = Atoms("CCCCCC", [[1.53 * k, 0.5 * (k % 2), 0.0] for k in range(6)])


def opened(start: Atoms, first: int, second: int, n: int = 40, far: float = 1.2) -> list[Atoms]:
    """Frames in which all atoms beyond a bond move away along x, atoms from 0."""
    frames = []
    for shift in np.linspace(0.0, far, n):
        frame = start.copy()
        away = frame.positions[:, 0] >= start.positions[second, 0] - 1e-6
        frame.positions[away, 0] += shift
        frames.append(frame)
    assert start.positions[first, 0] < start.positions[second, 0]
    return frames


def test_a_bond_is_broken_when_it_is_too_long() -> None:
    frames = opened(CHAIN, 2, 3)
    event = find_event(frames)
    assert event is not None and (event.kind, event.atoms) == ("broken", (3, 4))
    ratio = [frame.get_distance(2, 3) / frames[0].get_distance(2, 3) for frame in frames]
    assert ratio[event.index - 1] <= CHANGED < ratio[event.index]
    assert find_event(frames[:5]) is None
    assert find_event([]) is None


def test_a_bond_that_forms_is_an_event_too() -> None:
    far = Atoms("HClHCl", [[0, 0, 0], [1.3, 0, 0], [0, 9, 0], [1.3, 9, 0]])
    frames = []
    for down in np.linspace(0.0, 8.3, 80):
        frame = far.copy()
        frame.positions[2:, 1] -= down
        frames.append(frame)
    event = find_event(frames)
    assert event is not None and event.kind == "formed"
    assert event.atoms == (2, 4)  # Cl-Cl comes first: its radii are the largest
    lengths = [frame.get_distance(1, 3) for frame in frames]
    assert lengths[event.index] < 1.25 * 2 * 1.02 < lengths[event.index - 1]


def test_two_hydrogens_that_meet_are_an_event() -> None:
    frames = [Atoms("HH", [[0, 0, 0], [far, 0, 0]]) for far in np.linspace(3.0, 0.7, 50)]
    event = find_event(frames)
    assert event is not None and (event.kind, event.atoms) == ("formed", (1, 2))


def test_a_proton_that_jumps_is_an_event() -> None:
    frames = []
    for jump in np.linspace(0.0, 0.7, 60):
        frames.append(Atoms("OHO", [[0, 0, 0], [1.0 + jump, 0, 0], [2.7, 0, 0]]))
    event = find_event(frames)
    assert event is not None and event.kind in ("broken", "formed")
    assert 2 in event.atoms


def test_atoms_that_only_touch_have_formed_no_bond() -> None:
    start = Atoms("CC", [[0, 0, 0], [1.95, 0, 0]])  # just not bonded
    near = Atoms("CC", [[0, 0, 0], [1.85, 0, 0]])  # just bonded, and hardly moved
    assert find_event([start, near]) is None


def test_bonds_that_are_equal_by_symmetry_are_one_event() -> None:
    left, right, middle = (find_event(opened(CHAIN, k, k + 1)) for k in (0, 4, 2))
    assert left is not None and right is not None and middle is not None
    assert left.atoms == (1, 2) and right.atoms == (5, 6)
    assert left.is_like(right) and right.equivalent == (1, 2)
    assert not left.is_like(middle) and not left.is_like(None)


def test_driven_atoms_are_equivalent_to_each_other_only() -> None:
    three = CHAIN[:3]
    left, right = opened(three, 0, 1), opened(three, 1, 2)
    for driven, equal in (((), True), ((1, 3), True), ((1,), False)):
        events = [find_event(frames, driven) for frames in (left, right)]
        assert events[0] is not None and events[0].is_like(events[1]) == equal


def test_a_sheet_that_is_stretched_with_its_cell_breaks() -> None:
    sheet = graphene(vacuum=10.0) * (3, 3, 1)
    sheet.pbc = True
    frames = []
    for strain in np.linspace(0.0, 0.6, 40):
        frame = sheet.copy()
        frame.set_cell(sheet.cell.array * [1 + strain, 1, 1], scale_atoms=True)
        frame.positions[::2] += 3 * frame.cell.array[0]  # unwrapped: images of the same atoms
        frames.append(frame)
    event = find_event(frames)
    assert event is not None and event.kind == "broken" and event.index > 25
    assert find_event(frames[:20]) is None
