from dataclasses import replace

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from trimaran.ids import GroupId, Index, NodeId, Offset, Term
from trimaran.records.entry import Entry, EntryKind, HardState, LogPosition
from trimaran.storage.boundary import Boundary, boundary_bytes, decode_boundary, encode_boundary
from trimaran.storage.damage import TEXT_BYTES_MAX, Damage, DamageKind, stored_text
from trimaran.storage.journal_decoding import decode_round, decode_round_head
from trimaran.storage.journal_format import (
    ROUND_HEAD_BYTES,
    SECTOR_BYTES,
    ZERO_SECTORS,
    RecordType,
    RoundContent,
    RoundFrame,
    content_bytes,
    encode_file_head,
    encode_round,
    file_head_bytes,
    file_head_problem,
)

U32 = st.integers(0, 2**32 - 1)
U63 = st.integers(0, 2**63 - 1)
GROUPS = st.binary(min_size=20, max_size=20).map(GroupId)
NODES = st.integers(1, 2**31 - 1).map(NodeId)
STATES = st.builds(HardState, term=U32.map(Term), vote=st.none() | NODES)
POSITIONS = st.builds(
    LogPosition,
    index=st.integers(1, 2**62).map(Index),
    term=U32.map(Term),
    next_offset=st.integers(2**40, 2**62).map(Offset),
    log_time_ms=U63,
)
BOUNDARIES = st.builds(
    Boundary,
    group=GROUPS,
    position=POSITIONS,
    voters=st.lists(NODES, max_size=7).map(tuple),
    log_start_index=st.just(Index(1)),
    log_start_offset=st.integers(0, 2**40).map(Offset),
    state_files=st.lists(
        st.tuples(st.text("abc-019", min_size=1, max_size=100), U63, U32), max_size=5
    ).map(tuple),
)
ENTRIES = st.builds(
    Entry,
    index=U63.map(Index),
    term=U32.map(Term),
    kind=st.sampled_from(EntryKind),
    offset=U63.map(Offset),
    offset_count=U32,
    log_time_ms=U63,
    payload=st.binary(max_size=5000),
    event_ids=st.binary(max_size=64),
)
DAMAGES = st.builds(Damage, kind=st.sampled_from(DamageKind), text=st.text(max_size=100))
CONTENTS = st.builds(
    RoundContent,
    hard_states=st.lists(st.tuples(GROUPS, STATES), max_size=3),
    entries=st.lists(
        st.tuples(GROUPS, st.none() | U32.map(Term), st.lists(ENTRIES, max_size=3)), max_size=3
    ),
    boundaries=st.lists(BOUNDARIES, max_size=2),
    commits=st.lists(st.tuples(GROUPS, U63.map(Index)), max_size=3),
    removed=st.lists(GROUPS, max_size=2),
    damaged=st.lists(st.tuples(GROUPS, DAMAGES), max_size=2),
    repaired=st.lists(GROUPS, max_size=2),
    started_over=st.lists(GROUPS, max_size=2),
)


def frame(position=SECTOR_BYTES, **fields):
    return RoundFrame(
        generation=7,
        position=position,
        sequence=9,
        file_bytes=1 << 20,
        previous_checksum=12345,
        **fields,
    )


def written(content, **fields):
    buffers, checksum = encode_round(frame(**fields), content)
    return b"".join(buffers), checksum


def read(data, position=SECTOR_BYTES):
    head = decode_round_head(data, 7, position)
    assert head is not None
    return head, *decode_round(head, memoryview(data)[ROUND_HEAD_BYTES:])


@given(CONTENTS, st.booleans())
def test_a_round_gives_its_content_back(content, copies):
    data, checksum = written(content, copies=copies)
    head, hints, found = read(data)

    assert len(data) == content_bytes(content) == head.end - head.position
    assert (head.sequence, head.previous_checksum, head.checksum) == (9, 12345, checksum)
    assert hints == content.commits
    assert all(record.intact and record.copy == copies for record in found)
    expected = [(RecordType.REPAIRED, group) for group in content.repaired]
    expected += [(RecordType.HARD_STATE, group, state) for group, state in content.hard_states]
    expected += [(RecordType.STARTED_OVER, group) for group in content.started_over]
    expected += [(RecordType.BOUNDARY, boundary.group, boundary) for boundary in content.boundaries]
    expected += [(RecordType.DAMAGE, group, damage) for group, damage in content.damaged]
    expected += [(RecordType.REMOVED, group) for group in content.removed]
    for group, term, entries in content.entries:
        before = term
        for entry in entries:
            expected.append((RecordType.ENTRY, group, entry, before))
            before = entry.term
    assert [described(record) for record in found] == expected


def described(record):
    value = record.hard_state or record.boundary or record.damage or record.entry
    if record.type is RecordType.ENTRY:
        return record.type, record.group, value, record.previous_term
    return (record.type, record.group) if value is None else (record.type, record.group, value)


@given(BOUNDARIES)
def test_a_boundary_gives_its_fields_back(boundary):
    encoded = encode_boundary(boundary)
    assert len(encoded) == boundary_bytes(boundary)
    assert decode_boundary(boundary.group, encoded) == boundary


def test_a_boundary_that_does_not_add_up_is_refused(kit):
    encoded = encode_boundary(Boundary(group=kit.GROUP, state_files=(("state", 5, 6),)))
    for size in range(len(encoded)):
        with pytest.raises(ValueError, match="boundary"):
            decode_boundary(kit.GROUP, encoded[:size])
    with pytest.raises(ValueError, match="do not fit"):
        decode_boundary(kit.GROUP, encoded + b"x")
    late_index = encoded[:28] + bytes(7) + b"\x02" + encoded[36:]
    late_offset = encoded[:36] + bytes(7) + b"\x01" + encoded[44:]
    for late_start in (late_index, late_offset):
        with pytest.raises(ValueError, match="log start is not in its log"):
            decode_boundary(kit.GROUP, late_start)
    nameless = encoded[:46] + b"\0" + encoded[52:]
    with pytest.raises(ValueError, match="name of 0 bytes"):
        decode_boundary(kit.GROUP, nameless)
    for name in (b"../..", b".....", b"a/b/c", b"Aaaaa", b"a\0aaa", b"\xffaaaa"):
        assert len(name) == 5
        with pytest.raises(ValueError, match="expected small letters"):
            decode_boundary(kit.GROUP, encoded.replace(b"state", name))


def test_a_long_reason_for_damage_is_cut_between_characters():
    text = stored_text(Damage(kind=DamageKind.GAP, text="x" + "é" * TEXT_BYTES_MAX))
    assert len(text) == TEXT_BYTES_MAX - 1
    assert text.decode() == "x" + "é" * ((TEXT_BYTES_MAX - 2) // 2)


def test_no_flipped_bit_of_a_round_gives_other_records(kit):
    content = RoundContent(
        hard_states=[(kit.GROUP, HardState(term=Term(3), vote=NodeId(2)))],
        entries=[(kit.GROUP, Term(2), [kit.records(5, term=3, size=300, event_ids=b"i" * 16)])],
        boundaries=[Boundary(group=kit.OTHER)],
        commits=[(kit.GROUP, Index(4))],
    )
    data, _ = written(content)
    _, hints, records = read(data)
    used = ROUND_HEAD_BYTES + read(data)[0].area_bytes + read(data)[0].payload_bytes
    for bit in range(used * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        head = decode_round_head(bytes(changed), 7, SECTOR_BYTES)
        if head is None:
            continue
        try:
            found = decode_round(head, memoryview(changed)[ROUND_HEAD_BYTES:])
        except ValueError:
            continue
        assert found[0] == hints
        assert not found[1][-1].intact
        assert found[1][-1].entry.payload == b""
        assert [described(record) for record in found[1][:-1]] == [
            described(record) for record in records[:-1]
        ]


def test_a_round_at_another_place_or_in_another_file_is_none(kit):
    data, _ = written(RoundContent(entries=[(kit.GROUP, Term(0), [kit.records(1)])]))
    assert decode_round_head(data, 7, SECTOR_BYTES) is not None
    assert decode_round_head(data, 8, SECTOR_BYTES) is None
    assert decode_round_head(data, 7, 2 * SECTOR_BYTES) is None
    assert decode_round_head(data[:50], 7, SECTOR_BYTES) is None


def test_every_round_starts_a_sector_and_ends_one(kit):
    for size in (0, 1, 300, 512, 1000):
        entries = [kit.records(1, size=size)] if size else []
        content = RoundContent(entries=[(kit.GROUP, Term(0), entries)])
        data, _ = written(content, position=4096)
        assert len(data) % SECTOR_BYTES == 0
        assert read(data, 4096)[0].end == 4096 + len(data)


@pytest.mark.parametrize(
    ("payloads", "zero"),
    [
        ([b"x" * 4000], False),
        ([b"x" * 1000 + bytes(1100) + b"x" * 1000], True),
        ([b"x" * 1000 + bytes(500) + b"x" * 1000], False),
        ([b"x" * 3000, bytes(600), bytes(600), b"x" * 3000], True),
        ([b"x" * 3000, bytes(5000)], True),
        ([bytes(200)] * 10, True),
        ([b"x" * 100] * 50, False),
        ([(b"\0" + b"x" * 511) * 8], False),
        ([b"\0" * 511 + b"x"] * 8, False),
        ([b"x" * 2100 + bytes(100)], False),
        ([b"x" * 270 + bytes(10)], False),
        ([b"x" * 3356 + bytes(300), bytes(300) + b"x" * 3000], True),
        ([b"x" * 3000 + bytes(100), bytes(100) + b"x" * 3000], False),
        ([b"x" * (512 * 6 - 76 - 76)], False),
        ([b""], False),
    ],
)
def test_a_round_tells_whether_a_sector_of_it_is_zeros_by_itself(kit, payloads, zero):
    entries = [kit.control(number + 1, payload=data) for number, data in enumerate(payloads)]
    data, _ = written(RoundContent(entries=[(kit.GROUP, Term(0), entries)]))

    sectors = [data[at : at + SECTOR_BYTES] for at in range(0, len(data), SECTOR_BYTES)]
    assert any(sector == bytes(SECTOR_BYTES) for sector in sectors) == zero
    assert bool(read(data)[0].flags & ZERO_SECTORS) == zero


def test_long_payloads_are_written_from_where_they_are(kit):
    long, short = memoryview(b"x" * 9000), b"y" * 10
    entries = [
        kit.control(1, payload=short),
        kit.control(2, payload=short),
        kit.control(3, payload=long),
        kit.control(4, payload=short),
    ]
    buffers, _ = encode_round(frame(), RoundContent(entries=[(kit.GROUP, Term(0), entries)]))

    assert buffers[2] is long
    assert bytes(buffers[1]) == short * 2
    assert bytes(buffers[3]) == short


def test_a_file_header_names_its_owner_and_its_place(kit):
    sector = encode_file_head(kit.IDENTITY, 5, 1 << 20)
    assert len(sector) == SECTOR_BYTES
    assert file_head_bytes(sector) == 1 << 20
    assert file_head_problem(sector, kit.IDENTITY, 5) is None
    assert "another" in file_head_problem(sector, kit.IDENTITY, 6)
    assert "check" in file_head_problem(sector[:100], kit.IDENTITY, 5)
    for position in range(117):
        changed = bytearray(sector)
        changed[position] ^= 1
        assert file_head_problem(bytes(changed), kit.IDENTITY, 5) is not None


def test_heads_that_do_not_add_up_are_refused(kit):
    data, _ = written(
        RoundContent(removed=[kit.GROUP], entries=[(kit.GROUP, Term(0), [kit.records(1)])])
    )
    head = decode_round_head(data, 7, SECTOR_BYTES)
    body = bytearray(data[ROUND_HEAD_BYTES:])

    def decoded(**changes):
        area = bytes(body[: changes.get("area_bytes", head.area_bytes)])
        return decode_round(replace(head, area_checksum=crc32c(area), **changes), memoryview(body))

    assert len(decoded()[1]) == 2
    with pytest.raises(ValueError, match="too short"):
        decoded(record_count=3)
    with pytest.raises(ValueError, match="add up"):
        decoded(record_count=1)
    with pytest.raises(ValueError, match="add up"):
        decoded(payload_bytes=1)
    body[0] = 99
    with pytest.raises(ValueError, match="99"):
        decoded()
    body[0] = RecordType.REMOVED
    body[10] ^= 1
    with pytest.raises(ValueError, match="a record fails"):
        decoded()
