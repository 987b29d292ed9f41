"""The table [[explore]] of al.toml."""

from pathlib import Path
from typing import Any

import pytest
from alrare.config import Config, parse_config
from alrare.errors import ConfigError

OBSERVABLE = {"name": "strength", "value": "max(stress)", "unit": "GPa", "tolerance": 1.0}
OWN: dict[str, Any] = {
    "input": "in.tear",
    "columns": {"strain": "v_strain", "stress": "v_stress"},
    "cv": "strain",
    "observable": OBSERVABLE,
}


def parsed(*explore: dict[str, Any], **given: Any) -> Config:
    content = {"name": "a", "structure": "a.xyz", "explore": list(explore)} | given
    return parse_config(content, folder=Path("/x"), source="al.toml")


def test_an_own_input_is_found_beside_al_toml() -> None:
    (explore,) = parsed(OWN | {"files": ["more/table"]}).explore
    assert (explore.input, explore.files) == (Path("/x/in.tear"), (Path("/x/more/table"),))
    assert (explore.title, explore.shipped, explore.seeds) == ("tear", None, (1, 2, 3, 4, 5, 6))
    assert (explore.observable.kind, explore.observable.column) == ("max", "stress")
    assert (explore.event, explore.cv_gap, explore.observable.plus_steps) == ("bond", 0.0, 200)


def test_a_shipped_input_brings_its_columns_and_keeps_what_is_given() -> None:
    given = {"columns": {"height": "lz"}, "observable": {"tolerance": 2, "name": "peak"}}
    config = parsed({"input": "stretch", **given})
    (explore,) = config.explore
    assert explore.shipped == "stretch" and config.pull is None
    assert explore.columns == {"strain": "v_strain", "stress": "v_stress", "height": "lz"}
    assert (explore.observable.name, explore.observable.value) == ("peak", "max(stress)")
    assert parsed({"input": "colvars"}).explore[0].observable.tolerance == pytest.approx(
        0.0434, abs=1e-4
    )


def observable(**changes: Any) -> dict[str, Any]:
    return OWN | {"observable": {**OBSERVABLE, **changes}}


WITHOUT_INPUT = {key: value for key, value in OWN.items() if key != "input"}
WRONG = [
    (OWN | {"cv": "strian"}, "cv: expected a column of the table, step, "),
    (OWN | {"event": "sress > 1"}, "event: expected a column of the table"),
    (OWN | {"event": "stress >"}, 'expected "bond", "none", "COLUMN > 1.0" or "max(COLUMN)"'),
    (OWN | {"columns": {"step": "v_a"}}, "columns.step: alrare writes a column of this name"),
    (OWN | {"columns": {"energy_std": "v_a"}}, "columns.energy_std: alrare writes a column"),
    (OWN | {"columns": {"a": "$(x)"}}, "expected v_NAME, c_ID[1], f_ID[1] or a thermo keyword"),
    (OWN | {"columns": {"a b": "v_a"}}, "expected letters, digits and underscores"),
    (OWN | {"seeds": [1, 1]}, "seeds: every seed must be different, got 1 twice"),
    (OWN | {"seeds": []}, "expected at least one value"),
    (OWN | {"systems": ["b"]}, 'expected names of systems, a, got "b"'),
    (OWN | {"variables": {"a": 'x"y'}}, 'expected text of one line without "'),
    (OWN | {"variables": {"a": True}}, "expected"),
    (observable(value="stress"), "expected max, min, mean, last or event"),
    (observable(value="max(none)"), "observable.value: expected a column"),
    (observable(tolerance=0), "expected a number above 0"),
    (
        observable(value="event(stress)") | {"event": "none"},
        'event(...) needs an event; got event = "none"',
    ),
    (WITHOUT_INPUT, "input: required, but not given"),
    (observable(name="peak step"), "results.json has an entry of this name"),
    (observable(name="error"), "results.json has an entry of this name"),
    (observable(name="n-runs"), "results.json has an entry of this name"),
    ({"input": "stretch"}, "observable.tolerance: required, but not given"),
    (
        {"input": "stretch", "observable": {"tolerance": 1}, "rate": 1},
        "explore, value 1.rate: unknown key; a variable of the input stands in variables = { rate",
    ),
    (OWN | {"sedes": [1]}, "explore, value 1.sedes: unknown key; did you mean seeds?"),
    (observable(untl=1), "observable.untl: unknown key; remove it"),
]


@pytest.mark.parametrize(("explore", "message"), WRONG)
def test_a_wrong_table_is_one_sentence(explore: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(explore)
    said = str(caught.value)
    assert message in said and "al.toml" in said
    assert all(len(line) <= 300 for line in said.splitlines())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pull": {"atoms": [1, 2]}}, "[pull]: given beside [[explore]]; remove one of them"),
        ({"stop": {"tolerance": 0.1}}, "[stop] tolerance: this is for [pull]"),
        ({"groups": {"head": []}}, "groups.head = []: expected at least one value"),
        ({"groups": {"head": [0]}}, "expected at least 1"),
    ],
)
def test_what_does_not_go_with_an_input_is_told(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(OWN, **given)
    assert message in str(caught.value)


def test_two_inputs_need_two_names() -> None:
    with pytest.raises(ConfigError, match='every name must be different, got "tear" twice'):
        parsed(OWN, OWN)
    assert [one.title for one in parsed(OWN, OWN | {"name": "slow"}).explore] == ["tear", "slow"]


def test_systems_have_atoms_to_pull_or_groups() -> None:
    def systems(explore: list[Any], **given: Any) -> Config:
        system = {"name": "C4", "structure": "a.xyz"} | given
        content = {"name": "a", "system": [system], "explore": explore}
        return parse_config(content, folder=Path("/x"), source="al.toml")

    assert systems([OWN], groups={"head": [1]}).systems[0].groups == {"head": (1,)}
    with pytest.raises(ConfigError, match=r"system, value 1\.atoms: required, but not given"):
        systems([])
    with pytest.raises(ConfigError, match=r"value 1\.atoms: these are for \[pull\]"):
        systems([OWN], atoms=[1, 2])
    with pytest.raises(ConfigError, match=r"value 1\.groups: only inputs of"):
        systems([], atoms=[1, 2], groups={"head": [1]})
    with pytest.raises(ConfigError, match="groups: only inputs of"):
        content = {"name": "a", "structure": "a.xyz", "pull": {"atoms": [1, 2]}}
        parse_config(content | {"groups": {"a": [1]}}, folder=Path("/x"), source="al.toml")
    with pytest.raises(ConfigError, match="explore: expected one or several tables"):
        parse_config(
            {"name": "a", "structure": "a", "explore": OWN}, folder=Path("/"), source="al.toml"
        )
