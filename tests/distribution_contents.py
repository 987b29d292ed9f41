"""What the files of a release must hold, and must not: `distribution_contents.py FILE ...`."""

import fnmatch
import sys
import tarfile
import zipfile
from pathlib import Path

UNWANTED = (
    ".ci/*", ".git/*", ".github/*", ".venv/*", "build/*", "dist/*", "runs/*",
    "*/runs/*", "*__pycache__*", "*.o", "*.log",
)  # fmt: skip
OF_SOURCE = (
    "PKG-INFO", "CHANGELOG.md", "CITATION.cff", "CMakeLists.txt", "LICENSE", "Makefile",
    "README.md", "constraints.txt", "pyproject.toml", "cmake/HostLammps.cmake", "docs/install.md",
    "examples/hexane/al.toml", "python/alrare/__init__.py", "src/plugin.cpp",
    "tests/cpp/CMakeLists.txt", "tests/distribution_contents.py",
)  # fmt: skip
OF_WHEEL = (
    "alrare/__init__.py", "alrare/py.typed", "alrare/_core.*.so", "alrare/lib/alrareplugin.so",
    "alrare/lib/libalrare_lammps.so", "alrare/lib/libalrare_torch.so",
    "alrare/campaign/page/template/*", "alrare/campaign/page/libraries/*", "alrare/cli/paper.toml",
    "alrare-*.dist-info/entry_points.txt", "alrare-*.dist-info/licenses/LICENSE",
)  # fmt: skip
WHEEL_FOLDERS = ("alrare/*", "alrare.libs/*", "alrare-*.dist-info/*")


def names_in(file: Path) -> list[str]:
    """Return the names of the files of a wheel or a source distribution, without its top folder."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            return [name for name in wheel.namelist() if not name.endswith("/")]
    with tarfile.open(file) as source:
        return [one.name.partition("/")[2] for one in source.getmembers() if one.isfile()]


def problems_of(file: Path) -> list[str]:
    """Return one sentence for each file that is missing, and for each that must not be there."""
    names = names_in(file)
    wanted = OF_WHEEL if file.suffix == ".whl" else OF_SOURCE
    missing = [one for one in wanted if not fnmatch.filter(names, one)]
    unwanted = [name for name in names if any(fnmatch.fnmatch(name, one) for one in UNWANTED)]
    if file.suffix == ".whl":
        unwanted += [
            name for name in names if not any(fnmatch.fnmatch(name, one) for one in WHEEL_FOLDERS)
        ]
    return [f"{file.name} lacks {one}" for one in missing] + [
        f"{file.name} holds {one}" for one in unwanted
    ]


if __name__ == "__main__":
    found = [problem for name in sys.argv[1:] for problem in problems_of(Path(name))]
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))
