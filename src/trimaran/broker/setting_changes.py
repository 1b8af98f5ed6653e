"""Changing the settings of a topic or of nodes: what AlterConfigs and its sibling share.

A change is judged against what is set now, put into one command, and judged again when that is
applied. Does not: know which settings there are (metadata does), or Kafka's messages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trimaran.broker.api import Broker
from trimaran.broker.setting_values import find_node, find_topic
from trimaran.broker.topic_creation import run_command
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import NodeId
from trimaran.metadata.commands import AlterNodeSettings, AlterTopicSettings
from trimaran.metadata.node_settings import ALL_NODES, NODE_SETTINGS, check_node_settings
from trimaran.metadata.settings import Table
from trimaran.metadata.topic_settings import TOPIC_SETTINGS, check_topic_settings
from trimaran.metadata.topology import Topic

TOPIC_RESOURCE = 2
NODE_RESOURCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingChanges:
    """Settings to set, and settings to put back to their defaults."""

    set: dict[str, str]
    unset: tuple[str, ...] = ()

    def applied_to(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return `own` with these changes."""
        kept = {name: text for name, text in own.items() if name not in self.unset}
        return {**kept, **self.set}


Changing = Callable[[Mapping[str, str], Table], SettingChanges]
"""(what is set now, the table) to what is to change. Raises RequestError."""


async def change_settings(
    broker: Broker, resource_type: int, name: str, changing: Changing, *, validate_only: bool
) -> None:
    """Change the settings of a topic, a node, or (an empty broker name) all nodes.

    Raises:
        RequestError: UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION, INVALID_CONFIG,
            INVALID_REQUEST, REQUEST_TIMED_OUT (outcome unknown).
    """
    if resource_type == TOPIC_RESOURCE:
        topic = _find_changeable(broker, name)
        changes = changing(topic.settings, TOPIC_SETTINGS)
        settings = changes.applied_to(topic.settings)
        check_topic_settings(settings, replication_factor=topic.replication_factor)
        if not validate_only:
            command = AlterTopicSettings(
                topic_id=topic.topic_id, set=changes.set, unset=changes.unset
            )
            await run_command(broker, command)
        return
    if resource_type != NODE_RESOURCE:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"resource type: expected {TOPIC_RESOURCE} (topic) or {NODE_RESOURCE} (broker), "
            f"found {resource_type}",
        )
    node_id = NodeId(ALL_NODES) if name == "" else find_node(broker, name)
    own = broker.image.own_node_settings(node_id)
    changes = changing(own, NODE_SETTINGS)
    try:
        check_node_settings(changes.applied_to(own))
    except RequestError as error:  # Kafka's code for what a node cannot be set to
        raise RequestError(ErrorCode.INVALID_REQUEST, str(error)) from error
    if not validate_only:
        await run_command(
            broker, AlterNodeSettings(node_id=node_id, set=changes.set, unset=changes.unset)
        )


def _find_changeable(broker: Broker, name: str) -> Topic:
    if name == "":
        raise RequestError(ErrorCode.INVALID_REQUEST, "topic: there are no settings for all topics")
    return broker.image.changeable(find_topic(broker, name).topic_id)
