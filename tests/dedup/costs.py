"""What event ids cost, without a broker around them: `python -m tests.dedup.costs [--plain]`.

CPU time of one process, events of 100 B in batches of 64, ids of 32 bytes, a million of them held.
`--plain` does without compiled code. The figures stand in docs/dedup.md.
"""

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable
from random import Random

PLAIN = "--plain" in sys.argv[1:]
if PLAIN:
    sys.modules["trimaran.dedup._native"] = None  # type: ignore[assignment]

from trimaran.dedup.id_judging import AllDuplicates, Store, judge_batch  # noqa: E402
from trimaran.dedup.id_pieces import decode_piece  # noqa: E402
from trimaran.dedup.id_window import EventIdWindow  # noqa: E402
from trimaran.ids import Index, Offset  # noqa: E402
from trimaran.records.batch import parse_header, validate  # noqa: E402
from trimaran.records.building import build_batch  # noqa: E402
from trimaran.records.iteration import Record  # noqa: E402

EVENTS = 64
HELD = 1_000_000
BATCHES = 4_000
"""Measured, on top of those that are held."""
HEADER = b"event-id"
NOW_MS = 1_000


def batch_of(number: int, chance: Random) -> bytes:
    return bytes(
        build_batch(
            [
                Record(
                    chance.randbytes(100),
                    headers=((HEADER, b"%032d" % (EVENTS * number + at)),),
                    timestamp_ms=NOW_MS + at,
                )
                for at in range(EVENTS)
            ]
        )
    )


def filled() -> tuple[EventIdWindow, int]:
    """Return a window of a million ids, and the index of its last entry."""
    window = EventIdWindow()
    window.change(
        index=Index(1), log_time_ms=0, next_offset=Offset(0), window_ms=10**9, ids_max=HELD
    )
    chance = Random(1)
    index = 1
    for _ in range(HELD // EVENTS):
        fold(window, index := index + 1, b"\1" + chance.randbytes(16 * EVENTS))
    return window, index


def fold(window: EventIdWindow, index: int, packed: bytes) -> None:
    window.fold(
        index=Index(index), log_time_ms=NOW_MS, offset=Offset(EVENTS * index), packed=packed
    )


def each_us(work: Callable[[], None], events: int = EVENTS * BATCHES) -> float:
    gc.collect()
    gc.disable()
    begin = time.process_time()
    work()
    took = time.process_time() - begin
    gc.enable()
    return took / events * 1e6


class Longest:
    """The longest of many steps, in milliseconds of CPU."""

    def __init__(self) -> None:
        self.ms = 0.0

    def step(self, work: Callable[[], object]) -> None:
        begin = time.thread_time()
        work()
        self.ms = max(self.ms, 1000 * (time.thread_time() - begin))


def main() -> None:
    chance = Random(2)
    batches = [batch_of(number, chance) for number in range(BATCHES)]
    parsed = [parse_header(batch) for batch in batches]

    tracemalloc.start()
    window, index = filled()
    memory = tracemalloc.get_traced_memory()[0] / HELD
    tracemalloc.stop()
    pieces = flush_all(window, index)
    print(f"compiled: {'no' if PLAIN else 'yes'}")
    print(f"memory: {memory:.1f} bytes an id")

    checked = each_us(lambda: [validate(batch, max_bytes=1 << 20) for batch in batches] and None)
    packs: list[bytes] = []

    def judge_new() -> None:
        for batch, header in zip(batches, parsed, strict=True):
            judged = judge_batch(batch, header, window, header=HEADER, log_time_ms=NOW_MS)
            assert isinstance(judged, Store)
            packs.append(judged.event_ids)

    def fold_new() -> None:
        for at, packed in enumerate(packs):
            fold(window, index + 1 + at, packed)

    def fold_and_forget() -> None:
        for at, packed in enumerate(packs):
            fold(window, index + 1 + BATCHES + at, packed)

    def judge_known() -> None:
        for batch, header in zip(batches, parsed, strict=True):
            judged = judge_batch(batch, header, window, header=HEADER, log_time_ms=NOW_MS)
            assert isinstance(judged, AllDuplicates)

    judged = each_us(judge_new)
    folded = each_us(fold_new)
    print(f"header and checksum, for comparison: {checked:.2f} us an event")
    print(f"leader, new id: {judged + folded:.2f} us an event, {folded:.2f} of it the fold")
    print(f"leader, duplicate: {each_us(judge_known):.2f} us an event")
    flush_all(window, index + BATCHES)
    print(f"follower, as many are forgotten: {each_us(fold_and_forget):.2f} us an event")
    flush_all(window, index + 2 * BATCHES)
    print_steps(window, index + 2 * BATCHES, packs)
    begin = time.process_time()
    EventIdWindow.restore((name, decode_piece(data, source=name)) for name, data in pieces)
    size = sum(len(data) for _, data in pieces)
    print(
        f"reading {HELD:,} ids at start: {time.process_time() - begin:.2f} s"
        f" ({size / HELD:.1f} bytes an id)"
    )


def print_steps(window: EventIdWindow, index: int, packs: list[bytes]) -> None:
    folds, flushes = Longest(), Longest()
    for at, packed in enumerate(packs):
        folds.step(lambda at=at, packed=packed: fold(window, index + 1 + at, packed))
        if at % 100 == 99:
            flushes.step(lambda at=at: written(window, index + 1 + at))
    print(f"longest step: a batch folded {folds.ms:.2f} ms, a state file made {flushes.ms:.2f} ms")


def written(window: EventIdWindow, index: int) -> bytes | None:
    _, content = window.flush(Index(index))
    if content is not None:
        window.written(f"ids-{index}")
    return content


def flush_all(window: EventIdWindow, index: int) -> list[tuple[str, bytes]]:
    """Flush in the steps that a running node takes; return the state files that are left."""
    files: dict[str, bytes] = {}
    for at in range(1, index + 1, 500):
        end = min(at + 499, index)
        names, content = window.flush(Index(end))
        files = {name: files[name] for name in names if name in files}
        if content is not None:
            window.written(f"ids-{end}")
            files[f"ids-{end}"] = content
    return list(files.items())


if __name__ == "__main__":
    main()
