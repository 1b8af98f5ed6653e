"""A client that changes settings of the topic that all share, while they write and read.

Batches are recompressed and stamped anew, and segments end by age, under whatever faults strike. A
change that was acknowledged is in force at the node that said so, and stays; one of unknown outcome
may come into force later. Each value is noted (`History.settings`); what nodes have in the end is
judged by `checkers.settings_kept`.

Does not: set anything that deletes or refuses what the other clients write.
"""

import asyncio
from collections.abc import Sequence

from trimaran.broker.setting_changes import TOPIC_RESOURCE
from trimaran.metadata.topic_settings import TOPIC_SETTINGS
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)
from trimaran.sim.client import retrying
from trimaran.sim.history import History, Outcome, SettingNote
from trimaran.sim.kafka import KafkaClient, KafkaConnection

PAUSE_S = 1.2
CHOSEN = ("compression.type", "message.timestamp.type")
"""Settings that get one of their choices."""
COUNTED = {"segment.ms": 700, "max.message.bytes": 1024 * 1024}
"""Settings that get a number never used before, from this one on."""


class SettingsChanger:
    """Changes one setting after the other until stopped."""

    def __init__(self, client: KafkaClient, history: History) -> None:
        """Change the client's topic; what is changed goes into `history`."""
        self._client = client
        self._history = history
        history.settings_topic = client.topic
        self._stopping = False
        self.changes = 0
        """Which were acknowledged."""

    def stop(self) -> None:
        """Change nothing more."""
        self._stopping = True

    async def run(self) -> None:
        """Change settings until stopped."""
        while not self._stopping:
            await asyncio.sleep(self._client.chance.expovariate(1.0 / PAUSE_S))
            await retrying(self._client, self._change, stop_when=lambda: self._stopping)

    async def _change(self) -> None:
        """Ask any node for a change, then what it has. Raises RetryError, OSError."""
        name, value = self._drawn()
        note = SettingNote(name, value)
        connection = await self._client.connect_to_any()
        try:
            self._history.settings.append(note)
            await self._set(connection, note)
            note.outcome = Outcome.ACKED
            self.changes += 1
            found = await self._ask(connection, name)
        finally:
            connection.close()
        allowed = allowed_values(self._history.settings, name)
        if found not in allowed:
            self._history.oddities.append(
                f"{name} is {found} at {connection.host} after {value} was acknowledged there; "
                f"expected one of {', '.join(allowed)}"
            )

    def _drawn(self) -> tuple[str, str]:
        """Return a setting and its new value."""
        name = self._client.chance.choice((*CHOSEN, *COUNTED))
        if name in COUNTED:
            return name, str(COUNTED[name] + len(self._history.settings))
        return name, self._client.chance.choice(TOPIC_SETTINGS[name].choices)

    async def _set(self, connection: KafkaConnection, note: SettingNote) -> None:
        change = IncrementalAlterableConfig(name=note.name, value=note.value)
        resource = IncrementalAlterConfigsResource(
            resource_type=TOPIC_RESOURCE, resource_name=self._client.topic, configs=[change]
        )
        version = self._client.versions[ApiKey.INCREMENTAL_ALTER_CONFIGS]
        response = await connection.ask(
            ApiKey.INCREMENTAL_ALTER_CONFIGS,
            version,
            IncrementalAlterConfigsRequest(resources=[resource]),
        )
        self._client.check(response.responses[0].error_code)

    async def _ask(self, connection: KafkaConnection, name: str) -> str | None:
        resource = DescribeConfigsResource(
            resource_type=TOPIC_RESOURCE,
            resource_name=self._client.topic,
            configuration_keys=[name],
        )
        version = self._client.versions[ApiKey.DESCRIBE_CONFIGS]
        response = await connection.ask(
            ApiKey.DESCRIBE_CONFIGS, version, DescribeConfigsRequest(resources=[resource])
        )
        self._client.check(response.results[0].error_code)
        value: str | None = response.results[0].configs[0].value
        return value


def allowed_values(notes: Sequence[SettingNote], name: str) -> list[str]:
    """Return what a setting may be: its last acknowledged value, or any of unknown outcome."""
    of_name = [note for note in notes if note.name == name]
    acked = [note.value for note in of_name if note.outcome is Outcome.ACKED]
    unknown = [note.value for note in of_name if note.outcome is not Outcome.ACKED]
    return list(dict.fromkeys([acked[-1] if acked else TOPIC_SETTINGS[name].default, *unknown]))
