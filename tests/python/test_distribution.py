"""What a release consists of, and that its parts name one version."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import alrare
import distribution_contents
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("CITATION.cff", r"^version: (.+)$"),
        ("CHANGELOG.md", r"^## (\S+)"),  # the newest
        ("recipe/recipe.yaml", r'^  version: "(.+)"$'),
    ],
)
def test_every_file_that_names_the_version_names_this_one(file, pattern):
    found = re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)
    assert found and found.group(1) == alrare.__version__


def test_the_installed_package_has_the_version_of_its_source():
    assert version("alrare") == alrare.__version__


def test_a_source_distribution_holds_the_source_and_no_results(tmp_path):
    """Of a copy with results, an environment and caches in it, as a used checkout has."""
    pytest.importorskip("scikit_build_core")
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns(
        ".git", ".venv", "build", "dist", "runs", "__pycache__", ".*_cache"
    )
    shutil.copytree(ROOT, source, ignore=ignore)
    for name in ("build", "dist", "runs/hexane", "examples/hexane/runs", ".venv/bin"):
        (source / name).mkdir(parents=True)
        (source / name / "result").touch()
    code = "from scikit_build_core.build import build_sdist; build_sdist('dist')"
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=source,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=True,
    )
    (file,) = (source / "dist").glob("*.tar.gz")
    assert file.name == f"alrare-{alrare.__version__}.tar.gz"
    assert distribution_contents.problems_of(file) == []
