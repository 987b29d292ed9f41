"""Work that is done beside the main thread, which goes on."""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

_NICE = 10
"""How far behind other processes the work stands: it takes what they leave of the cores."""


_left: list[threading.Thread] = []
"""What nobody waited for."""


def end_process(status: int) -> int:
    """Return the exit status, or end the process with it while a thread is left behind.

    A thread that comes back from C++ to an interpreter which is being taken down aborts the
    process.
    """
    if any(thread.is_alive() for thread in _left):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


class Background:
    """Does one thing at a time beside the main thread, in order; use it in a `with` block.

    Leaving the block waits for it. Where the block is left by an exception (Ctrl-C too) nobody
    waits: what was begun goes on until the process ends, so it must write its files whole or not
    at all.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> "Background":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None:
            self.wait()
        elif self._thread is not None:
            _left.append(self._thread)

    def start(self, action: Callable[[], None]) -> None:
        """Wait for what is being done, then begin with `action`.

        Raises
        ------
        BaseException
            What the action before has raised.
        """
        self.wait()
        self._thread = threading.Thread(target=self._do, args=(action,), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until nothing is being done; raise what the last action has raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _do(self, action: Callable[[], None]) -> None:
        with suppress(OSError):  # of Linux threads; elsewhere of the process, which is no harm
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            action()
        except BaseException as error:  # raised by whoever waits
            self._error = error
