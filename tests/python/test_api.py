"""The public names: whole, documented, light to import, and enough for the examples."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import alrare
import pytest
from alrare.config import Pull
from ase import Atoms

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("alrare", *(f"alrare.{name}" for name in (
    "model", "labelling", "training", "selection", "exploration", "campaign", "config",
)))  # fmt: skip
PLAIN = {"config", "errors", "frames", "progress", "structure", "tables", "units"}
"""Public modules beside the packages."""


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_says_what_it_is(package: str) -> None:
    module = importlib.import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        value = getattr(module, name)
        if callable(value):
            assert value.__doc__, f"{package}.{name} has no docstring"


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    module = importlib.import_module("alrare.campaign")
    with pytest.raises(AttributeError, match=r"alrare\.campaign.*no attribute 'run'"):
        module.run  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, alrare, alrare.campaign, alrare.model, alrare.labelling, alrare.plugin;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'ase', 'pydantic')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert run.returncode == 0


def test_the_examples_use_public_names_only() -> None:
    for path in sorted((ROOT / "examples").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("alrare"):
                continue
            _, *parts = str(node.module).split(".")
            if parts and parts[0] in PLAIN:
                continue
            public = importlib.import_module(str(node.module)).__all__
            assert f"alrare.{'.'.join(parts)}".rstrip(".") in PACKAGES, f"{path}: {node.module}"
            assert {alias.name for alias in node.names} <= set(public), f"{path}: {node.module}"


def test_no_public_page_names_a_private_module() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        assert "alrare._" not in path.read_text(), path


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("select_frames([], model='m')", "select_frames: expected at least one frame, got none"),
        ("select_frames(atoms, model='m')", "select_frames: expected a sequence of ase.Atoms"),
        ("select_frames(['a.xyz'], model='m')", "read_frames.*, got list"),
        ("train(atoms, folder='f')", "train: expected a sequence of ase.Atoms, .* got Atoms"),
        ("train('a.xyz', folder='f')", "train: expected a sequence of ase.Atoms, .* got str"),
        ("label(atoms, labeller=None, folder='f')", "label: expected a sequence of ase.Atoms"),
        ("load_ensemble(3)", "model: expected the path of a model, got int"),
        ("EnsembleCalculator(None)", "model: expected the path of a model, got NoneType"),
        ("pull_with_model(model='m', structure='a.xyz', pull=pull, folder='f')",
         "pull_with_model: structure: expected ase's Atoms, got str"),
        ("pull_with_model(model='m', structure=atoms, pull={}, folder='f')",
         "pull_with_model: pull: expected alrare's Pull, got dict"),
        ("pull_with_labeller(labeller='GFN2', structure=atoms, pull=pull, folder='f')",
         "pull_with_labeller: labeller: expected alrare's Labeller, got str"),
    ],
)  # fmt: skip
def test_arguments_of_another_type_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    function, _, arguments = call.partition("(")
    given = {"atoms": Atoms("CH4"), "pull": Pull(atoms=(1, 2))}
    with pytest.raises(alrare.AlrareError, match=message):
        eval(f"function({arguments}", {"function": getattr(alrare, function)} | given)
    assert not list(tmp_path.iterdir())
