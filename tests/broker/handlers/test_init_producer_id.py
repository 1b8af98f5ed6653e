import pytest

from trimaran.errors import ErrorCode, RequestError
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import InitProducerIdRequest, InitProducerIdResponse

pytestmark = pytest.mark.asyncio


async def ask(client, version=4, **fields):
    return await client.ask_slowly(
        ApiKey.INIT_PRODUCER_ID, version, InitProducerIdRequest(**fields)
    )


async def test_every_producer_gets_another_id(client):
    answers = [await ask(client, version) for version in range(5)]

    assert answers == [
        InitProducerIdResponse(producer_id=number, producer_epoch=0) for number in range(5)
    ]


async def test_a_known_producer_gets_its_next_epoch(client):
    known = await ask(client)

    bumped = await ask(client, producer_id=known.producer_id, producer_epoch=4)

    assert (bumped.producer_id, bumped.producer_epoch) == (known.producer_id, 5)


async def test_after_the_last_epoch_comes_another_id(client):
    known = await ask(client)

    last = await ask(client, producer_id=known.producer_id, producer_epoch=32_765)
    after = await ask(client, producer_id=known.producer_id, producer_epoch=32_766)

    assert (last.producer_id, last.producer_epoch) == (known.producer_id, 32_766)
    assert (after.producer_id, after.producer_epoch) == (known.producer_id + 1, 0)


async def test_an_id_that_nobody_was_given_is_not_bumped(client):
    answer = await ask(client, producer_id=77, producer_epoch=1)

    assert (answer.producer_id, answer.producer_epoch) == (0, 0)


@pytest.mark.parametrize(("producer_id", "epoch"), [(3, -1), (-1, 3)])
async def test_id_and_epoch_come_together(client, producer_id, epoch):
    answer = await ask(client, producer_id=producer_id, producer_epoch=epoch)

    assert answer.error_code == ErrorCode.INVALID_REQUEST


async def test_a_transactional_id_is_refused_at_once(client):
    answer = await ask(client, transactional_id="t", transaction_timeout_ms=1000)

    assert answer == InitProducerIdResponse(
        error_code=ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    )


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (ErrorCode.REQUEST_TIMED_OUT, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS),
        (ErrorCode.UNKNOWN_SERVER_ERROR, ErrorCode.UNKNOWN_SERVER_ERROR),
    ],
)
async def test_without_a_metadata_leader_every_client_tries_again(broker, client, code, told):
    async def fail():
        raise RequestError(code, "no leader")

    broker.next_producer_id = fail

    assert (await ask(client)).error_code == told


async def test_an_empty_transactional_id_is_none_at_all(client):
    answer = await ask(client, transactional_id="", transaction_timeout_ms=1000)

    assert answer == InitProducerIdResponse(error_code=ErrorCode.INVALID_REQUEST)
