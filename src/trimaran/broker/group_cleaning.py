"""Deletes what nobody wants any more: expired offsets, those of deleted topics, empty groups.

Each coordinator's leader looks at its groups once a minute, a few in a turn of the loop, and has
the deletion agreed on; replicas delete nothing by themselves (design D12).
Does not: decide what is expired (`groups.expiry` does).
"""

import asyncio
from collections.abc import Callable, Sequence

from trimaran.broker.coordinator import Coordinator
from trimaran.broker.live_groups import LiveGroup
from trimaran.errors import RequestError
from trimaran.groups.commands import DeleteGroups
from trimaran.groups.consumer_group import ConsumerGroup
from trimaran.groups.expiry import expired
from trimaran.groups.group import GroupState
from trimaran.ids import TopicId
from trimaran.metadata.image import Image

LOOK_S = 60.0


class GroupCleaning:
    """The cleaning of all coordinators on a node."""

    def __init__(
        self,
        *,
        image: Callable[[], Image],
        coordinators: Callable[[], Sequence[Coordinator]],
        log_time_ms: Callable[[], int],
        retention_ms: int,
    ) -> None:
        """`image` and `coordinators` return what is true now."""
        self._image = image
        self._coordinators = coordinators
        self._log_time_ms = log_time_ms
        self._retention_ms = retention_ms

    async def run(self) -> None:
        """Clean for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            for coordinator in self._coordinators():
                await self.clean(coordinator)

    async def clean(self, coordinator: Coordinator) -> None:
        """Clean the groups of one coordinator, if it is led here."""
        for group_id in list(coordinator.table):
            await asyncio.sleep(0)
            try:
                await self._clean_group(coordinator, group_id)
            except RequestError:
                return  # not the leader any more: the next one cleans

    async def _clean_group(self, coordinator: Coordinator, group_id: str) -> None:
        live = coordinator.live
        group = None if live is None else live.get(group_id)
        if live is None or group is None:
            return
        command = expired(
            coordinator.table,
            group_id,
            topic_name=self._topic_name,
            was_deleted=self._image().was_deleted,
            subscribed=_wanted(group),
            is_idle=group.is_idle and not live.is_storing(group_id),
            now_ms=self._log_time_ms(),
            retention_ms=self._retention_ms,
        )
        if isinstance(command, DeleteGroups):
            await live.delete(group_id)
        elif command is not None:
            await coordinator.execute(command)

    def _topic_name(self, topic_id: TopicId) -> str | None:
        topic = self._image().topic_by_id(topic_id)
        return None if topic is None else topic.name


def _wanted(group: LiveGroup) -> Sequence[str] | None:
    """Return the topics that members want; None while that may change, as in a rebalance."""
    if isinstance(group, ConsumerGroup):
        is_settled = not group.is_empty
    else:
        is_settled = group.state is GroupState.STABLE
    return group.subscribed_topics() if is_settled else None
