"""The examples of [[explore]], at a tiny size: their files fit together and give numbers."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from alrare.campaign import of_system, read_results, run_explorations
from alrare.cli.template import toml_value
from alrare.config import load_config

EXAMPLES = Path(__file__).parents[2] / "examples"


def tiny(name: str, folder: Path, **changes: Any) -> Path:
    """Copy an example, with other values in its tables; return its al.toml."""
    shutil.copytree(EXAMPLES / name, folder / name)
    path = folder / name / "al.toml"
    content = tomllib.loads(path.read_text())
    (explore,) = content.pop("explore")
    explore |= {"seeds": [1], "variables": explore["variables"] | changes.pop("variables")}
    for key, value in changes.items():
        content[key] = content.get(key, {}) | value if isinstance(value, dict) else value
    plain = {key: value for key, value in content.items() if not isinstance(value, dict)}
    lines = [f"{key} = {toml_value(value)}" for key, value in plain.items()]
    lines += ["[[explore]]", *(f"{key} = {toml_value(value)}" for key, value in explore.items())]
    for key, value in content.items():
        if key not in plain:
            lines += [f"[{key}]", *(f"{one} = {toml_value(other)}" for one, other in value.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
def test_malonaldehyde_gives_the_work_of_a_proton_transfer(tmp_path: Path) -> None:
    config = tiny(
        "malonaldehyde",
        tmp_path,
        variables={"steps": 200, "relax_steps": 20},
        iterations=0,
        initial={"steps": 100, "equilibration_steps": 10, "at_rest": 2},
        model={"members": 2, "hidden_default": [12, 8]},
        train={"epochs": 4, "min_steps": 30},
        select={"screening_steps": 20, "around_event": 4},
    )
    command = [sys.executable, "-m", "alrare", "run", config.name, "--quiet"]
    subprocess.run(command, cwd=config.parent, check=True)
    results = of_system(read_results(config.parent / "runs" / "malonaldehyde"))
    assert results["observable"]["key"] == "maximum_work"
    # led from one oxygen to the other in 0.1 ps, the proton resists
    assert 0.1 < results["reference"]["maximum_work"] < 3.0
    (iteration,) = results["iterations"]
    (run,) = iteration["runs"]
    assert run["reference"]["event_step"] > 0 and run["reference"]["cv"] < 0.8


@pytest.mark.slow
def test_graphene_resists_being_stretched(tmp_path: Path) -> None:
    path = tiny("graphene", tmp_path, variables={"steps": 30, "relax_steps": 2, "rate": 2.0})
    text = path.read_text().replace('"tolerance"', "tolerance")
    path.write_text(text.replace("[[explore]]", '[[explore]]\nevent = "none"'))
    content = run_explorations(load_config(path), tmp_path / "out")
    one = content["graphene"]
    assert one["observable"]["unit"] == "GPa"
    # the slope is Young's modulus of graphene, about 1 TPa
    strength, strain = one["mean"]["mean"], one["runs"]["1"]["cv"]
    assert 0.03 < strain < 0.06
    assert strength / strain == pytest.approx(900.0, rel=0.25)
