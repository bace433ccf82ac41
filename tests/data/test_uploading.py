"""Batches on their way to a device, on a device made of late copies: nothing is read too early or overwritten too soon."""

from threading import Lock

import numpy as np
import pytest
import torch

from eofuse.data import loading, uploading
from eofuse.data.loading import Loader
from eofuse.data.store.pack import pack_source
from eofuse.data.targets import make_target
from eofuse.devices import on_cpu, send
from fake_source import FakeSource


class LateEvent:
    """What was queued before it is done when someone waits for it, and not earlier."""

    def __init__(self, stream: "LateStream") -> None:
        self.stream, self.queued = stream, len(stream.queue)

    def synchronize(self) -> None:
        self.stream.run(self.queued)


class LateStream:
    """A stream whose copies are done as late as is permitted."""

    def __init__(self, device: torch.device | None = None) -> None:
        self.queue: list = []
        self.done = 0
        self.lock = Lock()
        self.recorded: list[int] = []
        self.awaited: list[LateEvent] = []

    def run(self, until: int) -> None:
        with self.lock:
            for copy in self.queue[self.done : until]:
                copy()
            self.done = max(self.done, until)

    def record_event(self) -> LateEvent:
        return LateEvent(self)

    def wait_event(self, event: LateEvent) -> None:
        self.awaited.append(event)

    def compute(self) -> None:
        for event in self.awaited:
            event.synchronize()

    def __enter__(self) -> "LateStream":
        return self

    def __exit__(self, *error: object) -> None:
        return None


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    source = FakeSource(patches=30, absent={"s1": {0, 7}})
    return pack_source(source, tmp_path_factory.mktemp("uploading") / "fake.store", workers=1)


@pytest.fixture
def computing(monkeypatch) -> LateStream:
    """A device of which copies from page-locked memory are late; gives the stream on which it computes."""
    copying, computing = LateStream(), LateStream()
    locked: list[np.ndarray] = []

    def page_locked(shape, dtype):
        locked.append(np.empty(shape, dtype))
        return locked[-1]

    def copied(values, device):
        moved = torch.full_like(values, 99)
        late = any(np.shares_memory(values.numpy(), each) for each in locked)
        (copying.queue.append if late else (lambda copy: copy()))(lambda: moved.copy_(values))
        return moved

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: copying)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: computing)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: stream.recorded.append(tensor.data_ptr()))
    monkeypatch.setattr(uploading, "page_locked", page_locked)
    monkeypatch.setattr(loading, "send", copied)
    return computing


@pytest.mark.parametrize("behind", [0, 2])
def test_late_copies_bring_the_same_batches(store, computing, behind):
    """The device computes at once, or some steps behind the program."""
    targets = {"label": make_target(store, "label")}
    rows = [np.random.default_rng(step).integers(0, 30, 4) for step in range(7)]
    loader = Loader(store, {"s2": None, "s1": ["VH"]}, targets)
    begun = []
    for chosen, batch in zip(rows, loader.batches(rows, torch.device("cuda", 0)), strict=True):
        assert {each.data_ptr() for each in batch.tensors()} <= set(computing.recorded)
        begun.append((chosen, batch))
        if len(begun) > behind:
            computing.compute()
            for done, found in begun:
                expected = Loader(store, {"s2": None, "s1": ["VH"]}, targets).read(done)
                assert all(map(torch.equal, found.tensors(), expected.tensors()))
            begun.clear()


def test_memory_is_let_go_only_after_the_last_copy(store, computing):
    batches = Loader(store, {"s2": None}).batches([np.arange(4)] * 3, torch.device("cuda", 0))
    first = next(batches)
    batches.close()
    computing.compute()
    assert torch.equal(first.inputs["s2"], torch.from_numpy(store.read("s2", np.arange(4))))
    stream = torch.cuda.Stream(None)
    assert stream.done == len(stream.queue)


def test_a_mask_is_looked_at_where_it_came_from():
    mask = torch.tensor([True, False])
    there = send(mask, torch.device("meta"))
    assert on_cpu(there) is mask
    assert on_cpu({**{"s1": there}}["s1"]) is mask
    assert on_cpu(mask) is mask
