import logging

import pytest

from trimaran.broker.dispatch import ROUTES, Dispatcher, Route
from trimaran.broker.refusals import LINES_PER_SECOND_MAX
from trimaran.errors import ErrorCode, RequestError
from trimaran.protocol.api import APIS, ApiKey
from trimaran.protocol.messages import (
    DescribeClusterRequest,
    DescribeClusterResponse,
)

REQUEST = DescribeClusterRequest()
ANSWER = DescribeClusterResponse(cluster_id="c")


@pytest.fixture
def serve(broker, client):
    """Return a function that dispatches a request to a handler made for the test."""

    def send(
        handle,
        refuse=lambda request, version, code: DescribeClusterResponse(
            error_code=code, cluster_id=""
        ),
    ):
        routes = {ApiKey.DESCRIBE_CLUSTER: Route(handle, refuse)}
        client.dispatcher = Dispatcher(broker, routes=routes)
        return client.send(ApiKey.DESCRIBE_CLUSTER, 1, REQUEST)

    return send


def test_every_api_of_the_table_has_a_route_and_no_other():
    assert list(ROUTES) == list(APIS)
    assert all(
        ROUTES[key].handle.__module__ == f"trimaran.broker.handlers.{row.handler}"
        for key, row in APIS.items()
    )


@pytest.mark.parametrize("key", list(ROUTES))
def test_every_handler_states_its_behavior_and_version_notes(key):
    module = __import__(ROUTES[key].handle.__module__, fromlist=["handle"])

    assert "Behavior:" in module.__doc__
    assert "Version notes:" in module.__doc__
    assert f"(key {int(key)})" in module.__doc__.splitlines()[0]


def test_a_returned_response_is_the_answer(client, serve):
    call = serve(lambda call, request: ANSWER)

    assert client.finished == [(call, ANSWER)]


def test_a_handler_that_returns_nothing_ends_the_call_itself(client, serve):
    kept = []

    call = serve(lambda call, request: kept.append(call))
    assert client.finished == []
    kept[0].answer(ANSWER)

    assert client.finished == [(call, ANSWER)]


def test_a_request_error_is_answered_with_its_code(client, serve):
    def refuse(call, request):
        raise RequestError(ErrorCode.INVALID_REQUEST, "expected 1, found 2")

    call = serve(refuse)

    assert client.answer_of(call).error_code == ErrorCode.INVALID_REQUEST
    assert client.closed == []


def test_a_request_error_without_an_answer_closes_the_connection(client, serve):
    def refuse(call, request):
        raise RequestError(ErrorCode.INVALID_REQUEST, "no")

    serve(refuse, refuse=lambda request, version, code: None)

    assert client.finished == []
    assert client.closed == ["acks=0 and INVALID_REQUEST"]


def test_an_unexpected_error_is_one_log_line_and_closes_the_connection(client, serve, caplog):
    def break_down(call, request):
        raise ZeroDivisionError("of all things")

    serve(break_down)

    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "api=DescribeCluster version=1 peer=10.0.0.9:5555 client='tester'" in record.message
    assert "error=ZeroDivisionError reason=of all things" in record.message
    assert client.closed == ["internal error"]


def test_a_broken_invariant_of_ours_ends_the_process(broker, serve):
    def break_down(call, request):
        raise AssertionError("ours")

    with pytest.raises(AssertionError, match="ours"):
        serve(break_down)

    assert [str(failure) for failure in broker.failures] == ["ours"]


def test_an_answer_that_cannot_be_encoded_closes_the_connection(client, serve, caplog):
    call = serve(lambda call, request: ANSWER)

    buffers = client.dispatcher.encode(call, object())

    assert buffers == ()
    assert client.closed == ["internal error"]
    assert "api=DescribeCluster" in caplog.text


@pytest.mark.asyncio
async def test_a_coroutine_answers_when_it_returns(client, serve, settle):
    async def slowly(call, request):
        await settle(turns=3)
        return ANSWER

    call = serve(slowly)
    assert client.finished == []
    await settle(lambda: client.finished)

    assert client.answer_of(call) == ANSWER


@pytest.mark.asyncio
async def test_a_coroutines_request_error_is_answered(client, serve, settle):
    async def refuse(call, request):
        raise RequestError(ErrorCode.NOT_CONTROLLER, "no")

    call = serve(refuse)
    await settle(lambda: client.finished)

    assert client.answer_of(call).error_code == ErrorCode.NOT_CONTROLLER


@pytest.mark.asyncio
async def test_a_coroutines_unexpected_error_closes_the_connection(client, serve, settle, caplog):
    async def break_down(call, request):
        raise ZeroDivisionError("of all things")

    serve(break_down)
    await settle(lambda: client.closed)

    assert client.closed == ["internal error"]
    assert "of all things" in caplog.text


@pytest.mark.asyncio
async def test_a_coroutines_broken_invariant_ends_the_process(broker, client, serve, settle):
    async def break_down(call, request):
        raise AssertionError("ours")

    serve(break_down)
    await settle(lambda: broker.failures)

    assert str(broker.failures[0]) == "ours"


@pytest.mark.asyncio
async def test_a_coroutine_of_a_client_that_left_is_not_answered(client, serve, settle):
    async def slowly(call, request):
        await settle(turns=3)
        raise RequestError(ErrorCode.NOT_CONTROLLER, "no")

    call = serve(slowly)
    call.drop()
    await settle()

    assert client.finished == []
    assert client.closed == []


def test_bad_input_is_logged_as_a_warning_with_what_and_from_where(client, serve, caplog):
    def refuse(call, request):
        raise RequestError(ErrorCode.INVALID_REQUEST, "acks: expected 1, found 2")

    serve(refuse)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message == (
        "refused api=DescribeCluster version=1 peer=10.0.0.9:5555 client='tester' "
        "code=INVALID_REQUEST reason=acks: expected 1, found 2"
    )


def test_what_every_healthy_cluster_refuses_is_not_worth_a_line(client, serve, caplog):
    caplog.set_level(logging.INFO)

    def refuse(call, request):
        raise RequestError(ErrorCode.NOT_LEADER_OR_FOLLOWER, "moved")

    serve(refuse)

    assert caplog.records == []
    assert client.dispatcher.refusals.refused_count == 1


def test_a_client_in_a_loop_does_not_fill_the_log(client, clock, caplog):
    def refuse(call, request):
        raise RequestError(ErrorCode.INVALID_REQUEST, "again")

    client.dispatcher._routes = {
        ApiKey.DESCRIBE_CLUSTER: Route(refuse, ROUTES[ApiKey.DESCRIBE_CLUSTER].refuse)
    }
    for _ in range(LINES_PER_SECOND_MAX + 5):
        client.send(ApiKey.DESCRIBE_CLUSTER, 1, REQUEST)
    assert len(caplog.records) == LINES_PER_SECOND_MAX

    clock.advance(1)
    client.send(ApiKey.DESCRIBE_CLUSTER, 1, REQUEST)

    assert caplog.records[-1].message.endswith("left_out=5")
