"""Progress display of long work: stage, steps done, time left.

One protocol has four implementations: live bars on a terminal, plain lines for a pipe, the same
lines appended to the log.txt of a run, and none. This module imports rich only when the first bar
is drawn.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from .errors import disk_error

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichBars
    from rich.progress import TaskID


class Stage(Protocol):
    """A piece of work that is running. Its methods may be called from several threads."""

    def advance(self, n: int = 1) -> None:
        """Count `n` more steps as done."""

    def update(self, done: int, note: str = "") -> None:
        """Set the number of steps done; `note` is a short text such as the current loss."""


class Progress(Protocol):
    """Receives the progress of stages and messages for the user.

    Examples
    --------
    >>> with SilentProgress().stage("labels", total=150) as stage:
    ...     stage.advance()
    """

    def stage(self, name: str, total: int | None) -> AbstractContextManager[Stage]:
        """Open a stage of `total` steps (None: unknown); it ends with the block."""

    def message(self, text: str) -> None:
        """Show a text of one or more lines permanently."""


class _Uncounted:
    def advance(self, n: int = 1) -> None:
        """Ignore."""

    def update(self, done: int, note: str = "") -> None:
        """Ignore."""


class SilentProgress:
    """Show nothing."""

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Stage]:
        """Open a stage that is not shown."""
        yield _Uncounted()

    def message(self, text: str) -> None:
        """Drop the text."""


class LineProgress:
    """One line of text when a stage starts, every `interval` seconds, and when it ends.

    Parameters
    ----------
    stream : text stream
        A pipe, a file, or standard output without a terminal.
    interval : float, s
        Shortest time between two lines of one stage.
    clock : callable
        Monotonic seconds; tests pass their own.
    """

    def __init__(
        self, stream: TextIO, *, interval: float = 15.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._interval = interval
        self._clock = clock
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Stage]:
        """Open a stage that reports in lines."""
        begin = self._clock()
        self.message(f"{name}: started" + (f", {total} steps" if total else ""))
        stage = _LineStage(self.message, name, total, self._interval, self._clock)
        try:
            yield stage
        except BaseException:
            self.message(f"{name}: stopped after {duration(self._clock() - begin)}")
            raise
        self.message(f"{name}: done in {duration(self._clock() - begin)}")

    def message(self, text: str) -> None:
        """Write date and text; a text of several lines begins on a new line."""
        separator = "\n" if "\n" in text else " "
        with self._lock:
            try:
                self._stream.write(time.strftime("%Y-%m-%d %H:%M:%S") + separator + text + "\n")
                self._stream.flush()
            except BrokenPipeError:
                raise
            except OSError as error:
                name = getattr(self._stream, "name", "output")
                raise disk_error(name, error) from error


class _LineStage:
    def __init__(
        self,
        show: Callable[[str], None],
        name: str,
        total: int | None,
        interval: float,
        clock: Callable[[], float],
    ) -> None:
        self._show = show
        self._name = name
        self._total = total
        self._interval = interval
        self._clock = clock
        self._lock = threading.Lock()
        self._done = 0
        self._begin = self._last = clock()

    def advance(self, n: int = 1) -> None:
        with self._lock:
            self._done += n
            line = self._line("")
        if line:
            self._show(line)

    def update(self, done: int, note: str = "") -> None:
        with self._lock:
            self._done = done
            line = self._line(note)
        if line:
            self._show(line)

    def _line(self, note: str) -> str:
        now = self._clock()
        if now - self._last < self._interval:
            return ""
        self._last = now
        parts = [f"{self._name}: {self._done}"]
        if self._total:
            parts[0] += f" of {self._total} ({100 * self._done // self._total} %)"
            if 0 < self._done < self._total:
                left = (now - self._begin) * (self._total - self._done) / self._done
                parts.append(f"{duration(left)} left")
        return ", ".join([*parts, note] if note else parts)


class TerminalProgress:
    """A live bar for each open stage, on a terminal.

    Parameters
    ----------
    console : rich.console.Console, optional
        Standard error by default, so that standard output stays clean for results.
    """

    def __init__(self, console: "Console | None" = None) -> None:
        self._console = console
        self._bars: RichBars | None = None
        self._open = 0
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Stage]:
        """Open a stage with a bar; when it ends, one line with its duration stays."""
        begin = time.monotonic()
        with self._lock:
            if self._bars is None:
                self._bars = _rich_bars(self._printer())
            if self._open == 0:
                self._bars.start()
            self._open += 1
            bars = self._bars
        task = bars.add_task(name, total=total, note="")
        ended = "stopped after"
        try:
            yield _TerminalStage(bars, task)
            ended = "done in"
        finally:
            bars.remove_task(task)
            self.message(f"{name}: {ended} {duration(time.monotonic() - begin)}")
            with self._lock:
                self._open -= 1
                if self._open == 0:
                    bars.stop()

    def message(self, text: str) -> None:
        """Print the text above the bars."""
        self._printer().print(text, markup=False, highlight=False, soft_wrap=True)

    def _printer(self) -> "Console":
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True)
        return self._console


class _TerminalStage:
    def __init__(self, bars: "RichBars", task: "TaskID") -> None:
        self._bars = bars
        self._task = task

    def advance(self, n: int = 1) -> None:
        self._bars.advance(self._task, n)

    def update(self, done: int, note: str = "") -> None:
        self._bars.update(self._task, completed=done, note=note)


def _rich_bars(console: "Console") -> "RichBars":
    from rich import progress

    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[note]}", markup=False),
        console=console,
        transient=True,
    )


class Tee:
    """Report to several places at once.

    Parameters
    ----------
    *targets : Progress
        Each gets every stage and message.
    """

    def __init__(self, *targets: Progress) -> None:
        self._targets = targets

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Stage]:
        """Open the stage everywhere."""
        with ExitStack() as stack:
            stages = [stack.enter_context(target.stage(name, total)) for target in self._targets]
            yield _TeeStage(stages)

    def message(self, text: str) -> None:
        """Show the text everywhere."""
        for target in self._targets:
            target.message(text)


class _TeeStage:
    def __init__(self, stages: list[Stage]) -> None:
        self._stages = stages

    def advance(self, n: int = 1) -> None:
        for stage in self._stages:
            stage.advance(n)

    def update(self, done: int, note: str = "") -> None:
        for stage in self._stages:
            stage.update(done, note)


@contextmanager
def with_log(progress: Progress, path: Path) -> Iterator[Progress]:
    """Yield a progress that also appends its lines to the log file `path`.

    Raises
    ------
    AlrareError
        If the file cannot be opened or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a", encoding="utf-8")
    except OSError as error:
        raise disk_error(path, error) from error
    with stream:
        yield Tee(progress, LineProgress(stream))


def open_progress(*, quiet: bool = False) -> Progress:
    """Choose how to show progress: bars on a terminal, lines elsewhere, nothing when `quiet`.

    Bars and lines go to standard error.
    """
    if quiet:
        return SilentProgress()
    return TerminalProgress() if sys.stderr.isatty() else LineProgress(sys.stderr)


def duration(seconds: float) -> str:
    """Write a time in seconds as ``8 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
