"""al.toml: strict, with defaults by recipe, and errors that say where."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from alrare.config import Labeller, Pull, Train, load_config, parse_config
from alrare.errors import ConfigError

MINIMAL: dict[str, Any] = {
    "name": "hexane",
    "structure": "hexane.xyz",
    "pull": {"atoms": [1, 6]},
}
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LONGEST = 300


def parsed(content: dict[str, Any]) -> Any:
    return parse_config({**MINIMAL, **content}, folder=Path("/x"), source="al.toml")


def refused(content: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(content)
    return str(caught.value)


def test_a_minimal_file_takes_the_best_settings_of_the_results() -> None:
    config = parsed({})
    assert config.structure == Path("/x/hexane.xyz")
    assert (config.pull.spring, config.pull.rate, config.pull.steps) == (10.0, 1.0, 6500)
    assert (config.forces, config.model.members, config.train.recipe) == ("mean", 5, "fast")
    assert (config.initial.steps, config.initial.stride, config.initial.at_rest) == (3000, 10, 12)
    assert (config.select.strategy, config.select.max_per_iteration) == ("spread", 30)
    assert (config.select.around_event, config.select.after_event) == (48, 600)
    assert (config.augment.first_iterations, config.stop.small_changes) == (2, 2)
    assert config.pull.seeds == (1, 2, 3, 4, 5, 6)


def test_the_example_says_little_more_than_its_molecule() -> None:
    text = (EXAMPLES / "hexane" / "al.toml").read_text()
    said = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert len(said) < 10
    content = tomllib.loads(text)
    assert set(content) == {"name", "structure", "pull", "select"}
    assert set(content["pull"]) | set(content["select"]) == {"atoms", "upper"}


@pytest.mark.parametrize(("family", "epochs"), [("ani", 40), ("schnet", 20)])
def test_a_campaign_trains_shorter_but_makes_its_passes(family: str, epochs: int) -> None:
    ours = parsed({"model": {"family": family}}).train
    assert (ours.epochs, ours.min_steps) == (epochs, 1200)
    own = parsed({"model": {"family": family}, "train": {"min_steps": 500}}).train
    assert (own.epochs, own.min_steps) == (epochs, 500)
    own = parsed({"model": {"family": family}, "train": {"epochs": 7}}).train
    assert (own.epochs, own.min_steps) == (7, 0)


def test_a_recipe_that_is_no_text_is_refused() -> None:
    assert "recipe = ['fast']: expected" in refused({"train": {"recipe": ["fast"]}})


def test_the_recipe_sets_what_is_not_given() -> None:
    assert Train(recipe="fast").epochs == 20
    assert Train(recipe="fast", epochs=7).epochs == 7
    assert Train(recipe="fast").min_steps == 4000
    assert Train(recipe="fast", epochs=7).min_steps == 0
    assert Train(recipe="fast").learning_rate == 5e-3
    assert Train() == Train(recipe="fast")
    paper = Train(recipe="paper")
    assert (paper.epochs, paper.batch_size, paper.force_weight) == (300, 64, 0.1)
    assert (paper.weight_decay, paper.train_fraction) == (0.0, 0.8)


def test_seeds_may_be_written_as_ranges() -> None:
    for text in ("1-3,7", [1, 2, 3, 7]):
        assert parsed({"pull": {"atoms": [1, 6], "seeds": text}}).pull.seeds == (1, 2, 3, 7)


def test_one_seed_may_be_a_number() -> None:
    for one in (3, "3", [3]):
        assert parsed({"pull": {"atoms": [1, 6], "seeds": one}}).pull.seeds == (3,)
    assert "at most 10000" in refused({"pull": {"atoms": [1, 6], "seeds": "1-1000000000"}})


def test_all_and_none_can_be_said() -> None:
    config = parsed({"select": {"after_event": "all", "upper": "none", "threshold": "adaptive"}})
    assert (config.select.after_event, config.select.upper) == ("all", "none")
    config = parsed({"select": {"after_event": 5, "upper": 3, "threshold": 0.5}})
    assert (config.select.after_event, config.select.upper, config.select.threshold) == (5, 3, 0.5)
    assert parsed({"augment": {"first_iterations": "all"}}).augment.first_iterations == "all"


def test_several_systems_replace_structure_and_atoms() -> None:
    tables = [
        {"name": "C4", "structure": "butane.xyz", "atoms": [1, 4]},
        {"name": "C6", "structure": "hexane.xyz", "atoms": [1, 6], "charge": 1},
    ]
    content = {"name": "alkanes", "system": tables, "pull": {"rate": 2.0}}
    config = parse_config(content, folder=Path("/x"), source="al.toml")
    assert [system.name for system in config.systems] == ["C4", "C6"]
    assert config.systems[1].structure == Path("/x/hexane.xyz")
    assert (config.systems[0].charge, config.systems[1].charge) == (None, 1)
    assert config.pull.rate == 2.0


def test_one_structure_is_a_system_with_the_name_of_the_campaign() -> None:
    (system,) = parsed({"charge": 1, "multiplicity": 2}).systems
    assert (system.name, system.structure) == ("hexane", Path("/x/hexane.xyz"))
    assert (system.atoms, system.charge, system.multiplicity) == ((1, 6), 1, 2)


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (
            [{"name": "a", "structure": "a.xyz", "atoms": [1, 2]}] * 2,
            'system: every name must be different, got "a" twice (al.toml)',
        ),
        (
            [{"name": "a", "atoms": [1, 2]}],
            "system, value 1.structure: required, but not given (al.toml)",
        ),
        (
            {"name": "a", "structure": "a.xyz", "atoms": [1, 2]},
            "system: expected one or several tables [[system]], with two brackets (al.toml)",
        ),
        (
            [{"name": "a b", "structure": "a.xyz", "atoms": [1, 2]}],
            "system, value 1.name = 'a b': expected letters, digits, dots, hyphens and"
            " underscores, a letter or digit first (al.toml)",
        ),
    ],
)
def test_a_wrong_system_is_told(system: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"name": "x", "system": system}, folder=Path("/x"), source="al.toml")
    assert str(caught.value).splitlines() == [expected]


def test_a_campaign_may_begin_with_labels_and_without_a_reference() -> None:
    initial = {"steps": 0, "data": ["a.extxyz"], "relabel": "runs/gfn2"}
    config = parsed({"reference": "none", "initial": initial})
    assert config.reference == "none"
    assert config.initial.data == (Path("/x/a.extxyz"),)
    assert config.initial.relabel == Path("/x/runs/gfn2")
    assert config.train.start == "relabelled"
    assert parsed({"initial": initial, "train": {"start": "random"}}).train.start == "random"
    assert "needs relabel" in refused({"train": {"start": "relabelled"}})
    assert 'expected a run folder in quotes, or "none"' in refused({"reference": False})
    assert "without MD the first training data must come" in refused({"initial": {"steps": 0}})


BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"iteration": 3},
        "iteration: unknown key; did you mean iterations? (al.toml)",
    ),
    (
        {"select": {"bias": "bounded 2.0 0"}},
        'bias = \'bounded 2.0 0\': expected numbers other than 0 in "bounded ...", or "none"'
        " (al.toml, [select])",
    ),
    (
        {"select": {"bias": "bounded -2.0 0.2"}},
        'bias = \'bounded -2.0 0.2\': expected "none", "linear B" or "bounded A W" with A, W > 0'
        " (al.toml, [select])",
    ),
    (
        {"select": {"sgima": 3}},
        "sgima: unknown key; did you mean sigma? (al.toml, [select])",
    ),
    (
        {"select": {"spring": 3}},
        "spring: unknown key; it belongs to [pull] (al.toml, [select])",
    ),
    (
        {"pull": {"atoms": [1, 6], "timestep": 1.0}},
        "timestep: unknown key; it belongs above the first table (al.toml, [pull])",
    ),
    (
        {"select": {"shape": 3}},
        "shape: unknown key; remove it, or see `alrare template` for the keys that exist"
        " (al.toml, [select])",
    ),
    (
        {"select": {"sigma": -1}},
        "sigma = -1: expected a number above 0 (al.toml, [select])",
    ),
    (
        {"select": {"relative": 0.1}},
        "relative and relative_floor go together: give both, or neither (got relative = 0.1,"
        " relative_floor = None) (al.toml, [select])",
    ),
    (
        {"select": {"relative": 0.1, "relative_floor": 1, "threshold": 2}},
        "threshold and relative exclude each other: remove one of them (al.toml, [select])",
    ),
    (
        {"select": {"threshold": 2, "upper": 2}},
        "upper = 2: must be larger than the threshold, which is 2 (al.toml, [select])",
    ),
    (
        {"select": {"relative": 0.5, "relative_floor": 2, "upper": 1}},
        "upper = 1: must be larger than the threshold, which is at least 1 (al.toml, [select])",
    ),
    (
        {"select": {"uncertainty": "forces"}},
        "uncertainty = 'forces': expected 'energy' or 'force' (al.toml, [select])",
    ),
    (
        {"select": {"gap_steps": -1}},
        "gap_steps = -1: expected at least 0 (al.toml, [select])",
    ),
    (
        {"select": {"after_event": "never"}},
        "after_event = 'never': expected \"all\" or a whole number of at least 0"
        " (al.toml, [select])",
    ),
    (
        {"select": {"upper": True}},
        'upper = true: expected "none" or a number above 0 (al.toml, [select])',
    ),
    (
        {"pull": {"atoms": [1, 6], "rate": 0.0}},
        "rate = 0.0: expected a number above 0 (al.toml, [pull])",
    ),
    (
        {"pull": {"atoms": [1, 1]}},
        "atoms = [1, 1]: the two pulled atoms must differ (al.toml, [pull])",
    ),
    (
        {"pull": {"atoms": "1 6"}},
        "atoms = '1 6': expected a list in brackets (al.toml, [pull])",
    ),
    (
        {"pull": {"atoms": [1, 6], "rate": float("inf")}},
        "rate = inf: expected a finite number (al.toml, [pull])",
    ),
    (
        {"select": {"upper": float("inf")}},
        'upper = inf: expected "none" or a number above 0 (al.toml, [select])',
    ),
    (
        {"pull": {"atoms": [1, 6], "steps": "many"}},
        "steps = 'many': expected a number (al.toml, [pull])",
    ),
    (
        {"labeller": {"program": "ase", "calculator": "a.B", "method": "PBE"}},
        'method is for program = "tblite" or "dftb+" only, and program = "ase" would ignore it:'
        " remove it (al.toml, [labeller])",
    ),
    ({"pull": {}}, "atoms: required, but not given (al.toml, [pull])"),
    ({"pull": 3}, "expected a table of keys (al.toml, [pull])"),
    (
        {"pull": {"atoms": [1, 6], "seeds": [*range(1, 99), 1]}},
        "seeds: every seed must be different, got 1 twice (al.toml, [pull])",
    ),
    (
        {"pull": {"atoms": [1, 6], "seeds": "1-x"}},
        'seeds = \'1-x\': expected numbers such as [1, 2, 5] or "1-8" or "1,2,5" (al.toml, [pull])',
    ),
    (
        {"pull": {"atoms": [1, 6], "seeds": [3, 0]}},
        "seeds, value 2 = 0: expected at least 1 (al.toml, [pull])",
    ),
    (
        {"pull": {"atoms": [1, 6], "seeds": "6-1"}},
        "seeds = '6-1': expected ranges that go up, such as 1-6 (al.toml, [pull])",
    ),
    (
        {"model": {"members": 0}},
        "members = 0: expected at least 2 (al.toml, [model])",
    ),
    (
        {"model": {"hidden": {"Q": [8]}}},
        "hidden.Q: expected a chemical element such as H or Cl (al.toml, [model])",
    ),
    (
        {"model": {"hidden": "H=8"}},
        "hidden = 'H=8': expected a table in braces, such as { H = [64, 48] } (al.toml, [model])",
    ),
    (
        {"model": {"hidden": {"H": 8}}},
        "hidden.H = 8: expected a list in brackets, such as [64, 48] (al.toml, [model])",
    ),
    (
        {"pull": {"atoms": [1, 6], "seeds": [True]}},
        "seeds, value 1 = true: expected a number (al.toml, [pull])",
    ),
    (
        {"model": {"members": 1}},
        "members = 1: expected at least 2 (al.toml, [model])",
    ),
    (
        {"model": {"hidden": {"H": [8, 0]}}},
        "hidden.H, value 2 = 0: expected at least 1 (al.toml, [model])",
    ),
    (
        {"labeller": {"program": "ase"}},
        'program = "ase" needs `calculator`, the dotted path of an ASE calculator'
        " (al.toml, [labeller])",
    ),
    (
        {"labeller": {"program": "dftb+"}},
        'program = "dftb+" needs `slater_koster`, the folder of .skf files (al.toml, [labeller])',
    ),
    (
        {"labeller": {"method": "PBE"}},
        'method = "PBE": expected GFN2-xTB or GFN1-xTB for tblite (al.toml, [labeller])',
    ),
    (
        {"labeller": {"kpoints": [2, 2, 2]}},
        'kpoints is for program = "dftb+" only, and program = "tblite" would ignore it: remove it'
        " (al.toml, [labeller])",
    ),
    (
        {"stop": {"small_changes": 2}, "select": {"around_event": 0}},
        "[stop] small_changes > 0 needs [select] around_event > 0: without labels around the event"
        " nothing tells a settled activation energy from a wrong one (al.toml)",
    ),
    (
        {"name": "a/b"},
        "name = 'a/b': expected letters, digits, dots, hyphens and underscores, a letter or digit"
        " first (al.toml)",
    ),
    (
        {"pull": {"atoms": [1, 6], "rate": "1.0"}},
        "rate = '1.0': expected a number (al.toml, [pull])",
    ),
    (
        {"pull": {"atoms": [1, 6], "steps": True}},
        "steps = true: expected a number (al.toml, [pull])",
    ),
    (
        {"pull": {"atoms": [1, 6], "steps": 10**20}},
        "steps = 100000000000000000000: expected at most 2147483647 (al.toml, [pull])",
    ),
    (
        {"select": {"after_event": 10**20}},
        'after_event = 100000000000000000000: expected "all" or a whole number of at least 0'
        " (al.toml, [select])",
    ),
    (
        {"pull": {"atoms": [1, 2, 3]}},
        "atoms = [1, 2, 3]: expected no more than 2 values (al.toml, [pull])",
    ),
    (
        {"pull": {"atoms": [1]}},
        "atoms, value 2: required, but not given (al.toml, [pull])",
    ),
    (
        {"pull": {"atoms": [1, 6], "seeds": []}},
        "seeds = []: expected at least one value (al.toml, [pull])",
    ),
    (
        {"initial": {"steps": 5, "stride": 10}},
        "stride = 10: expected at most steps = 5; no step would be kept (al.toml, [initial])",
    ),
    (
        {"pull": {"atoms": [1, 6], "steps": 900}},
        "[select] screening_steps = 1000: expected less than [pull] steps = 900; no step would be"
        " left to select from (al.toml)",
    ),
    (
        {"run": {"device": "gpu"}},
        'device = \'gpu\': expected "auto", "cpu", "cuda" or "cuda:N" (al.toml, [run])',
    ),
]


@pytest.mark.parametrize(("content", "expected"), BAD)
def test_a_bad_value_is_one_sentence_with_its_place(content: dict[str, Any], expected: str) -> None:
    message = refused(content)
    assert message == expected
    assert len(message) <= LONGEST


def test_a_missing_table_names_what_it_needs() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"name": "a", "structure": "a.xyz"}, folder=Path("/x"), source="al.toml")
    assert str(caught.value) == (
        "required, but not given: `atoms`, the two atoms to pull (al.toml, [pull])"
    )


def test_a_missing_file_and_broken_toml_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="alrare template"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "al.toml").write_text("name = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(tmp_path / "al.toml")
    (tmp_path / "al.toml").write_bytes("# café".encode("latin-1"))
    with pytest.raises(ConfigError, match="expected UTF-8 text"):
        load_config(tmp_path / "al.toml")
    (tmp_path / "al.toml").write_text(f"seed = {'9' * 5000}")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(tmp_path / "al.toml")


def test_a_byte_order_mark_and_a_path_as_text_are_read(tmp_path: Path) -> None:
    text = 'name = "a"\nstructure = "a.xyz"\npull.atoms = [1, 2]\n'
    (tmp_path / "al.toml").write_text(text, encoding="utf-8-sig")
    assert load_config(str(tmp_path / "al.toml")).name == "a"


def test_a_table_made_in_python_is_refused_in_the_same_words() -> None:
    with pytest.raises(ConfigError) as caught:
        Pull(atoms=(1, 6), rate=-1.0, spring=0.0)
    assert str(caught.value).splitlines() == [
        "spring = 0.0: expected a number above 0 (Pull)",
        "rate = -1.0: expected a number above 0 (Pull)",
    ]


def test_several_errors_are_told_at_once() -> None:
    message = refused({"select": {"sigma": -1}, "pull": {"atoms": [1, 6], "rte": 1}})
    first, second = message.splitlines()
    assert first.startswith("rte: unknown key") and second.startswith("sigma = -1")


def test_a_key_of_another_program_is_refused_unless_it_says_nothing() -> None:
    assert Labeller(program="tblite", engine="auto") == Labeller()
    assert "calculator is for" in refused({"labeller": {"calculator": "a.B"}})
