"""The compiled loops do what their Python twins do, on any bytes; all works without them."""

import importlib.util
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.dedup import id_lookup, id_scan, native
from trimaran.dedup.event_ids import HASH_BYTES
from trimaran.dedup.id_lookup import IdLookup
from trimaran.dedup.id_scan import RecordError, scan_records, walk_records
from trimaran.errors import RequestError
from trimaran.records.batch import HEADER_BYTES
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record
from trimaran.records.keys import first_without_key

ROOT = Path(__file__).parent.parent.parent
COMPILED = native.COMPILED

needs_compiled = pytest.mark.skipif(COMPILED is None, reason="no C compiler at installation")

NAMES = st.sampled_from([b"event-id", b"Nats-Msg-Id", b"ce_id", b"ce_source", b"", b"event-i"])
VALUES = st.none() | st.binary(max_size=300)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=4).map(tuple)
RECORDS = st.lists(
    st.builds(Record, VALUES, VALUES, HEADERS, st.integers(0, 2**40)), min_size=1, max_size=12
)


def block_of(records):
    return bytes(build_batch(records)[HEADER_BYTES:])


def columns(found):
    return list(found.ends), list(found.deltas), list(found.places), found.hashes


def both(data, count, last_delta, header=b"event-id"):
    """Return what each of the two makes of it: columns, or the error's words."""
    found = []
    for scan in (scan_records, walk_records):
        try:
            result = scan(data, count=count, last_delta=last_delta, header=header)
        except RecordError as error:
            found.append(str(error))
        else:
            found.append(columns(result))
    return found


@needs_compiled
@given(RECORDS)
def test_both_scans_find_the_same_ids_or_the_same_fault(records):
    compiled, plain = both(block_of(records), len(records), len(records) - 1)

    assert compiled == plain


@needs_compiled
@given(RECORDS, st.data())
def test_both_scans_take_the_same_damaged_bytes(records, data):
    block = bytearray(block_of(records))
    for _ in range(data.draw(st.integers(1, 3))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    del block[data.draw(st.integers(0, len(block))) :]
    count = len(records) + data.draw(st.integers(-1, 1))

    compiled, plain = both(bytes(block), count, len(records) - 1)

    assert compiled == plain


@needs_compiled
@given(st.binary(max_size=60), st.integers(0, 9), st.integers(-1, 2**31 - 1))
def test_both_scans_take_any_bytes(data, count, last_delta):
    compiled, plain = both(data, count, last_delta)

    assert compiled == plain


def keys_in_python(data, count, last_delta):
    try:
        return first_without_key(data, count=count, last_delta=last_delta) is None
    except RequestError:
        return False


@needs_compiled
@given(RECORDS, st.booleans())
def test_both_walks_find_that_all_records_have_keys(records, have_keys):
    if have_keys:
        records = [replace(record, key=record.key or b"") for record in records]
    block, last = block_of(records), len(records) - 1

    assert COMPILED.have_keys(block, last + 1, last) is keys_in_python(block, last + 1, last)


@needs_compiled
@given(RECORDS, st.data())
def test_damaged_bytes_have_no_keys_that_the_python_walk_does_not_find(records, data):
    block = bytearray(block_of([replace(record, key=b"k") for record in records]))
    for _ in range(data.draw(st.integers(1, 3))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    del block[data.draw(st.integers(0, len(block))) :]
    count, last = len(records) + data.draw(st.integers(-1, 1)), len(records) - 1

    if COMPILED.have_keys(bytes(block), count, last):
        assert keys_in_python(bytes(block), count, last)


@needs_compiled
@given(st.binary(max_size=60), st.integers(0, 9), st.integers(-1, 2**31 - 1))
def test_any_bytes_have_no_keys_that_the_python_walk_does_not_find(data, count, last_delta):
    if COMPILED.have_keys(data, count, last_delta):
        assert keys_in_python(data, count, last_delta)


@needs_compiled
def test_what_is_well_is_scanned_without_python():
    records = [
        Record(b"v", headers=((b"event-id", b"1"),), timestamp_ms=1),
        Record(b"w", timestamp_ms=1),
        Record(b"x", b"k", ((b"ce_source", b"s"), (b"ce_id", b"2")), timestamp_ms=1),
    ]
    block = block_of(records)

    ends, deltas, places, hashes = COMPILED.scan_records(memoryview(block), 3, 2, b"event-id")

    assert [len(ends), len(deltas), len(places), len(hashes)] == [12, 12, 8, 32]


@needs_compiled
@pytest.mark.parametrize("length", [1, 7, 8, 64, 127, 128, 129, 255, 256])
def test_hash_is_blake2b_of_the_library_at_every_block_length(length):
    name = bytes(random.Random(length).randbytes(length))
    block = block_of([Record(b"v", headers=((b"event-id", name),), timestamp_ms=1)])

    found = COMPILED.scan_records(block, 1, 0, b"event-id")

    assert found[3] == blake2b(name, digest_size=HASH_BYTES).digest()


@needs_compiled
def test_a_count_that_cannot_be_true_takes_no_memory():
    assert COMPILED.scan_records(b"", 2**32 - 1, 2**31 - 1, b"event-id") is None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(0, 40), min_size=1, max_size=30)),
        st.tuples(st.just("first"), st.integers(1, 30)),
        st.tuples(st.just("last"), st.integers(1, 3)),
    ),
    max_size=12,
)


def fake_hash(number):
    """Return a hash of which many share the first bytes: the group, or all that a cell keeps."""
    return bytes([number % 4, 0, 0, 0, number % 3, 0, 0, 0, number]) + bytes(7)


@needs_compiled
@given(STEPS, st.sampled_from([0, 2**32 - 20]))
def test_both_lookups_hold_the_same(steps, number):
    compiled, plain = IdLookup(), IdLookup()
    held = []
    for what, value in steps:
        if what == "add":
            hashes = b"".join(fake_hash(each) for each in value)
            each_of(compiled, plain, lambda one, h=hashes, n=number: one.add(h, n))
            held += [(fake_hash(each), number + at) for at, each in enumerate(value)]
            number += len(value)
        elif what == "first" and held:
            dropped = held[:value]
            hashes, low = b"".join(row[0] for row in dropped), dropped[0][1]
            each_of(compiled, plain, lambda one, h=hashes, n=low: one.drop_first(h, n))
            del held[:value]
        elif what == "last":
            for event_hash, low in reversed(held[-value:]):
                each_of(compiled, plain, lambda one, h=event_hash, n=low: one.drop_last(h[:8], n))
            number -= len(held[-value:])
            del held[-value:]
        asked = b"".join(fake_hash(each) for each in range(48))
        found = each_of(compiled, plain, lambda one, a=asked: list(one.find(a)))
        assert compiled._groups == plain._groups
        assert found[0] == found[1]


def each_of(compiled, plain, work):
    """Do `work` with the compiled lookup, then with the plain one."""
    results = [work(compiled)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_lookup, "COMPILED", None)
        results.append(work(plain))
    return results


@needs_compiled
@pytest.mark.parametrize(
    "wrong",
    [
        ([], 1, 1, 0, bytes(16)),
        ([bytearray()], 1, 3, 0, bytes(16)),
        ([bytearray()], 1, 0, 0, bytes(16)),
        ([bytearray()], 1, 1, 0, bytes(15)),
        (["no bytearray"], 1, 1, 0, bytes(16)),
        ((bytearray(),), 1, 1, 0, bytes(16)),
    ],
)
def test_a_lookup_that_is_none_is_an_error_and_no_crash(wrong):
    for call in (COMPILED.find, lambda *given: COMPILED.add(*given, 0)):
        with pytest.raises((IndexError, TypeError, ValueError)):
            call(*wrong)
    with pytest.raises((IndexError, TypeError, ValueError)):
        COMPILED.drop_first(*wrong, 0)


@pytest.mark.parametrize("loops", [COMPILED, None], ids=["compiled", "plain"])
def test_ids_made_up_to_share_their_first_bits_do_not_share_a_group(monkeypatch, loops):
    """Whoever may produce chooses ids: tens of thousands in one group would make searches slow."""
    monkeypatch.setattr(id_lookup, "COMPILED", loops)
    lookup = IdLookup()
    chance = random.Random(1)
    hashes = b"".join(bytes(4) + chance.randbytes(12) for _ in range(20_000))

    lookup.add(hashes, 0)

    longest = max(len(group) for group in lookup._groups) // id_lookup.CELL_BYTES
    assert longest < 10 * id_lookup.GROUP_IDS
    assert list(lookup.find(hashes[:64])) == [(place, place) for place in range(4)]


def test_an_id_that_is_not_the_oldest_is_noticed():
    lookup = IdLookup()
    lookup.add(fake_hash(1) + fake_hash(2), 0)

    with pytest.raises(AssertionError, match="oldest"):
        lookup.drop_first(fake_hash(2), 1)


def test_a_module_of_other_sources_is_not_used(monkeypatch):
    monkeypatch.setattr(native, "INTERFACE", 999)

    assert native.load() is None


def test_without_the_module_the_same_tests_pass():
    """The own tests of the window, of the scan and of what uses them, with nothing compiled."""
    code = (
        "import sys; sys.modules['trimaran.dedup._native'] = None; import pytest;"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', *sys.argv[1:]]))"
    )
    tests = [
        "tests/dedup/test_id_scan.py",
        "tests/dedup/test_id_window.py",
        "tests/broker/test_deduplication.py",
        "tests/broker/test_keyed_batches.py",
    ]

    done = subprocess.run(
        [sys.executable, "-c", code, *tests],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-1_000:]


@pytest.fixture
def builder():
    spec = importlib.util.spec_from_file_location("build_native", ROOT / "build_native.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("settings", [{"CC": "false"}, {"CC": "not-there"}, {"TRIMARAN_PURE": "1"}])
def test_where_nothing_can_be_compiled_nothing_is_left_behind(
    builder, monkeypatch, tmp_path, settings
):
    sources = [shutil.copy(source, tmp_path) for source in builder.SOURCES]
    monkeypatch.setattr(builder, "SOURCES", [Path(source) for source in sources])
    builder.compiled_path(Path(sources[0])).touch()
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(builder.CompileError):
        builder.compile_all()

    assert sorted(map(str, tmp_path.iterdir())) == sorted(sources)


def test_what_was_installed_is_what_is_tested():
    """Where a compiler is, tests of compiled code may not be left out in silence."""
    assert id_scan.COMPILED is COMPILED
    if os.environ.get("TRIMARAN_TOOLS_REQUIRED"):
        assert COMPILED is not None
