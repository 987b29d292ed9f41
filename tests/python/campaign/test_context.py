"""What all stages of a campaign share."""

from pathlib import Path

from alrare.campaign.context import Campaign, System
from alrare.config import Pull, parse_config
from alrare.electronic_state import state_of
from alrare.progress import SilentProgress
from ase import Atoms

PULL = Pull(atoms=(1, 2))


def test_frames_from_lammps_get_the_charge_of_the_molecule():
    system = System("x", Atoms("NH4", info={"charge": 1}), PULL)
    (frame,) = system.of_molecule([Atoms("NH4", info={"step": 7, "cv": 1.5})])
    assert state_of(frame) == (1, 1)
    assert (frame.info["step"], frame.info["cv"]) == (7, 1.5)


def test_the_model_knows_the_elements_of_all_systems():
    content = {"name": "x", "structure": "x.xyz", "pull": {"atoms": [1, 2]}}
    config = parse_config(content, folder=Path(), source="al.toml")
    systems = tuple(System(name, Atoms(name), PULL, name) for name in ("OH", "CH4"))
    campaign = Campaign(config, Path("runs/x"), systems, SilentProgress())
    assert campaign.elements == ("H", "C", "O")
