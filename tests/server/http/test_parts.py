"""The small parts of the HTTP side, each alone."""

import asyncio
import gc
from types import SimpleNamespace

import msgspec
import pytest
from aiokafka.partitioner import murmur2 as known_murmur2
from hypothesis import given
from hypothesis import strategies as st

from trimaran.records.iteration import Record
from trimaran.server.http import feeds, files
from trimaran.server.http.answers import request_of
from trimaran.server.http.datum import SHOWN_BYTES_MAX, datum, filter_row
from trimaran.server.http.endpoint import unanswered
from trimaran.server.http.facts import SILENT_S
from trimaran.server.http.fellows import ANSWER_S
from trimaran.server.http.filters import Filters
from trimaran.server.http.kafka.client import NotSentError
from trimaran.server.http.kafka.partitioning import murmur2
from trimaran.server.http.models.metrics import SeriesValues
from trimaran.server.http.models.stream import Subscribe
from trimaran.server.http.models.topics import CreateTopicBody
from trimaran.server.http.openapi import document, operation_id
from trimaran.server.http.paging import decode_cursor, encode_cursor, page_of
from trimaran.server.http.problems import ProblemError, from_validation
from trimaran.server.http.recently import Shared
from trimaran.server.http.routes.metrics import ask_nodes, on_axis, percentile
from trimaran.server.http.table import ENDPOINTS


@given(st.binary(max_size=64))
def test_murmur2_is_that_of_other_clients(data):
    assert murmur2(data) == known_murmur2(data) & 0xFFFFFFFF


@given(st.lists(st.text(min_size=1, max_size=5), unique=True), st.integers(1, 4))
def test_pages_hold_every_row_once_however_the_rows_come(names, limit):
    seen, after = [], None
    for _ in range(len(names) + 1):
        page = page_of(names, key=str, limit=limit, after=after)
        seen += page.items
        after = page.next
        if after is None:
            break
    assert seen == sorted(names)


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


def test_a_path_that_is_followed_has_the_parts_that_it_was_sent_with():
    endpoint, asked = request_of(None, "/v1/groups/a%2Fb", "")
    assert (endpoint.path, asked.path) == ("/v1/groups/{group}", {"group": "a/b"})


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


@pytest.mark.asyncio
async def test_what_was_found_is_let_go_when_nobody_wants_it_that_old():
    shared = Shared()

    async def look():
        return "many bytes"

    await shared.get("a", 0.01, look)
    await shared.get("b", 10.0, look)
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, passed.set)
    await passed.wait()
    assert list(shared._found) == ["b"]


@pytest.mark.asyncio
async def test_a_look_that_failed_when_its_asker_was_gone_is_no_complaint(caplog):
    shared, begun, may_end = Shared(), asyncio.Event(), asyncio.Event()

    async def look():
        begun.set()
        await may_end.wait()
        raise OSError("nobody there")

    asker = asyncio.create_task(shared.get("a", 1.0, look))
    await begun.wait()
    (task,) = shared._looking.values()
    asker.cancel()
    may_end.set()
    await asyncio.gather(asker, task, return_exceptions=True)
    assert shared._looking == {}
    del task
    gc.collect()
    assert "never retrieved" not in caplog.text


@pytest.mark.asyncio
async def test_a_question_given_up_while_filters_start_does_not_shift_the_answers():
    filters, row = Filters(), filter_row(ROW, 2)
    try:
        asker = asyncio.create_task(filters.matches("partition == 2", [row]))
        while filters._process is None:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)
        asker.cancel()
        await asyncio.gather(asker, return_exceptions=True)
        assert await filters.matches("partition == 2", [row]) == [True]
        assert await filters.matches("partition == 3", [row]) == [False]
    finally:
        await filters.close()


@pytest.mark.parametrize(
    ("method", "error", "status"),
    [
        ("GET", TimeoutError(), 503),
        ("POST", NotSentError("node 2 cannot be reached"), 503),
        ("POST", TimeoutError(), 504),
        ("DELETE", ConnectionResetError("the node closed the connection"), 504),
    ],
)
def test_only_what_surely_was_not_done_may_be_asked_again(method, error, status):
    problem = unanswered(method, error)
    assert problem.kind.status == status
    assert (problem.retry_after_s is None) == (status == 504)
    assert problem.detail.rpartition(": ")[2], "it says why"


class Fellows:
    """Nodes that answer at once, and how long each was to be waited for."""

    def __init__(self):
        self.patience = {}

    async def get(self, number, path, shape, *, timeout_s):
        self.patience[number] = timeout_s


@pytest.mark.asyncio
async def test_a_silent_node_holds_up_samples_of_the_others_for_a_moment_only():
    fellows = Fellows()
    node = SimpleNamespace(
        node_id=1,
        fellows=fellows,
        alive=lambda: [1, 2],
        config=SimpleNamespace(
            cluster=SimpleNamespace(nodes=[SimpleNamespace(id=number) for number in (1, 2, 3)])
        ),
        image=SimpleNamespace(nodes=[]),
        observer=SimpleNamespace(latest=dict),
        shared=Shared(),
    )
    assert await ask_nodes(node, "all", "/v1/node/series", SeriesValues, "own") == [(1, "own")]
    assert fellows.patience == {2: ANSWER_S, 3: SILENT_S}

    fellows.patience.clear()
    asked = Subscribe(id="m", feed="metrics")
    told = []

    async def send(message):
        told.append(message)
        raise OSError("the client is gone")

    with pytest.raises(OSError, match="gone"):
        await feeds.metrics(node, asked, send)
    assert told[0].unreachable == [2, 3]
    assert fellows.patience == {2: ANSWER_S, 3: SILENT_S}
