"""The style of figures. Matplotlib keeps it for the whole process: one thread draws at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.RLock()


@contextmanager
def figure_style(style: dict[Any, Any]) -> Iterator[None]:
    """Draw with these settings of Matplotlib (`matplotlib.rcParams`), alone."""
    import matplotlib  # takes a second

    with _lock, matplotlib.rc_context(style):
        yield
