"""Progress: what is shown, how often, and what it costs."""

import io
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alrare.errors import AlrareError
from alrare.progress import LineProgress, SilentProgress, Tee, TerminalProgress, duration, with_log


def test_lines_come_at_the_interval_and_tell_the_time_left() -> None:
    now = 0.0
    out = io.StringIO()
    progress = LineProgress(out, interval=10.0, clock=lambda: now)
    with progress.stage("train", total=100) as stage:
        for _ in range(50):
            now += 1.0
            stage.advance()
    lines = [line.split(" ", 2)[2] for line in out.getvalue().splitlines()]
    assert lines[0] == "train: started, 100 steps"
    assert lines[1] == "train: 10 of 100 (10 %), 1 min 30 s left"
    assert len(lines) == 1 + 5 + 1
    assert lines[-1] == "train: done in 50 s"


def test_a_note_and_an_unknown_total_are_shown() -> None:
    now = 0.0
    out = io.StringIO()
    with LineProgress(out, interval=0.0, clock=lambda: now).stage("pull", total=None) as stage:
        stage.update(7, note="energy_std 12.0 meV")
    assert "pull: 7, energy_std 12.0 meV" in out.getvalue()


def test_a_stage_that_fails_is_not_called_done() -> None:
    out = io.StringIO()
    with pytest.raises(ZeroDivisionError), LineProgress(out).stage("label", total=2):
        raise ZeroDivisionError
    assert "label: stopped after 0 s" in out.getvalue()
    assert "done" not in out.getvalue()


def test_threads_do_not_lose_steps() -> None:
    out = io.StringIO()
    with LineProgress(out, interval=0.0).stage("pulls", total=4000) as stage:
        threads = [
            threading.Thread(target=lambda: [stage.advance() for _ in range(1000)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert "pulls: 4000 of 4000 (100 %)" in out.getvalue()


def test_the_log_of_a_run_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "run" / "log.txt"
    for word in ("first", "second"):
        with with_log(SilentProgress(), path) as progress, progress.stage(word, total=1):
            progress.message("a\nb")
    text = path.read_text()
    assert "first: started" in text and "second: done" in text
    assert "\na\nb\n" in text


def test_a_log_that_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(AlrareError, match=r"log\.txt: could not be written .*run the same command"),
        with_log(SilentProgress(), tmp_path / "file" / "log.txt"),
    ):
        pass


def test_the_terminal_keeps_one_line_of_each_finished_stage() -> None:
    from rich.console import Console

    out = io.StringIO()
    progress = TerminalProgress(Console(file=out, force_terminal=True, width=80))
    with progress.stage("label [iter 1]", total=3) as stage:
        stage.update(3, note="[/odd]")
        with progress.stage("inner", total=None) as inner:
            inner.advance()
    assert "label [iter 1]: done in 0 s" in out.getvalue()
    assert "inner: done in 0 s" in out.getvalue()


def test_tee_reports_everywhere() -> None:
    outs = [io.StringIO(), io.StringIO()]
    tee = Tee(*(LineProgress(out, interval=0.0) for out in outs))
    with tee.stage("x", total=2) as stage:
        stage.update(1)
        stage.advance()
    for out in outs:
        assert "x: 2 of 2" in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.2, "8 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (3599.7, "1 h 00 min")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_importing_progress_imports_neither_rich_nor_torch_nor_numpy() -> None:
    code = (
        "import sys, alrare.progress; "
        "sys.exit(any(name in sys.modules for name in ('rich', 'torch', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
