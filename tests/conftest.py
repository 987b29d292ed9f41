"""What all tests share."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def heed_ctrl_c() -> Iterator[None]:
    """Let the programs that tests start heed Ctrl-C, as at a terminal.

    A shell starts its background jobs with SIGINT ignored, and whatever they start inherits that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
