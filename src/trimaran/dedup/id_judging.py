"""What becomes of a batch on a topic with event ids: the leader's decision (design D9). Pure.

| its records | becomes |
|---|---|
| no id, or ids that are new | stored as it came |
| some are duplicates, of stored events or of each other | stored without those; its count, size, |
|   | highest timestamp and checksum are made anew, its offsets stay, so that it has holes |
| all are duplicates | not stored; answered with the offset of the first one's original |

What is stored is packed by its own codec. Records that stay keep their bytes.
Does not: look at producer sequences (they are judged before), or propose anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from trimaran.dedup.event_ids import HASH_BYTES, pack_ids
from trimaran.dedup.id_scan import Scan, scan_records, timestamp_delta_at
from trimaran.dedup.id_window import EventIdWindow, Known
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import Index, Offset
from trimaran.records.batch import HEADER_BYTES, BatchHeader, Codec
from trimaran.records.building import rebuild_from_block
from trimaran.records.compression import decompress
from trimaran.records.entry import Payload

INFLATED_BYTES_MAX = 16 * 1024 * 1024
"""A batch that inflates to more is refused: it is opened on the loop."""
RECORDS_MAX = 10_000
"""A batch of more is refused for the same reason. librdkafka's batches never hold more by default
(`batch.num.messages`), and of Java's few have the room (`batch.size`)."""
DUPLICATES_NAMED = 8
"""A judgement names so many, for people to look at."""


class Duplicate(NamedTuple):
    """An event that is not stored because another one has its id."""

    event_hash: bytes
    original_offset: Offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Store `batch` with these ids."""

    batch: Payload | bytearray
    """Not stamped yet; the request's own bytes if nothing was removed."""
    event_ids: bytes
    """What the entry carries."""
    removed_count: int
    duplicates: Sequence[Duplicate] = ()
    """The last of those that were removed, but for events that repeat one of their own batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllDuplicates:
    """Store nothing."""

    base_offset: Offset
    """Of the first record's original."""
    index: Index
    """The last entry that holds an original: success may be answered once it is committed."""
    log_time_ms: int
    """Of the first record's original."""
    duplicates: Sequence[Duplicate]
    """The last of them."""


Judgement: TypeAlias = Store | AllDuplicates


def judge_batch(
    batch: Payload, parsed: BatchHeader, window: EventIdWindow, *, header: bytes, log_time_ms: int
) -> Judgement:
    """Return what becomes of `batch`, whose header and checksum were checked; changes nothing.

    Args:
        batch: as the producer sent it.
        parsed: its header.
        window: the ids known at the log's end.
        header: name of the topic's own id header.
        log_time_ms: log time the entry would get.

    Raises:
        RequestError: RECORD_LIST_TOO_LARGE above `RECORDS_MAX`; INVALID_RECORD for bytes that are
            no records, or inflate beyond the limits.
        RecordError: a record that may not be stored, by its number.
    """
    if parsed.record_count > RECORDS_MAX:
        raise RequestError(
            ErrorCode.RECORD_LIST_TOO_LARGE,
            f"a batch of {parsed.record_count} events, at most {RECORDS_MAX} where event ids are "
            "looked at; let the producer make smaller ones (batch.num.messages, batch.size)",
        )
    with memoryview(batch) as view, view[HEADER_BYTES:] as block:
        data: Payload = block
        if parsed.codec != Codec.NONE:
            data = decompress(parsed.codec, block, bytes_max=INFLATED_BYTES_MAX)
        scan = scan_records(
            data,
            count=parsed.record_count,
            last_delta=parsed.last_offset_delta,
            header=header,
        )
        known = _find_known(scan, window, log_time_ms)
        if not known:
            return Store(batch=batch, event_ids=_ids_of(scan, known), removed_count=0)
        if len(known) == parsed.record_count:
            return _all_known(scan, known)
        kept, latest = _kept_block(data, scan, known)
    count = parsed.record_count - len(known)
    return Store(
        batch=rebuild_from_block(batch, kept, count=count, latest=latest),
        event_ids=_ids_of(scan, known),
        removed_count=len(known),
        duplicates=_last_of(scan, known),
    )


def _all_known(scan: Scan, known: dict[int, Known | None]) -> AllDuplicates:
    originals = [found for found in known.values() if found is not None]
    first = known[0]
    assert first is not None, "the first record of a batch repeats no other of it"
    return AllDuplicates(
        base_offset=first.offset,
        index=max(found.entry_index for found in originals),
        log_time_ms=first.log_time_ms,
        duplicates=_last_of(scan, known),
    )


def _last_of(scan: Scan, known: dict[int, Known | None]) -> list[Duplicate]:
    """Return the last records that repeat a stored event."""
    last: list[Duplicate] = []
    for number in range(len(scan.places) - 1, -1, -1):
        found = known.get(scan.places[number])
        if found is not None:
            start = HASH_BYTES * number
            last.append(Duplicate(scan.hashes[start : start + HASH_BYTES], found.offset))
            if len(last) == DUPLICATES_NAMED:
                break
    last.reverse()
    return last


def _find_known(scan: Scan, window: EventIdWindow, log_time_ms: int) -> dict[int, Known | None]:
    """Return the places of duplicates with their originals, None if that is in the same batch."""
    hashes = scan.hashes
    found = window.find(hashes, log_time_ms)
    each = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
    is_repeated = len(frozenset(each)) < len(each)
    if not found and not is_repeated:
        return {}
    known: dict[int, Known | None] = {}
    seen: dict[bytes, None] = {}
    for number, event_hash in enumerate(each):
        if number in found:
            known[scan.places[number]] = found[number]
        elif event_hash in seen:
            known[scan.places[number]] = None
        seen[event_hash] = None
    return known


def _kept_block(data: Payload, scan: Scan, known: dict[int, Known | None]) -> tuple[bytes, int]:
    """Return the bytes of the records that are not `known`, and their highest timestamp delta."""
    parts = []
    deltas = []
    start = 0
    for place, end in enumerate(scan.ends):
        if place not in known:
            parts.append(data[start:end])
            deltas.append(timestamp_delta_at(data, start))
        start = end
    return b"".join(parts), max(deltas)


def _ids_of(scan: Scan, known: dict[int, Known | None]) -> bytes:
    """Return what the entry carries: the ids of the records that are not `known`."""
    hashes, places, deltas = scan.hashes, scan.places, scan.deltas
    if known:
        kept = [number for number, place in enumerate(places) if place not in known]
        hashes = b"".join([hashes[HASH_BYTES * at : HASH_BYTES * (at + 1)] for at in kept])
        places = [places[number] for number in kept]
    if len(places) < len(deltas):
        deltas = [deltas[place] for place in places]
    return pack_ids(hashes, deltas)
