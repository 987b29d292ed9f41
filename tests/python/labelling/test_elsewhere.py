"""Labels by workers elsewhere, here the threads of a stand-in for them."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alrare.config import Labeller
from alrare.errors import AlrareError, ProcessLostError
from alrare.labelling import elsewhere
from alrare.labelling.batch import label
from alrare.labelling.elsewhere import FINISHED, Batch, Item, label_batch, take_over
from alrare.labelling.failures import LabelFailure
from alrare.labelling.store import STORE_FILE, LabelStore
from alrare.labelling.worker import Label
from ase import Atoms


class Threads:
    """An executor whose workers are threads of this process; `before` may end a task."""

    def __init__(self, before: Callable[[Batch], None] = lambda batch: None) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._before = before
        self.sizes: list[int] = []

    def size(self, kind: str) -> int:
        return 2

    def is_here(self, kind: str) -> bool:
        return False

    def submit(self, kind: str, function: Callable[..., Any], *args: Any) -> Future[Any]:
        assert kind == "label"
        self.sizes.append(len(args[0].items))

        def task() -> Any:
            self._before(args[0])
            return function(*args)

        return self._pool.submit(task)


@pytest.fixture(autouse=True)
def no_worker_left() -> Iterator[None]:
    yield
    for worker in elsewhere._own.values():
        worker.end()
    elsewhere._own.clear()


def fake(name: str, log: Path, timeout: float = 20.0) -> Labeller:
    return Labeller(
        program="ase", calculator=name, arguments={"log": str(log)}, timeout=timeout, max_failed=1.0
    )


def frames(*where: float) -> list[Atoms]:
    return [Atoms("CH", [[x, 0, 0], [x + 1.1, 0, 0]]) for x in where]


def calls(log: Path) -> list[float]:
    return [float(line.split()[0]) for line in log.read_text().splitlines()]


def test_labels_elsewhere_are_those_of_here(tmp_path: Path, fake_labeller: str) -> None:
    where = np.linspace(1.0, 9.0, 30)
    stores = []
    for name, workers in (("here", 2), ("there", Threads())):
        folder = tmp_path / name
        labeller = fake(fake_labeller, tmp_path / "log")
        done = label(frames(*where), labeller=labeller, folder=folder, workers=workers)
        assert done.computed == 30
        with LabelStore(folder / STORE_FILE) as store:
            kept = store.frames(done.keys)
        stores.append([(one.get_potential_energy(), one.get_forces()) for one in kept])
    for (energy, forces), (other, others) in zip(*stores, strict=True):
        assert energy == other
        np.testing.assert_array_equal(forces, others)
    assert not list((tmp_path / "there" / FINISHED).glob("*"))


def test_tasks_grow_with_the_speed_of_labels(tmp_path: Path, fake_labeller: str) -> None:
    there = Threads()
    label(
        frames(*np.linspace(1.0, 9.0, 60)), labeller=fake(fake_labeller, tmp_path / "log"),
        folder=tmp_path, workers=there,
    )  # fmt: skip
    assert there.sizes[:4] == [1] * 4
    assert max(there.sizes) > 5
    assert there.sizes[-1] < max(there.sizes)


def test_failures_are_of_their_own_frames(tmp_path: Path, fake_labeller: str) -> None:
    log = tmp_path / "log"
    done = label(
        frames(1.0, 70.5, 2.0, 80.5, 60.5), labeller=fake(fake_labeller, log), folder=tmp_path,
        workers=Threads(),
    )  # fmt: skip
    assert len(done.keys) == 2
    assert sorted(one.kind for one in done.failed) == ["crashed", "crashed", "not_converged"]
    assert sum(80 < x < 81 for x in calls(log)) == 4
    assert len(list((tmp_path / "failed").iterdir())) == 3


def test_a_label_whose_worker_is_lost_each_time_fails_alone(
    tmp_path: Path, fake_labeller: str
) -> None:
    def lose(batch: Batch) -> None:
        if any(30 < item.frame.positions[0, 0] < 31 for item in batch.items):
            raise ProcessLostError("4 workers were lost")

    done = label(
        frames(*np.linspace(1.0, 9.0, 20), 30.5, *np.linspace(10.0, 19.0, 20)),
        labeller=fake(fake_labeller, tmp_path / "log"), folder=tmp_path, workers=Threads(lose),
    )  # fmt: skip
    assert len(done.keys) == 40
    (failed,) = done.failed
    assert failed.kind == "crashed" and "4 workers were lost" in failed.reason


def test_an_executor_that_fails_ends_the_batch(tmp_path: Path, fake_labeller: str) -> None:
    def refuse(batch: Batch) -> None:
        raise AlrareError("the queue refuses")

    with pytest.raises(AlrareError, match="the queue refuses"):
        label(
            frames(1.0, 2.0, 3.0), labeller=fake(fake_labeller, tmp_path / "log"),
            folder=tmp_path, workers=Threads(refuse),
        )  # fmt: skip


def test_a_repeated_task_goes_on_where_it_was(tmp_path: Path, fake_labeller: str) -> None:
    log = tmp_path / "log"
    items = tuple(Item(frame, f"key{n}", None) for n, frame in enumerate(frames(1.0, 2.0, 3.0)))
    batch = Batch(fake(fake_labeller, log), tmp_path, "task", items)
    first = label_batch(Batch(batch.labeller, tmp_path, "task", items[:2]))
    path = tmp_path / FINISHED / "task.jsonl"
    path.write_text(path.read_text() + '["key2", {"energy": 1.0, "for')  # killed while it wrote
    again = label_batch(batch)
    assert calls(log) == [1.0, 2.0, 3.0]
    for one, other in zip(first, again, strict=False):
        assert isinstance(one, Label) and isinstance(other, Label)
        assert one.energy == other.energy
        np.testing.assert_array_equal(one.forces, other.forces)
    kept = take_over(tmp_path, {f"key{n}": item.frame for n, item in enumerate(items)})
    assert sorted(kept) == ["key0", "key1", "key2"]


def test_finished_labels_of_a_driver_that_ended_are_taken_over(
    tmp_path: Path, fake_labeller: str
) -> None:
    log, began = tmp_path / "log", threading.Event()
    labeller, all_frames = fake(fake_labeller, log), frames(1.0, 2.0, 3.0)

    class Lost(Threads):
        """Its answers never arrive."""

        def submit(self, kind: str, function: Callable[..., Any], *args: Any) -> Future[Any]:
            super().submit(kind, function, *args).result()
            began.set()
            future: Future[Any] = Future()
            future.set_exception(KeyboardInterrupt())
            return future

    with pytest.raises(KeyboardInterrupt):
        label(all_frames, labeller=labeller, folder=tmp_path, workers=Lost())
    computed = calls(log)
    assert began.is_set() and computed
    done = label(all_frames, labeller=labeller, folder=tmp_path, workers=Threads())
    assert len(done.keys) == 3
    assert all(calls(log).count(x) == 1 for x in (1.0, 2.0, 3.0))
    assert not list((tmp_path / FINISHED).glob("*"))


def test_an_answer_is_written_as_it_is(tmp_path: Path) -> None:
    value = Label(-1.0 / 3.0, np.array([[0.1, 1e-300, -2.0 / 7.0]]), 0.5, np.arange(6) / 7.0)
    path = tmp_path / FINISHED / "a.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps(["k", elsewhere._to_json(value)]) + "\n")
    (found,) = take_over(tmp_path, {"k": Atoms("H")}).values()
    assert (found.energy, found.seconds) == (value.energy, value.seconds)
    np.testing.assert_array_equal(found.forces, value.forces)
    np.testing.assert_array_equal(found.stress, value.stress)


def test_failures_can_be_sent(tmp_path: Path) -> None:
    import pickle

    failure = pickle.loads(pickle.dumps(LabelFailure("crashed", "it died")))
    assert (failure.kind, failure.text) == ("crashed", "it died")
