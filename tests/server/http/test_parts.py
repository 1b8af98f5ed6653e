"""The small parts of the HTTP side, each alone."""

import asyncio

import msgspec
import pytest
from aiokafka.partitioner import murmur2 as known_murmur2
from hypothesis import given
from hypothesis import strategies as st

from trimaran.records.iteration import Record
from trimaran.server.http import files
from trimaran.server.http.datum import SHOWN_BYTES_MAX, datum, filter_row
from trimaran.server.http.filters import Filters
from trimaran.server.http.kafka.partitioning import murmur2
from trimaran.server.http.models.topics import CreateTopicBody
from trimaran.server.http.openapi import document, operation_id
from trimaran.server.http.paging import decode_cursor, encode_cursor, page_of
from trimaran.server.http.problems import ProblemError, from_validation
from trimaran.server.http.recently import Recently, Shared
from trimaran.server.http.routes.metrics import on_axis, percentile
from trimaran.server.http.table import ENDPOINTS


@given(st.binary(max_size=64))
def test_murmur2_is_that_of_other_clients(data):
    assert murmur2(data) == known_murmur2(data) & 0xFFFFFFFF


@given(st.lists(st.text(min_size=1, max_size=5), unique=True), st.integers(1, 4))
def test_pages_hold_every_row_once_and_in_order(names, limit):
    rows = sorted(names)
    seen, after = [], None
    for _ in range(len(rows) + 1):
        page = page_of(rows, key=str, limit=limit, after=after)
        seen += page.items
        after = page.next
        if after is None:
            break
    assert seen == rows


def test_a_page_goes_on_behind_a_row_that_is_gone():
    first = page_of(["a", "b", "c", "d"], key=str, limit=2, after=None)
    assert page_of(["a", "c", "d"], key=str, limit=2, after=first.next).items == ["c", "d"]


@given(st.text(max_size=50))
def test_a_cursor_carries_its_key(key):
    assert decode_cursor(encode_cursor(key)) == key


@pytest.mark.parametrize("text", ["!", "a", "é", "AAAA=A"])
def test_what_is_no_cursor_is_a_problem(text):
    with pytest.raises(ProblemError, match="after"):
        decode_cursor(text)


@pytest.mark.parametrize(
    ("data", "view", "shown"),
    [
        (b'{"a": 1}', "auto", ("json", {"a": 1})),
        (b"12", "auto", ("json", 12)),
        (b"plain", "auto", ("text", "plain")),
        (b"{broken", "auto", ("text", "{broken")),
        (b"\x00\x01", "auto", ("base64", "AAE=")),
        (b"\xff", "text", ("base64", "/w==")),
        (b"\x01", "text", ("text", "\x01")),
        (b"ab", "hex", ("hex", "6162")),
        (b'{"a": 1}', "text", ("text", '{"a": 1}')),
        (b"plain", "json", ("text", "plain")),
        (b"", "auto", ("text", "")),
    ],
)
def test_bytes_are_shown_as_people_read_them(data, view, shown):
    found = datum(data, view)
    assert (found.view, found.data) == shown
    assert found.size_bytes == len(data)


@given(st.binary(max_size=40), st.sampled_from(["auto", "json", "text", "base64", "hex"]))
def test_any_bytes_can_be_shown_and_sent(data, view):
    assert msgspec.json.encode(datum(data, view))


def test_long_bytes_are_cut_and_say_so():
    found = datum(b"x" * (SHOWN_BYTES_MAX + 1), "auto")
    assert (len(found.data), found.truncated) == (SHOWN_BYTES_MAX, True)
    assert datum(b"[" * 200_000, "auto").view == "text"
    assert datum(None, "auto") is None


ROW = Record(b'{"delay": 61, "tags": ["a"]}', b"UA1", ((b"h", b"x"),), 5, 7)


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("value.delay > 60", True),
        ("value.delay > 60 && key.startsWith('UA')", True),
        ("value.nosuch == 1", False),
        ("has(value.nosuch)", False),
        ("'a' in value.tags", True),
        ("value.tags.exists(tag, tag == 'a')", True),
        ("headers.h == 'x' && partition == 2 && offset == 7 && timestamp_ms == 5", True),
        ("value", False),
        ("type(key) == string", True),
    ],
)
@pytest.mark.asyncio
async def test_a_filter_sees_the_event(expression, holds):
    filters = Filters()
    try:
        assert await filters.matches(expression, [filter_row(ROW, 2)]) == [holds]
    finally:
        await filters.close()


@pytest.mark.asyncio
async def test_a_filter_that_runs_long_is_ended_and_the_next_one_runs():
    filters = Filters()
    deep = "x.map(a, x.map(b, x.map(c, x.map(d, x.map(e, 1)))))".replace("x.", "value.")
    row = {"value": list(range(200))}
    try:
        with pytest.raises(ProblemError, match="filter"):
            await filters.matches(f"size({deep}) > 0", [row])
        assert await filters.matches("size(value) == 200", [row]) == [True]
    finally:
        await filters.close()


@pytest.mark.parametrize(
    "expression", ["1 +", "nosuch > 1", "key.nosuch()", "__import__('os')", "open('/etc/passwd')"]
)
@pytest.mark.asyncio
async def test_what_is_no_filter_says_what_there_is(expression):
    filters = Filters()
    try:
        with pytest.raises(ProblemError) as found:
            await filters.check(expression)
        assert found.value.kind.status == 400
        assert "CEL" in found.value.errors[0].allowed
    finally:
        await filters.close()


def test_the_document_names_every_endpoint_once():
    names = [operation_id(row) for row in ENDPOINTS]
    assert len(names) == len(set(names))
    found = document(ENDPOINTS)
    assert found["openapi"] == "3.1.0"
    assert sum(len(methods) for methods in found["paths"].values()) == len(ENDPOINTS)
    text = msgspec.json.encode(found).decode()
    for name in found["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text


def test_an_unknown_field_comes_with_the_known_ones():
    with pytest.raises(msgspec.ValidationError) as found:
        msgspec.json.decode(b'{"name": "x", "nosuch": 1}', type=CreateTopicBody)
    (row,) = from_validation(found.value, CreateTopicBody).errors
    assert row.field == "nosuch"
    assert row.allowed == "name, partitions, replication_factor, config, dry_run"


@pytest.mark.parametrize("path", ["/../pages/docs.html", "/..%2f", "/a\0b", "/.\\x", "/"])
def test_no_file_outside_of_static_is_served(path):
    assert files.static_file(path) is None


def test_a_built_file_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "STATIC", tmp_path)
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "a.js").write_text("1")
    assert files.static_file("/assets/a.js") == tmp_path / "assets" / "a.js"
    assert files.static_file("/assets") is None


def test_series_are_brought_to_one_axis():
    points = [1.0, 2.0, 3.0]
    assert on_axis(points, 1_000, 1_000, 4_000, 3) == points
    assert on_axis(points, 2_000, 1_000, 4_000, 3) == [None, 1.0, 2.0]
    assert on_axis(points, 0, 1_000, 4_000, 3) == [2.0, 3.0, None]


def test_percentiles_are_values_that_were_seen():
    assert percentile([], 0.5) is None
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2.0
    assert percentile([float(number) for number in range(1, 101)], 0.99) == 99.0
    assert percentile([7.0], 0.99) == 7.0


def test_what_was_found_recently_is_kept_for_a_while():
    now = [0.0]
    found = Recently(age_s=1.0, now=lambda: now[0])
    found.put("a", 1)
    assert found.get("a") == 1
    now[0] = 1.5
    assert found.get("a") is None


@pytest.mark.asyncio
async def test_many_askers_share_one_look():
    shared, looks = Shared(), []

    async def look():
        looks.append(1)
        await asyncio.sleep(0)
        return len(looks)

    found = await asyncio.gather(*(shared.get("a", 10.0, look) for _ in range(5)))
    assert found == [1] * 5
    assert await shared.get("a", 10.0, look) == 1
    assert await shared.get("a", -1.0, look) == 2
