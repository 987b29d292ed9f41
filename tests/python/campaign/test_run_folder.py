"""What a campaign under way may change in its al.toml."""

import json
from pathlib import Path
from typing import Any

import pytest
from alrare.campaign.run_folder import write_config
from alrare.config import Config, parse_config
from alrare.errors import ConfigError


def _config(**changes: Any) -> Config:
    pull = {"atoms": [1, 2], **changes.pop("pull", {})}
    content = {"name": "x", "structure": "x.xyz", "pull": pull, **changes}
    return parse_config(content, folder=Path("/"), source="al.toml")


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    (tmp_path / "al.toml").write_text("")
    return tmp_path / "al.toml"


def test_what_alters_no_finished_result_may_be_changed(tmp_path: Path, toml: Path) -> None:
    write_config(_config(), toml, tmp_path / "run")
    write_config(_config(iterations=20, run={"workers": 3}), toml, tmp_path / "run")


def test_a_change_that_results_depend_on_is_refused_by_name(tmp_path: Path, toml: Path) -> None:
    write_config(_config(), toml, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"pull\.rate, seed changed since .* give the campaign"):
        write_config(_config(seed=2, pull={"rate": 2.0}), toml, tmp_path / "run")


def test_a_key_that_an_older_alrare_did_not_know_had_its_default(
    tmp_path: Path, toml: Path
) -> None:
    write_config(_config(), toml, tmp_path / "run")
    resolved = tmp_path / "run" / "config.resolved.json"
    content = json.loads(resolved.read_text())
    del content["select"]["around_break"]
    resolved.write_text(json.dumps(content))
    write_config(_config(), toml, tmp_path / "run")
    resolved.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"select\.around_break changed"):
        write_config(_config(select={"around_break": 9}), toml, tmp_path / "run")


def test_an_element_taken_out_of_a_table_is_a_change(tmp_path: Path, toml: Path) -> None:
    write_config(_config(model={"hidden": {"C": [8]}}), toml, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"model\.hidden\.H changed"):
        write_config(_config(), toml, tmp_path / "run")
