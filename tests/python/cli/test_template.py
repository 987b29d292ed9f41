"""The template of al.toml: valid, whole, and safe to edit one key at a time."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from alrare.cli.template import protocol_content, template, toml_value
from alrare.config import (
    Config,
    Section,
    Train,
    load_config,
    parse_config,
    set_by,
    tables,
)
from alrare.errors import ConfigError

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"

OTHER: dict[str, Any] = {
    "name": "other",
    "structure": "other.xyz",
    "charge": 1,
    "multiplicity": 3,
    "iterations": 3,
    "seed": 7,
    "timestep": 0.25,
    "forces": "best",
    "reference": "runs/x",
    "labeller.program": "tblite",
    "labeller.method": "GFN1-xTB",
    "labeller.electronic_temperature": 500.0,
    "labeller.slater_koster": "/skf",
    "labeller.scc_tolerance": 1e-6,
    "labeller.scc_cycles": 50,
    "labeller.third_order": "onsite",
    "labeller.hubbard_derivatives": {"H": -0.1},
    "labeller.damping_exponent": 3.0,
    "labeller.max_angular_momentum": {"H": "s"},
    "labeller.kpoints": [2, 1, 1],
    "labeller.hamiltonian": "Dispersion = {}",
    "labeller.engine": "process",
    "labeller.calculator": "ase.calculators.lj.LennardJones",
    "labeller.arguments": {"sigma": 2.0},
    "labeller.min_distance": 0.4,
    "labeller.timeout": 20.0,
    "labeller.max_failed": 0.1,
    "initial.temperature": 300.0,
    "initial.equilibration_steps": 10,
    "initial.steps": 500,
    "initial.stride": 5,
    "initial.thin": "decorrelated",
    "initial.at_rest": 3,
    "initial.damping_time": 0.2,
    "initial.seed": 4,
    "initial.data": ["labels.extxyz"],
    "initial.data_is_by_labeller": True,
    "initial.relabel": "runs/gfn2",
    "initial.relabel_count": 20,
    "pull.atoms": [2, 3],
    "pull.spring": 5.0,
    "pull.rate": 2.0,
    "pull.relax_steps": 100,
    "pull.steps": 2000,
    "pull.temperature": 300.0,
    "pull.thermostat": "berendsen",
    "pull.damping_time": 0.2,
    "pull.plus_steps": 150,
    "pull.seeds": [4, 5],
    "model.members": 4,
    "model.family": "schnet",
    "model.hidden": {"H": [8, 8]},
    "model.hidden_default": [16, 8],
    "model.radial_cutoff": 6.0,
    "model.angular_cutoff": 4.0,
    "model.radial_shifts": 20,
    "model.angular_shifts": 10,
    "model.angle_sections": 8,
    "model.features": 64,
    "model.gaussians": 20,
    "model.interactions": 2,
    "model.cutoff": 6.0,
    "train.recipe": "paper",
    "train.epochs": 7,
    "train.min_steps": 30,
    "train.batch_size": 16,
    "train.learning_rate": 2e-3,
    "train.force_weight": 0.5,
    "train.energy_share": 0.5,
    "train.stress_weight": 0.5,
    "train.weight_decay": 0.7,
    "train.train_fraction": 0.9,
    "train.split": "random",
    "train.start": "previous",
    "train.device": "cuda",
    "train.tensorboard": True,
    "select.uncertainty": "force",
    "select.threshold": 0.02,
    "select.sigma": 2.0,
    "select.screening_steps": 500,
    "select.relative": 0.01,
    "select.relative_floor": 2.0,
    "select.energy_gap": 0.1,
    "select.cv_gap": 0.02,
    "select.gap_steps": 40,
    "select.upper": 5.0,
    "select.min_distance": 0.6,
    "select.bias": "bounded 2.0 0.2",
    "select.biased_runs": 3,
    "select.max_per_run": 10,
    "select.max_per_iteration": 10,
    "select.strategy": "paper",
    "select.after_event": "all",
    "select.around_event": 12,
    "select.event_window": [100, 250],
    "select.max_force": 20.0,
    "select.max_energy": 20.0,
    "augment.copies": 1,
    "augment.amplitude": 0.1,
    "augment.first_iterations": "all",
    "stop.small_changes": 3,
    "stop.tolerance": 0.1,
    "stop.energy_error": 0.01,
    "stop.force_error": 0.1,
    "run.lmp": "lmp_mpi",
    "run.mpi_ranks": 2,
    "run.launcher": "srun -n {ranks}",
    "run.workers": 1,
    "run.device": "cpu",
    "run.executor": "mpi",
    "cluster.label": {"partition": "long"},
    "cluster.train": {"provider": "local"},
    "cluster.run": {"workers_per_node": 4},
    "cluster.parsl_config": "cluster.py:config",
    "cluster.idle": 10.0,
    "cluster.address": "10.0.0.1",
}
"""A valid value of each key that is not its default's."""

FAMILY = {"model.family": "schnet"}
OF_SCHNET = (
    *("model.features", "model.gaussians", "model.interactions", "model.cutoff"),
    "train.energy_share",
)
WITH: dict[str, dict[str, Any]] = {
    "labeller.calculator": {"labeller.program": "ase"},
    "labeller.arguments": {
        "labeller.program": "ase",
        "labeller.calculator": "ase.calculators.emt.EMT",
    },
    "select.relative": {"select.relative_floor": 1.0},
    "select.relative_floor": {"select.relative": 0.1},
    **dict.fromkeys(OF_SCHNET, FAMILY),
}
"""What must be changed too: the program whose key it is, the other half of a pair."""
DFTB = {"labeller.program": "dftb+", "labeller.slater_koster": "/skf"}


def keys() -> list[str]:
    """Return every key of al.toml with its table: `train.epochs`."""
    plain = [
        key for key in Config.model_fields if key not in (*tables(), "system", "groups", "explore")
    ]
    return plain + [f"{name}.{key}" for name, t in tables().items() for key in t.model_fields]


def edited(text: str, key: str, value: Any) -> str:
    """Change a key of a template as a person does: find its line, uncomment it, set a value."""
    table, _, name = key.rpartition(".")
    lines = text.splitlines()
    begin = lines.index(f"[{table}]") if table else 0
    for number in range(begin, len(lines)):
        if lines[number].removeprefix("# ").startswith(f"{name} = "):
            lines[number] = f"{name} = {toml_value(value)}"
            return "\n".join(lines) + "\n"
    raise AssertionError(f"{key} is not in the template")


def read(text: str) -> dict[str, Any]:
    """Read an al.toml to the values that it means, by dotted keys."""
    config = parse_config(tomllib.loads(text), folder=Path("/x"), source="al.toml")
    flat: dict[str, Any] = {}
    for key in keys():
        table, _, name = key.rpartition(".")
        flat[key] = getattr(getattr(config, table), name) if table else getattr(config, name)
    return flat


def plain(value: Any) -> Any:
    """Make values comparable: lists for tuples, text for paths."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [plain(entry) for entry in value]
    if isinstance(value, Section):
        return value.model_dump(exclude_unset=True)
    return str(value).removeprefix("/x/") if isinstance(value, Path) else value


def test_the_template_is_valid_and_holds_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "al.toml"
    path.write_text(template())
    minimal = tmp_path / "minimal.toml"
    minimal.write_text('name = "hexane"\nstructure = "hexane.xyz"\npull.atoms = [1, 6]\n')
    assert load_config(path) == load_config(minimal)


def test_the_template_explains_every_key() -> None:
    text = " ".join(template().replace("\n# ", " ").split())
    for table in (Config, *tables().values()):
        for key, field in table.model_fields.items():
            if key in tables():
                continue
            assert field.description, key
            assert " ".join(field.description.split()) in text, key


def test_another_value_is_known_for_every_key() -> None:
    assert set(OTHER) == set(keys())


@pytest.mark.parametrize("key", keys())
def test_one_changed_key_of_the_template_means_what_it_says(key: str) -> None:
    before = read(template())
    table, _, name = key.rpartition(".")
    field = (tables()[table] if table else Config).model_fields[name]
    mark = set_by(field)
    only_dftb = mark is not None and mark.values == ("dftb+",)
    changes = {**WITH.get(key, DFTB if only_dftb else {}), key: OTHER[key]}
    if key == "labeller.program":
        changes = {"labeller.program": "dftb+", "labeller.slater_koster": "/skf"}
    text = template()
    for other, value in changes.items():
        text = edited(text, other, value)
    after = read(text)
    for other, value in changes.items():
        assert plain(after[other]) == plain(value), other
    follows = {"labeller.method"} if "labeller.program" in changes else set()
    if key == "train.recipe" or "model.family" in changes:
        follows = {f"train.{name}" for name in Train.model_fields}
    if key == "initial.relabel":
        follows = {"train.start"}
    if key == "train.epochs":
        follows = {"train.min_steps"}
    unchanged = set(keys()) - set(changes) - follows
    assert {k: after[k] for k in unchanged} == {k: before[k] for k in unchanged}


def test_systems_take_the_place_of_the_structure_and_the_pulled_atoms() -> None:
    text = template()
    example = next(line for line in text.splitlines() if line.startswith("# system = "))
    several = text.replace(example, example.removeprefix("# "))
    with pytest.raises(
        ConfigError, match=r"structure, \[pull\] atoms: given beside \[\[system\]\]"
    ):
        read(several)
    own = ("structure = ", "atoms = ")
    lines = [line for line in several.splitlines() if not line.startswith(own)]
    config = parse_config(tomllib.loads("\n".join(lines)), folder=Path("/x"), source="al.toml")
    (system,) = config.systems
    assert (system.name, system.structure, system.atoms) == ("C4", Path("/x/butane.xyz"), (1, 4))


@pytest.mark.parametrize("recipe", ["paper", "fast"])
@pytest.mark.parametrize("protocol", ["alrare", "paper"])
def test_a_recipe_set_in_the_template_trains_by_that_recipe(protocol: Any, recipe: Any) -> None:
    content = tomllib.loads(edited(template(protocol), "train.recipe", recipe))
    config = parse_config(content, folder=Path("/x"), source="al.toml")
    in_campaign = {"epochs": 40, "min_steps": 1200} if recipe == "fast" else {}
    assert config.train == Train(recipe=recipe, **in_campaign)


def test_a_program_set_in_the_template_labels_by_its_own_method() -> None:
    text = edited(edited(template(), "labeller.program", "dftb+"), "labeller.slater_koster", "/skf")
    assert read(text)["labeller.method"] == "DFTB3/3OB"


def test_the_papers_protocol_is_that_of_the_examples() -> None:
    paper = read(template("paper"))
    assert paper["train.epochs"] == 300 and paper["forces"] == "best"
    assert paper["select.after_event"] == "all" and paper["stop.small_changes"] == 0
    base = (EXAMPLES / "hexane_dftb" / "al.toml").read_text()
    example = read(base)
    own = {"name", "structure", *(key for key in keys() if key.startswith("labeller."))}
    assert {k: paper[k] for k in keys() if k not in own} == {
        k: example[k] for k in keys() if k not in own
    }
    figures = read((EXAMPLES / "paper" / "al.toml").read_text())
    differ = {k for k in keys() if figures[k] != paper[k]} - own
    assert differ == {"model.members"} | {k for k in differ if k.startswith("train.")}


def test_no_protocol_repeats_a_default() -> None:
    for table, content in protocol_content("paper").items():
        if not isinstance(content, dict):
            assert content != Config.model_fields[table].default, table
            continue
        for key, value in content.items():
            default = tables()[table].model_fields[key].default
            assert plain(value) != plain(default), (table, key)
