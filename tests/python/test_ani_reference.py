"""What the other tests compare with: it repeats, and batches change nothing."""

import numpy as np
import torch
from ani_reference import evaluate, random_ensemble
from ase.build import molecule


def test_random_ensembles_are_reproducible_and_members_differ() -> None:
    one, same = random_ensemble(seed=4), random_ensemble(seed=4)
    weight = one.weights["H.0.weight"]
    assert weight.shape == (3, 256, 128)
    assert torch.equal(weight, same.weights["H.0.weight"])
    assert not torch.equal(weight[0], weight[1])


def test_energies_do_not_depend_on_the_batch() -> None:
    ensemble = random_ensemble()
    rng = np.random.default_rng(0)
    frames = []
    for name in ("CH4", "C2H6", "C2H4", "CH4"):
        frames.append(molecule(name))
        frames[-1].rattle(0.1, rng=rng)
    whole, single = evaluate(ensemble, frames), evaluate(ensemble, frames, batch=1)
    assert whole.energies.shape == (3, 4)
    assert [f.shape for f in whole.forces] == [(3, 5, 3), (3, 8, 3), (3, 6, 3), (3, 5, 3)]
    assert np.allclose(whole.energies, single.energies, atol=1e-5)
    assert np.allclose(whole.forces[2], single.forces[2], atol=1e-5)
    assert np.allclose(whole.energy_std, np.std(whole.energies, axis=0, ddof=1))


def test_no_frames_give_no_energies() -> None:
    result = evaluate(random_ensemble(), [])
    assert result.energies.shape == (3, 0)
    assert result.forces == []
