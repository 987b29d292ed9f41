"""al.toml: strict, with defaults by recipe, and errors that say where."""

from pathlib import Path

import pytest
from alrare.config import Train, load_config, parse_config
from alrare.errors import ConfigError

MINIMAL = {"name": "hexane", "structure": "hexane.xyz"}


def refused(content: dict[str, object]) -> str:
    """Return why a configuration is refused: one clean sentence for each fault."""
    with pytest.raises(ConfigError) as caught:
        parse_config({**MINIMAL, **content}, folder=Path("/x"), source="al.toml")
    for line in str(caught.value).splitlines():
        check_sentence(line)
    return str(caught.value)


def check_sentence(message: str) -> None:
    """Assert that a message is one sentence to act on, and nothing of the library that found it."""
    assert 10 < len(message) <= 300, message
    assert message == message.strip() and "\n" not in message, message
    assert "al.toml" in message, message
    for word in ("Traceback", "ValidationError", "Value error", "pydantic", "errors for Config"):
        assert word not in message, message


def test_a_minimal_file_takes_the_papers_protocol() -> None:
    config = parse_config(MINIMAL, folder=Path("/x"), source="al.toml")
    assert config.structure == Path("/x/hexane.xyz")
    assert (config.pull.spring, config.pull.rate, config.pull.steps) == (10.0, 1.0, 6500)
    assert (config.train.epochs, config.train.batch_size, config.train.force_weight) == (
        300,
        64,
        0.1,
    )
    assert (config.select.sigma, config.select.max_per_iteration) == (3.0, 50)


def test_the_recipe_sets_what_is_not_given() -> None:
    assert Train(recipe="fast").epochs == 20
    assert Train(recipe="fast", epochs=7).epochs == 7
    assert Train(recipe="fast").min_steps == 1200
    assert Train(recipe="fast", epochs=7).min_steps == 0
    assert Train(recipe="fast").learning_rate == 1e-2


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ({"iteration": 3}, ("iteration", "unknown key", "al.toml")),
        ({"select": {"sgima": 3}}, ("sgima", "unknown key", "[select]")),
        ({"select": {"sigma": -1}}, ("sigma = -1", "greater than 0", "[select]")),
        ({"select": {"relative": 0.1}}, ("relative and relative_floor go together", "al.toml")),
        (
            {"select": {"relative": 0.1, "relative_floor": 1, "threshold": 2}},
            ("threshold and relative exclude each other",),
        ),
        ({"select": {"threshold": 2, "upper": 2}}, ("upper = 2", "larger than the threshold")),
        (
            {"select": {"relative": 0.5, "relative_floor": 2, "upper": 1}},
            ("upper = 1", "larger than the threshold, which is at least 1"),
        ),
        ({"select": {"uncertainty": "forces"}}, ("uncertainty = 'forces'", "'energy' or 'force'")),
        ({"select": {"gap_steps": -1}}, ("gap_steps = -1", "greater than or equal to 0")),
        ({"pull": {"rate": 0.0}}, ("rate = 0.0", "greater than 0", "[pull]")),
        ({"pull": {"atoms": [1, 1]}}, ("two pulled atoms must differ",)),
        ({"pull": {"seeds": [1, 1]}}, ("every seed must be different",)),
        ({"model": {"members": 1}}, ("members = 1", "2", "[model]")),
        ({"labeller": {"program": "ase"}}, ("calculator",)),
        ({"name": "a/b"}, ("name = 'a/b'",)),
        ({"run": {"device": "gpu"}}, ("device = 'gpu'",)),
    ],
)
def test_a_bad_value_is_named_with_its_table(
    content: dict[str, object], parts: tuple[str, ...]
) -> None:
    message = refused(content)
    assert "\n" not in message  # one fault, one sentence
    assert all(part in message for part in parts), message


def test_a_missing_file_and_broken_toml_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="alrare template"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "al.toml").write_text("name = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(tmp_path / "al.toml")


def test_several_errors_are_told_at_once() -> None:
    message = refused({"select": {"sigma": -1}, "pull": {"rte": 1}})
    assert "sigma = -1" in message
    assert "rte" in message
