"""Ids that come back from their pieces: all at once, in short steps, as if folded one by one."""

from random import Random

import pytest

from trimaran.dedup import id_columns, id_lookup, id_window
from trimaran.dedup.event_ids import HASH_BYTES, pack_ids
from trimaran.dedup.id_lookup import IdLookup
from trimaran.dedup.id_pieces import decode_piece
from trimaran.dedup.id_window import EventIdWindow


@pytest.fixture(autouse=True, params=["compiled", "plain"])
def compiled(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setattr(id_lookup, "COMPILED", None)
    elif id_lookup.COMPILED is None:
        pytest.skip("the compiled lookup was not built here")


def stored(chance, *, flushes, entries, ids):
    """Return a window that was flushed so often, and its pieces: the ids of each entry vary."""
    window, pieces = EventIdWindow(), {}
    window.change(index=1, log_time_ms=0, next_offset=0, window_ms=10**9, ids_max=10**6)
    index, offset = 1, 0
    for _ in range(flushes):
        for _ in range(entries):
            index += 1
            count = chance.randint(1, ids)
            packed = pack_ids(chance.randbytes(HASH_BYTES * count), range(count))
            window.fold(index=index, log_time_ms=index, offset=offset, packed=packed)
            offset += count
        kept, content = window.flush(index)
        window.written(f"ids-{index}")
        pieces = {name: pieces[name] for name in kept} | {f"ids-{index}": content}
    return window, [(name, decode_piece(data, source=name)) for name, data in pieces.items()]


def columns_of(window):
    return [
        (bucket.first, bucket.hashes, bucket.offsets, bucket.marks, bucket.ends, bucket.indexes)
        for bucket in window._columns._buckets
    ]


@pytest.mark.parametrize("bucket_ids", [1, 3, 7, 50, 50_000])
def test_a_window_that_came_back_is_the_one_that_was_stored(monkeypatch, bucket_ids):
    monkeypatch.setattr(id_columns, "BUCKET_IDS", bucket_ids)
    monkeypatch.setattr(id_window, "piece_ids_min", lambda _ids_max: 40)
    for seed in range(20):
        window, pieces = stored(Random(seed), flushes=4, entries=6, ids=9)

        found = EventIdWindow.restore(pieces)

        assert found.digest() == window.digest()
        assert columns_of(found) == columns_of(window)
        assert found._lookup._groups == window._lookup._groups
        assert [list(bucket.times) for bucket in found._columns._buckets] == [
            list(bucket.times) for bucket in window._columns._buckets
        ]


@pytest.mark.parametrize("count", [0, 1, 39, 40, 41, 80, 81, 160, 161, 5_003])
def test_a_table_made_for_so_many_ids_is_the_one_that_grew(count):
    hashes = Random(1).randbytes(HASH_BYTES * count)
    grown, made = IdLookup(), IdLookup(count)
    for number in range(count):
        grown.add(hashes[HASH_BYTES * number : HASH_BYTES * (number + 1)], number)

    made.add(hashes, 0)

    assert (made._half, made._split, made._groups) == (grown._half, grown._split, grown._groups)


def test_no_step_of_a_restore_is_long(monkeypatch):
    added = []
    add = IdLookup.add
    monkeypatch.setattr(
        IdLookup,
        "add",
        lambda self, hashes, number: (added.append(hashes), add(self, hashes, number)),
    )
    monkeypatch.setattr(IdLookup, "_split_one", lambda _self: pytest.fail("a group was split"))
    monkeypatch.setattr(id_window, "ADDED_AT_ONCE", 10)
    _, pieces = stored(Random(2), flushes=1, entries=4, ids=9)
    added.clear()

    EventIdWindow.restore(pieces)

    assert {len(hashes) for hashes in added[:-1]} == {HASH_BYTES * 10}
    assert b"".join(added) == bytes(pieces[0][1].hashes)
