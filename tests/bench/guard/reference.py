"""The loop that the guard's times are divided by: what such code is made of, and nothing of ours.

Calls of methods, small objects with slots, dictionaries, a heap, packing and unpacking of structs,
slices of bytes and a checksum. Frozen: a change of it makes every accepted ratio worthless.
"""

import heapq
import struct
import zlib

ROUNDS = 4_000
LIVE = 1_500
"""Items of 4 KB: like a broker's buffers, more than the nearest caches hold."""
HEADER = struct.Struct(">qiibIhiqqqhii")
BODY = bytes(range(256)) * 16


class Item:
    __slots__ = ("at", "body", "key")

    def __init__(self, key, at, body):
        self.key = key
        self.at = at
        self.body = body

    def size(self):
        return len(self.body) + HEADER.size


class Table:
    def __init__(self):
        self.items = {}
        self.due = []
        self.sum = 0

    def put(self, number):
        header = HEADER.pack(number, 1, 2, 3, number & 0xFFFF, 5, 6, 7, 8, 9, 10, 11, 12)
        fields = HEADER.unpack(header)
        item = Item(fields[0], fields[4], BODY[number % 64 :])
        self.items[item.key] = item
        heapq.heappush(self.due, (item.at, item.key))
        if len(self.due) > LIVE:
            self.take()

    def take(self):
        _, key = heapq.heappop(self.due)
        item = self.items.pop(key)
        self.sum = zlib.crc32(item.body, self.sum) + item.size()


def reference():
    table = Table()
    for number in range(ROUNDS):
        table.put(number)
    return table.sum
