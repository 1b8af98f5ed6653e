"""Requests of every API and version with any values in their fields, some of which make sense.

Numbers are mostly small or at a limit of their type; names, topic ids, group and member ids are
known ones, also those that answers told, or odd ones; batches are whole or have one bit flipped.
"""

import struct
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Union, get_args, get_origin, get_type_hints

from trimaran.protocol import messages
from trimaran.protocol.api import APIS
from trimaran.protocol.client_codec import encode_request
from trimaran.protocol.codec import RequestHeader
from trimaran.records.batch import Codec
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record

SMALL = [-2, -1, 0, 0, 1, 1, 2, 3, 5, 17, 100]
AT_A_LIMIT = [1_000, 60_000, 2**15 - 1, -(2**15), 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)]
FLOATS = [0.0, 1.5, -1.0, float("nan"), float("inf")]
NAMES = ["events", "topic", "group", "member", "__consumer_offsets", "consumer", "range", "uniform"]
SETTINGS = ["retention.ms", "cleanup.policy", "compact", "segment.bytes", "1", "0", "-1"]
ODD = ["", "/", "..", "*", "a\0b", "ü", "x" * 300]
LEARNT = ("name", "topic_id", "group_id", "member_id")
LEARNT_MAX = 60
SUBSCRIPTION = b"\0\1\0\0\0\1\0\6events\xff\xff\xff\xff\0\0\0\0"
RECORDS = [Record(key=b"key", value=b"value")]


class AnyRequest:
    """Makes requests from a source of chance, and learns from answers."""

    def __init__(self, chance):
        self.chance = chance
        self.texts = [*NAMES, *SETTINGS, *ODD]
        self.ids = [bytes(16)]
        self.batches = [bytes(build_batch(RECORDS, codec=codec)) for codec in Codec]

    def draw(self):
        """Return an API, a version and a request that can be written in it."""
        while True:
            api = self.chance.choice(list(APIS.values()))
            version = self.chance.randint(api.lowest, api.max_version)
            request = self._value(getattr(messages, f"{api.name}Request"))
            try:
                encode_request(RequestHeader(api.key, version, 1, "client"), request)
            except (struct.error, ValueError, AssertionError):
                continue  # a number too large for its field, a null that this version does not know
            return api, version, request

    def learn(self, answer):
        """Use names and ids of an answer from now on."""
        if isinstance(answer, list | tuple):
            for one in answer:
                self.learn(one)
        elif is_dataclass(answer):
            for field in fields(answer):
                value = getattr(answer, field.name)
                if field.name in LEARNT and value:
                    known = self.texts if isinstance(value, str) else self.ids
                    if value not in known and len(known) < LEARNT_MAX:
                        known.append(value)
                self.learn(value)

    def _value(self, hint):
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in (UnionType, Union):
            return self._optional(arguments)
        if origin is not None and issubclass(origin, Sequence):
            return self._list(arguments[0])
        if is_dataclass(hint):
            hints = get_type_hints(hint)
            return hint(**{field.name: self._value(hints[field.name]) for field in fields(hint)})
        return self._plain(hint)

    def _optional(self, arguments):
        if NoneType in arguments and self.chance.random() < 0.25:
            return None
        return self._value(next(one for one in arguments if one is not NoneType))

    def _list(self, hint):
        found = [self._value(hint) for _ in range(self.chance.choice((0, 1, 1, 1, 2, 3)))]
        if self.chance.random() < 0.1:
            found += found[:1]
        return found

    def _plain(self, hint):
        chance = self.chance
        if hint is bool:
            return chance.random() < 0.5
        if hint is str:
            return chance.choice(self.texts)
        if hint is float:
            return chance.choice(FLOATS)
        if hint is bytes:
            return chance.choice([b"", b"x", SUBSCRIPTION, chance.randbytes(40)])
        if hint is memoryview:
            return memoryview(self._batch())
        if getattr(hint, "__name__", "") == "TopicId":
            return chance.choice(self.ids)
        return chance.choice(AT_A_LIMIT if chance.random() < 0.15 else SMALL)

    def _batch(self):
        batch = bytearray(self.chance.choice(self.batches))
        if self.chance.random() < 0.3:
            batch[self.chance.randrange(len(batch))] ^= 1 << self.chance.randrange(8)
        return bytes(batch)
