"""What all stages of a campaign share."""

from pathlib import Path

from alrare.campaign.context import Campaign
from alrare.config import parse_config
from alrare.electronic_state import state_of
from alrare.progress import SilentProgress
from ase import Atoms


def test_frames_from_lammps_get_the_charge_of_the_molecule():
    content = {"name": "x", "structure": "x.xyz", "pull": {"atoms": [1, 2]}}
    config = parse_config(content, folder=Path(), source="al.toml")
    ion = Atoms("NH4", info={"charge": 1})
    campaign = Campaign(config, Path("runs/x"), ion, ("H", "N"), SilentProgress())
    (frame,) = campaign.of_molecule([Atoms("NH4", info={"step": 7, "cv": 1.5})])
    assert state_of(frame) == (1, 1)
    assert (frame.info["step"], frame.info["cv"]) == (7, 1.5)
