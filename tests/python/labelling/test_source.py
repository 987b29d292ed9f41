"""The code and the files behind a user's calculator are part of its method."""

import json
import sys
from pathlib import Path

import pytest
from alrare.config import Labeller
from alrare.labelling.method import method_of
from alrare.labelling.source import code_version, with_file_hashes


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write modules into a folder on the import path."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    return write


def test_an_edited_module_is_another_method_and_an_import_runs_nothing(module):
    module("mine.py", "raise SystemExit\nclass Calc: pass\n")
    labeller = Labeller(program="ase", calculator="mine.Calc")
    first = method_of(labeller, ["H"]).hash
    assert method_of(labeller, ["H"]).hash == first
    module("mine.py", "raise SystemExit\nclass Calc: shift = 1.0\n")
    assert method_of(labeller, ["H"]).hash != first
    assert "mine" not in sys.modules


def test_a_module_that_it_imports_counts_too(module):
    module("mine.py", "import numpy\ndef calc():\n    from helper import x\n")
    module("helper.py", "import deeper\nx = 1\n")
    module("deeper.py", "y = 1\n")
    versions = {code_version("mine.calc")}
    module("helper.py", "import deeper\nx = 2\n")
    versions.add(code_version("mine.calc"))
    module("deeper.py", "y = 2\n")
    versions.add(code_version("mine.calc"))
    assert len(versions) == 3


def test_every_module_of_a_package_counts(module):
    module("mine/__init__.py", "")
    module("mine/calc.py", "from .parts import x\n")
    module("mine/parts.py", "x = 1\n")
    first = code_version("mine.calc.Calc")
    module("mine/parts.py", "x = 2\n")
    assert code_version("mine.calc.Calc") != first


@pytest.mark.parametrize("name", ["__version__", "version"])
def test_a_declared_version_stands_for_the_source(module, name):
    module("mine.py", f"{name} = '2.1'\nclass Calc: pass\n")
    assert code_version("mine.Calc") == "2.1"


def test_an_installed_package_is_known_by_its_release():
    import ase

    assert code_version("ase.calculators.emt.EMT") == ase.__version__


def test_a_file_on_the_path_with_the_name_of_a_package_is_not_that_package(module):
    module("pydantic.py", "class Calc: pass\n")
    # find_spec answers for what is imported already; the module is another one in the worker.
    loaded = sys.modules.pop("pydantic")
    try:
        assert code_version("pydantic.Calc").startswith("source ")
    finally:
        sys.modules["pydantic"] = loaded


@pytest.mark.parametrize("path", ["no_such_module.Calc", "Calc"])
def test_no_module_has_no_version(path):
    assert code_version(path) == "unknown"


def test_a_module_that_python_cannot_read_has_a_version_all_the_same(module):
    module("mine.py", "def (:\n")
    assert code_version("mine.Calc").startswith("source ")


def test_settings_read_from_a_file_decide_and_its_place_does_not(tmp_path):
    hashes = []
    for folder, text in (("a", "cutoff = 1"), ("b", "cutoff = 1"), ("b", "cutoff = 2")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "settings.toml").write_text(text)
        arguments = {"nested": {"settings": [f"{tmp_path}/{folder}/settings.toml"]}}
        labeller = Labeller(program="ase", calculator="a.B", arguments=arguments)
        hashes.append(method_of(labeller, ["H"]).hash)
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_file_that_the_calculator_writes_is_no_setting(tmp_path):
    log = tmp_path / "log"
    log.touch()
    arguments = {"logfile": str(log), "txt": str(log), "missing": f"{tmp_path}/x", "number": 1}
    assert with_file_hashes(arguments) == arguments


def test_files_named_in_lines_of_the_dftb_input_decide(tmp_path, monkeypatch):
    monkeypatch.setattr("alrare.labelling.method.program_version", lambda: "25.1")
    monkeypatch.setattr("alrare.labelling.method.parameter_hashes", lambda *_: {})
    parameters = tmp_path / "d3.dat"
    hashes = set()
    for text in ("1", "2"):
        parameters.write_text(text)
        lines = f'Dispersion = Table {{ "{parameters}" }}'
        labeller = Labeller(program="dftb+", slater_koster=Path("/skf"), hamiltonian=lines)
        method = method_of(labeller, ["H"])
        assert json.loads(json.dumps(method.description))["files"][0]["file"] == "d3.dat"
        hashes.add(method.hash)
    assert len(hashes) == 2
