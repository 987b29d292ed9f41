"""`alrare check`: each problem with its cure."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from alrare import __version__
from alrare.cli.check import Finding, as_json, as_text, check_installation, is_broken, plugin_info

HELP = """
Large-scale Atomic/Molecular Massively Parallel Simulator - 22 Jul 2025 - Update 4
Git info (HEAD / stable_22Jul2025_update4)
MPI v5.0: MPICH Version:      5.0.2
-DLAMMPS_SMALLBIG
"""
GOOD = (
    "   1: pair style plugin nnp_ensemble\n   2: pair style plugin labeller\n"
    "   3: fix style plugin al_select\n"
    "   4: compute style plugin colvar\n"
)


def _plugin(folder: Path, **changes: str) -> Path:
    info = {"alrare": __version__, "lammps": "22 Jul 2025", "lammps_sizes": "SMALLBIG"} | changes
    content = b"\x7fELF\x00\x01" + json.dumps(info).encode() + b"\x00rest"
    (folder / "alrareplugin.so").write_bytes(content)
    return folder


def _lmp(folder: Path, answer: str, *, with_path: str = "", help_text: str = HELP) -> str:
    program = folder / "lmp"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        f"if '-h' in sys.argv: print({help_text!r})\n"
        f"elif 'LAMMPS_PLUGIN_PATH' in os.environ: print({with_path or answer!r})\n"
        f"else: print({answer!r})\n"
    )
    program.chmod(0o755)
    return str(program)


@pytest.fixture(autouse=True)
def _no_plugin_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMMPS_PLUGIN_PATH", raising=False)


def _finding(folder: Path, name: str, lmp: str, labeller: str = "tblite") -> Finding:
    findings = check_installation(lmp=lmp, labeller=labeller, plugin_folder=folder)
    return next(finding for finding in findings if finding.name == name)


def test_a_plugin_that_lammps_knows_is_fine(tmp_path: Path) -> None:
    lmp = _lmp(_plugin(tmp_path), GOOD)
    assert _finding(tmp_path, "styles", lmp).cure == ""
    lammps = _finding(tmp_path, "LAMMPS", lmp)
    assert lammps.cure == "" and "22 Jul 2025 - Update 4, SMALLBIG, MPICH 5.0.2" in lammps.found
    assert "built for LAMMPS 22 Jul 2025 SMALLBIG" in _finding(tmp_path, "plugin", lmp).found


def test_a_missing_lmp_says_how_to_get_one(tmp_path: Path) -> None:
    finding = _finding(tmp_path, "LAMMPS", "/nowhere/lmp")
    assert "'/nowhere/lmp' not found" in finding.found and "[run]" in finding.cure
    assert finding.essential


def test_a_plugin_that_does_not_open_shows_the_loaders_own_message(tmp_path: Path) -> None:
    answer = "Open of file alrareplugin.so failed: libmpi.so.12: cannot open shared object file"
    finding = _finding(tmp_path, "styles", _lmp(_plugin(tmp_path), answer))
    assert "libmpi.so.12: cannot open" in finding.found and "pip install ." in finding.cure


def test_a_lammps_that_does_not_look_for_the_plugin_is_told_where_it_is(tmp_path: Path) -> None:
    lmp = _lmp(_plugin(tmp_path), "Currently loaded plugins: 0", with_path=GOOD)
    finding = _finding(tmp_path, "styles", lmp)
    assert finding.cure == f"tell it where: `export LAMMPS_PLUGIN_PATH={tmp_path}`"


def test_a_lammps_without_its_plugin_package_is_told_so(tmp_path: Path) -> None:
    lmp = _lmp(_plugin(tmp_path), "ERROR: Unknown command: plugin list")
    assert "PKG_PLUGIN=yes" in _finding(tmp_path, "styles", lmp).cure


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lammps": "2 Aug 2023"}, "the plugin was built for LAMMPS 2 Aug 2023"),
        ({"lammps_update": "Update 2"}, "the plugin was built for LAMMPS 22 Jul 2025 - Update 2"),
        ({"lammps_update": ""}, "the plugin was built for LAMMPS 22 Jul 2025"),
        (
            {"lammps_update": "Update 4", "lammps_git": "stable_22Jul2025_update4-3-gab12"},
            "the plugin was built for the source stable_22Jul2025_update4-3-gab12, not stable",
        ),
        ({"lammps_sizes": "BIGBIG"}, "the plugin was built for LAMMPS_BIGBIG"),
    ],
)
def test_a_plugin_for_another_lammps_is_noticed(
    tmp_path: Path, changes: dict[str, str], told: str
) -> None:
    finding = _finding(tmp_path, "LAMMPS", _lmp(_plugin(tmp_path, **changes), GOOD))
    assert told in finding.found and "LAMMPS_SOURCE_DIR" in finding.cure


def test_a_plugin_for_the_very_update_and_source_is_fine(tmp_path: Path) -> None:
    known = {"lammps_update": "Update 4", "lammps_git": "stable_22Jul2025_update4"}
    for changes in (known, {**known, "lammps_git": ""}):
        finding = _finding(tmp_path, "LAMMPS", _lmp(_plugin(tmp_path, **changes), GOOD))
        assert finding.cure == ""


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (
            "WARNING: pair_style nnp_ensemble, pair_style labeller, fix al_select and compute"
            " colvar are not available: alrare's plugin was built for LAMMPS A (SMALLBIG) and this"
            " is LAMMPS B; run the LAMMPS it was",
            "alrare's plugin was built for LAMMPS A (SMALLBIG) and this is LAMMPS B",
        ),
        (
            "Open of file alrareplugin.so failed: undefined symbol: _ZN9LAMMPS_NS5Error4_allE",
            "Open of file alrareplugin.so failed: undefined symbol: _ZN9LAMMPS_NS5Error4_allE",
        ),
    ],
)
def test_a_plugin_that_another_lammps_refuses_is_not_cured_by_the_same_build(
    tmp_path: Path, answer: str, found: str
) -> None:
    lmp = _lmp(_plugin(tmp_path), "Currently loaded plugins: 0", with_path=answer)
    finding = _finding(tmp_path, "styles", lmp)
    assert finding.found == found
    assert "LAMMPS_SOURCE_DIR" in finding.cure and "pip install ." not in finding.cure


def test_a_plugin_of_another_torch_or_alrare_is_noticed(tmp_path: Path) -> None:
    lmp = _lmp(_plugin(tmp_path, torch="1.0.0+cpu", alrare="0.0.1"), GOOD)
    torch = _finding(tmp_path, "torch", lmp)
    assert "the TorchScript engine was built for 1.0.0" in torch.found
    assert "torch==1.0.0" in torch.cure and "--no-build-isolation" in torch.cure
    assert "of alrare 0.0.1" in _finding(tmp_path, "plugin", lmp).found


def test_an_engine_of_its_own_fits_a_torch_that_the_build_does_not(tmp_path: Path) -> None:
    release = ".".join(version("torch").split(".")[:2])
    engine = tmp_path / f"libalrare_torch-{release}.so"
    engine.write_text("junk")
    lmp = _lmp(_plugin(tmp_path, torch="1.0.0+cpu"), GOOD)
    assert _finding(tmp_path, "torch", lmp).cure == ""
    assert engine.name in _finding(tmp_path, "backend", lmp).found


def test_a_patch_release_of_torch_is_no_other_torch(tmp_path: Path) -> None:
    release = ".".join(version("torch").split(".")[:2])
    lmp = _lmp(_plugin(tmp_path, torch=f"{release}.99"), GOOD)
    assert _finding(tmp_path, "torch", lmp).cure == ""


def test_a_missing_plugin_or_backend_is_named(tmp_path: Path) -> None:
    lmp = _lmp(tmp_path, "Currently loaded plugins: 0")
    assert "alrareplugin.so: no such file" in _finding(tmp_path, "plugin", lmp).found
    assert "libalrare_torch.so: no such file" in _finding(tmp_path, "backend", lmp).found


def test_a_backend_that_does_not_open_shows_the_loaders_own_message(tmp_path: Path) -> None:
    (tmp_path / "libalrare_torch.so").write_text("junk")
    finding = _finding(tmp_path, "backend", _lmp(tmp_path, GOOD))
    assert "does not open" in finding.found and "file too short" in finding.found


def test_only_the_labeller_in_use_is_essential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    lmp = _lmp(tmp_path, GOOD)
    assert not _finding(tmp_path, "dftb+", lmp).essential
    needed = _finding(tmp_path, "dftb+", lmp, labeller="dftb+")
    assert needed.essential and "no such program on PATH" in needed.cure


def test_a_labeller_that_does_not_start_is_no_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dftb+").write_text("#!/bin/sh\necho 'libx.so: no such file' >&2\nexit 127\n")
    (tmp_path / "dftb+").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    finding = _finding(tmp_path, "dftb+", _lmp(tmp_path, GOOD))
    assert finding.found == "does not start" and "libx.so: no such file" in finding.cure


@pytest.mark.slow
def test_the_ase_calculator_in_use_is_tried(tmp_path: Path) -> None:
    lmp = _lmp(tmp_path, GOOD)
    for path, found in (
        ("ase.calculators.emt.EMT", "ase.calculators.emt.EMT (labeller)"),
        ("ase.calculators.emt.Emt", "cannot be imported: AttributeError: module"),
        ("no_such.Thing", "cannot be imported: ModuleNotFoundError: No module named 'no_such'"),
    ):
        *_, last = check_installation(lmp=lmp, calculator=path, plugin_folder=tmp_path)
        assert last.name == "ase" and found in last.found
        assert bool(last.cure) == ("cannot" in found)


def test_what_a_plugin_was_built_for_is_read_without_opening_it(tmp_path: Path) -> None:
    assert plugin_info(_plugin(tmp_path) / "alrareplugin.so")["lammps"] == "22 Jul 2025"
    (tmp_path / "alrareplugin.so").write_bytes(b'\x7fELF{"alrare": "unfinished')
    assert plugin_info(tmp_path / "alrareplugin.so") == {}
    assert plugin_info(tmp_path / "missing.so") == {}


def test_findings_are_text_for_a_person_and_json_for_a_program() -> None:
    findings = [
        Finding("LAMMPS", "22 Jul 2025"),
        Finding("dftb+", "not found", "install it", essential=False),
    ]
    assert not is_broken(findings)
    text = as_text(findings)
    assert "missing dftb+     not found\n" in text and "-> install it" in text
    assert text.endswith("Ready.")
    assert json.loads(as_json(findings))["ready"] is True
    broken = [*findings, Finding("plugin", "no such file", "install it")]
    assert is_broken(broken) and as_text(broken).endswith("Something essential is broken.")
    assert json.loads(as_json(broken))["findings"][2]["cure"] == "install it"
