"""What all stages of a campaign share."""

from pathlib import Path

import pytest
from alrare.campaign.context import Campaign, System, systems_of
from alrare.config import Pull, parse_config
from alrare.electronic_state import state_of
from alrare.errors import ConfigError
from alrare.progress import SilentProgress
from ase import Atoms
from ase.io import write

PULL = Pull(atoms=(1, 2))


def test_frames_from_lammps_get_the_charge_of_the_molecule():
    system = System("x", Atoms("NH4", info={"charge": 1}), PULL)
    (frame,) = system.of_molecule([Atoms("NH4", info={"step": 7, "cv": 1.5})])
    assert state_of(frame) == (1, 1)
    assert (frame.info["step"], frame.info["cv"]) == (7, 1.5)


def test_two_charges_of_one_composition_are_refused(tmp_path):
    write(tmp_path / "a.xyz", Atoms("H2", [[0, 0, 0], [0, 0, 0.75]]))
    tables = [{"name": n, "structure": "a.xyz", "atoms": [1, 2]} for n in ("neutral", "ion")]
    tables[1]["charge"] = 1
    content = {"name": "x", "system": tables}
    with pytest.raises(ConfigError, match="neutral and ion are both H2, one with charge 0"):
        systems_of(parse_config(content, folder=tmp_path, source="al.toml"))


def test_the_model_knows_the_elements_of_all_systems():
    content = {"name": "x", "structure": "x.xyz", "pull": {"atoms": [1, 2]}}
    config = parse_config(content, folder=Path(), source="al.toml")
    systems = tuple(System(name, Atoms(name), PULL, name) for name in ("OH", "CH4"))
    campaign = Campaign(config, Path("runs/x"), systems, SilentProgress())
    assert campaign.elements == ("H", "C", "O")


def test_names_that_share_a_folder_are_refused(tmp_path):
    write(tmp_path / "a.xyz", Atoms("H2", [[0, 0, 0], [0, 0, 0.75]]))
    observable = {"name": "x", "value": "max(step)", "tolerance": 1}

    def systems(names, explorations):
        content = {
            "name": "x",
            "system": [{"name": name, "structure": "a.xyz"} for name in names],
            "explore": [
                {"input": "md", "name": name, "observable": observable} for name in explorations
            ],
        }
        return systems_of(parse_config(content, folder=tmp_path, source="al.toml"))

    found = systems(["a", "b"], ["c", "d"])
    assert [system.name for system in found] == ["a-c", "a-d", "b-c", "b-d"]
    assert [system.twin for system in found] == ["", "a-c", "", "b-c"]
    with pytest.raises(ConfigError, match='"a-b-c" and "a-b-c" would have one folder'):
        systems(["a", "a-b"], ["b-c", "c"])
    with pytest.raises(ConfigError, match='"a" and "A" would have one folder'):
        systems(["a", "A"], ["c"])
    with pytest.raises(ConfigError, match=r"explore, systems: no input drives b; name it"):
        only = {"input": "md", "systems": ["a"], "observable": observable}
        tables = [{"name": name, "structure": "a.xyz"} for name in ("a", "b")]
        content = {"name": "x", "system": tables, "explore": [only]}
        systems_of(parse_config(content, folder=tmp_path, source="al.toml"))
    with pytest.raises(ConfigError, match='"run_1" is the name of another folder'):
        systems(["run_1", "b"], ["c"])
