"""What a campaign under way may change in its al.toml, and who may work on it."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alrare.campaign.context import System
from alrare.campaign.run_folder import write_config
from alrare.config import Config, Pull, parse_config
from alrare.errors import AlrareError, ConfigError
from alrare.exploration.exploration import SpringPull
from alrare.files import locked
from ase.build import molecule

MOLECULE = (System("x", molecule("C2H6"), SpringPull(Pull(atoms=(1, 2)), 0.5)),)


def _config(**changes: Any) -> Config:
    pull = {"atoms": [1, 2], **changes.pop("pull", {})}
    content = {"name": "x", "structure": "x.xyz", "pull": pull, **changes}
    return parse_config(content, folder=Path("/"), source="al.toml")


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    (tmp_path / "al.toml").write_text("")
    return tmp_path / "al.toml"


def test_what_alters_no_finished_result_may_be_changed(tmp_path: Path, toml: Path) -> None:
    write_config(_config(), MOLECULE, toml, tmp_path / "run")
    write_config(_config(iterations=20, run={"workers": 3}), MOLECULE, toml, tmp_path / "run")


def test_a_change_that_results_depend_on_is_refused_by_name(tmp_path: Path, toml: Path) -> None:
    write_config(_config(), MOLECULE, toml, tmp_path / "run")
    with pytest.raises(
        ConfigError, match=r"pull\.rate \(1\.0, now 2\.0\), seed \(1, now 2\) changed since"
    ):
        write_config(_config(seed=2, pull={"rate": 2.0}), MOLECULE, toml, tmp_path / "run")


def test_an_input_may_move_but_its_numbers_may_not_change(tmp_path: Path, toml: Path) -> None:
    def config(folder: str, tolerance: float = 1.0, **changes: Any) -> Config:
        observable = {"name": "s", "value": "max(stress)", "tolerance": tolerance}
        explore = {
            "input": "in.tear",
            "files": ["table"],
            "columns": {"stress": "v_stress"},
            "variables": {"input": 1},
            "observable": observable,
        }
        content = {"name": "x", "structure": "x.xyz", "explore": [explore | changes]}
        return parse_config(content, folder=Path(folder), source="al.toml")

    write_config(config("/here"), MOLECULE, toml, tmp_path / "run")
    write_config(config("/there", tolerance=2.0), MOLECULE, toml, tmp_path / "run")
    for changes, named in (
        ({"variables": {"input": 2}}, r"explore\.tear\.variables\.input \(1, now 2\) changed"),
        ({"seeds": [1, 2]}, r"explore\.tear\.seeds changed"),
        ({"event": "none"}, r"explore\.tear\.event changed"),
        ({"input": "in.other"}, "explore"),
    ):
        with pytest.raises(ConfigError, match=named):
            write_config(config("/here", **changes), MOLECULE, toml, tmp_path / "run")


def test_a_key_that_an_older_alrare_did_not_know_had_its_default(
    tmp_path: Path, toml: Path
) -> None:
    write_config(_config(), MOLECULE, toml, tmp_path / "run")
    resolved = tmp_path / "run" / "config.resolved.json"
    content = json.loads(resolved.read_text())
    del content["select"]["around_event"]
    resolved.write_text(json.dumps(content))
    write_config(_config(), MOLECULE, toml, tmp_path / "run")
    resolved.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"select\.around_event \(48, now 9\) changed"):
        write_config(_config(select={"around_event": 9}), MOLECULE, toml, tmp_path / "run")


def test_a_key_that_a_recipe_sets_had_the_default_of_the_recipe(tmp_path: Path, toml: Path) -> None:
    paper = _config(train={"recipe": "paper"})
    write_config(paper, MOLECULE, toml, tmp_path / "run")
    resolved = tmp_path / "run" / "config.resolved.json"
    content = json.loads(resolved.read_text())
    del content["train"]["weight_decay"]
    resolved.write_text(json.dumps(content))
    write_config(paper, MOLECULE, toml, tmp_path / "run")
    resolved.write_text(json.dumps(content))
    other = _config(train={"recipe": "paper", "weight_decay": 0.2})
    with pytest.raises(
        ConfigError, match=r"train\.weight_decay \(0\.0, now 0\.2\) changed .*another alrare"
    ):
        write_config(other, MOLECULE, toml, tmp_path / "run")


def test_a_charge_that_the_molecule_has_anyway_is_no_change(tmp_path: Path, toml: Path) -> None:
    write_config(_config(), MOLECULE, toml, tmp_path / "run")
    write_config(_config(charge=0, multiplicity=1), MOLECULE, toml, tmp_path / "run")
    write_config(_config(), MOLECULE, toml, tmp_path / "run")
    ion = MOLECULE[0].structure.copy()
    ion.info["charge"] = 1
    charged = (replace(MOLECULE[0], structure=ion),)
    with pytest.raises(ConfigError, match="charge or multiplicity changed since"):
        write_config(_config(charge=1), charged, toml, tmp_path / "run")


def test_an_element_taken_out_of_a_table_is_a_change(tmp_path: Path, toml: Path) -> None:
    both = {"hidden": {"C": [8], "H": [8]}}
    write_config(_config(model=both), MOLECULE, toml, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"model\.hidden\.H changed"):
        write_config(_config(model={"hidden": {"C": [8]}}), MOLECULE, toml, tmp_path / "run")


def test_files_may_move_but_the_molecule_must_stay(tmp_path: Path, toml: Path) -> None:
    write_config(_config(), MOLECULE, toml, tmp_path / "run")
    write_config(_config(structure="elsewhere/y.xyz"), MOLECULE, toml, tmp_path / "run")
    moved = MOLECULE[0].structure.copy()
    moved.positions[0, 0] += 1e-3
    other = (replace(MOLECULE[0], structure=moved),)
    with pytest.raises(ConfigError, match="the structure changed since"):
        write_config(_config(), other, toml, tmp_path / "run")


def test_systems_keep_their_names_atoms_and_structures(tmp_path: Path, toml: Path) -> None:
    def config(*names: str, folder: str = "", atoms: tuple[int, int] = (1, 2)) -> Config:
        tables = [{"name": n, "structure": f"{folder}{n}.xyz", "atoms": atoms} for n in names]
        content = {"name": "x", "system": tables}
        return parse_config(content, folder=Path("/"), source="al.toml")

    def systems(*names: str) -> tuple[System, ...]:
        return tuple(
            System(name, molecule(name), Pull(atoms=(1, 2)), subfolder=name) for name in names
        )

    both, run = systems("CH4", "C2H6"), tmp_path / "run"
    write_config(config("CH4", "C2H6"), both, toml, run)
    write_config(config("CH4", "C2H6", folder="moved/"), both, toml, run)
    with pytest.raises(ConfigError, match=r"system\.C2H6\.atoms"):
        write_config(config("CH4", "C2H6", atoms=(1, 3)), both, toml, run)
    with pytest.raises(ConfigError, match="the number of systems changed"):
        write_config(config("CH4"), both[:1], toml, run)
    strained = both[1].structure.copy()
    strained.positions[0, 0] += 1e-3
    other = (both[0], replace(both[1], structure=strained))
    with pytest.raises(ConfigError, match="the structure of C2H6 changed since"):
        write_config(config("CH4", "C2H6"), other, toml, run)


HOLDER = """
import sys, time
from pathlib import Path
from alrare.files import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(3600)
"""


def test_a_second_process_is_refused_until_the_first_one_ends(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
        try:
            refused = pytest.raises(AlrareError, match="another alrare is at work in this folder")
            with refused, locked(tmp_path):
                raise AssertionError("two work in one folder")
        finally:
            holder.send_signal(signal.SIGKILL)
    with locked(tmp_path):  # the lock of a killed process is gone
        pass


def test_a_folder_can_be_locked_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass
