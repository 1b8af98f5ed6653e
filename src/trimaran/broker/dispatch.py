"""From a decoded request to its handler, and from an exception to what the client gets.

The table below is the list of what this broker can do; `protocol.api` says in which versions. This
is the only place where an exception becomes an answer:

    RequestError        the handler's own error response, one log line
    AssertionError      ours was wrong: the process ends (`Broker.fail`)
    any other           one log line (what, from where), the connection is closed

Does not: decode, or decide the order of answers (clients does).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimaran.broker.api import Broker
from trimaran.broker.calls import Call
from trimaran.broker.counters import Counters
from trimaran.broker.handlers import (
    alter_configs,
    alter_partition_reassignments,
    alter_replica_log_dirs,
    api_versions,
    consumer_group_describe,
    consumer_group_heartbeat,
    create_partitions,
    create_topics,
    delete_groups,
    delete_records,
    delete_topics,
    describe_cluster,
    describe_configs,
    describe_groups,
    describe_log_dirs,
    describe_producers,
    describe_quorum,
    describe_topic_partitions,
    elect_leaders,
    fetch,
    find_coordinator,
    heartbeat,
    incremental_alter_configs,
    init_producer_id,
    join_group,
    leave_group,
    list_config_resources,
    list_groups,
    list_offsets,
    list_partition_reassignments,
    metadata,
    offset_commit,
    offset_delete,
    offset_fetch,
    offset_for_leader_epoch,
    produce,
    sync_group,
)
from trimaran.broker.refusals import ORIGIN, RefusalLog, origin
from trimaran.broker.tasks import Tasks
from trimaran.errors import ErrorCode, RequestError
from trimaran.protocol.api import ApiKey
from trimaran.protocol.codec import encode_response
from trimaran.records.entry import Payload

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """How one API is served."""

    handle: Callable[[Call, Any], object]
    """(call, request) -> response | None (the handler took the call over) | coroutine."""
    refuse: Callable[[Any, int, ErrorCode], object]
    """(request, version, code) -> the response that tells an error; None: close instead."""


ROUTES: Mapping[int, Route] = {
    ApiKey.PRODUCE: Route(produce.handle, produce.refuse),
    ApiKey.FETCH: Route(fetch.handle, fetch.refuse),
    ApiKey.LIST_OFFSETS: Route(list_offsets.handle, list_offsets.refuse),
    ApiKey.METADATA: Route(metadata.handle, metadata.refuse),
    ApiKey.OFFSET_COMMIT: Route(offset_commit.handle, offset_commit.refuse),
    ApiKey.OFFSET_FETCH: Route(offset_fetch.handle, offset_fetch.refuse),
    ApiKey.FIND_COORDINATOR: Route(find_coordinator.handle, find_coordinator.refuse),
    ApiKey.JOIN_GROUP: Route(join_group.handle, join_group.refuse),
    ApiKey.HEARTBEAT: Route(heartbeat.handle, heartbeat.refuse),
    ApiKey.LEAVE_GROUP: Route(leave_group.handle, leave_group.refuse),
    ApiKey.SYNC_GROUP: Route(sync_group.handle, sync_group.refuse),
    ApiKey.DESCRIBE_GROUPS: Route(describe_groups.handle, describe_groups.refuse),
    ApiKey.LIST_GROUPS: Route(list_groups.handle, list_groups.refuse),
    ApiKey.API_VERSIONS: Route(api_versions.handle, api_versions.refuse),
    ApiKey.CREATE_TOPICS: Route(create_topics.handle, create_topics.refuse),
    ApiKey.DELETE_TOPICS: Route(delete_topics.handle, delete_topics.refuse),
    ApiKey.DELETE_RECORDS: Route(delete_records.handle, delete_records.refuse),
    ApiKey.INIT_PRODUCER_ID: Route(init_producer_id.handle, init_producer_id.refuse),
    ApiKey.OFFSET_FOR_LEADER_EPOCH: Route(
        offset_for_leader_epoch.handle, offset_for_leader_epoch.refuse
    ),
    ApiKey.DESCRIBE_CONFIGS: Route(describe_configs.handle, describe_configs.refuse),
    ApiKey.ALTER_CONFIGS: Route(alter_configs.handle, alter_configs.refuse),
    ApiKey.ALTER_REPLICA_LOG_DIRS: Route(
        alter_replica_log_dirs.handle, alter_replica_log_dirs.refuse
    ),
    ApiKey.DESCRIBE_LOG_DIRS: Route(describe_log_dirs.handle, describe_log_dirs.refuse),
    ApiKey.CREATE_PARTITIONS: Route(create_partitions.handle, create_partitions.refuse),
    ApiKey.DELETE_GROUPS: Route(delete_groups.handle, delete_groups.refuse),
    ApiKey.ELECT_LEADERS: Route(elect_leaders.handle, elect_leaders.refuse),
    ApiKey.INCREMENTAL_ALTER_CONFIGS: Route(
        incremental_alter_configs.handle, incremental_alter_configs.refuse
    ),
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: Route(
        alter_partition_reassignments.handle, alter_partition_reassignments.refuse
    ),
    ApiKey.LIST_PARTITION_REASSIGNMENTS: Route(
        list_partition_reassignments.handle, list_partition_reassignments.refuse
    ),
    ApiKey.OFFSET_DELETE: Route(offset_delete.handle, offset_delete.refuse),
    ApiKey.DESCRIBE_QUORUM: Route(describe_quorum.handle, describe_quorum.refuse),
    ApiKey.DESCRIBE_CLUSTER: Route(describe_cluster.handle, describe_cluster.refuse),
    ApiKey.DESCRIBE_PRODUCERS: Route(describe_producers.handle, describe_producers.refuse),
    ApiKey.CONSUMER_GROUP_HEARTBEAT: Route(
        consumer_group_heartbeat.handle, consumer_group_heartbeat.refuse
    ),
    ApiKey.CONSUMER_GROUP_DESCRIBE: Route(
        consumer_group_describe.handle, consumer_group_describe.refuse
    ),
    ApiKey.LIST_CONFIG_RESOURCES: Route(list_config_resources.handle, list_config_resources.refuse),
    ApiKey.DESCRIBE_TOPIC_PARTITIONS: Route(
        describe_topic_partitions.handle, describe_topic_partitions.refuse
    ),
}


class Dispatcher:
    """Runs handlers for all client sessions of one node."""

    def __init__(
        self,
        broker: Broker,
        *,
        routes: Mapping[int, Route] = ROUTES,
        counters: Counters | None = None,
    ) -> None:
        self.refusals = RefusalLog(counters or Counters())
        self._broker = broker
        self._routes = routes
        self._tasks = Tasks(broker.fail)

    def dispatch(self, call: Call, request: object) -> None:
        """Have `request` handled; `call` ends now or later. Raises AssertionError only."""
        call.request = request
        try:
            outcome = self._routes[call.header.api_key].handle(call, request)
        except Exception as error:  # noqa: BLE001 - the boundary: see the module's table
            self.failed(call, error)
            return
        if isinstance(outcome, Coroutine):
            self._tasks.spawn(self._finish(call, outcome), name="answer")
        elif outcome is not None:
            call.answer(outcome)

    def encode(self, call: Call, response: object) -> Sequence[Payload | bytearray]:
        """Return the bytes of `response`; nothing, with the connection closed, if that fails."""
        try:
            return encode_response(call.header, response)
        except Exception as error:  # noqa: BLE001 - the boundary: see the module's table
            self.failed(call, error)
            return ()

    def failed(self, call: Call, error: BaseException) -> None:
        """Do with `call` what `error` means. Raises AssertionError again."""
        if isinstance(error, AssertionError):
            self._broker.fail(error)
            raise error
        if not isinstance(error, RequestError):
            name = type(error).__name__
            text = f"request failed {ORIGIN} error=%s reason=%s"
            logger.error(text, *origin(call), name, error, exc_info=error)
            call.owner.close("internal error")
        elif not call.ended:
            self._refuse(call, error)

    def stop(self) -> None:
        """Cancel the requests that are being worked on."""
        self._tasks.cancel_all()

    async def _finish(self, call: Call, work: Coroutine[Any, Any, object]) -> None:
        try:
            response = await work
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: see the module's table
            self.failed(call, error)
            return
        if response is not None and not call.ended:
            call.answer(response)
        assert call.ended or call.abandon is not None, "no answer, and nobody to give one"

    def _refuse(self, call: Call, error: RequestError) -> None:
        code = self.refusals.refused(call, error)
        refuse = self._routes[call.header.api_key].refuse
        response = refuse(call.request, call.version, code)
        if response is None:
            call.close(f"acks=0 and {code.name}")
        else:
            call.answer(response)
