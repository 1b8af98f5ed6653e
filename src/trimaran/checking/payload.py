"""Values that say who sent them and prove that they are whole.

    checksum  sender      number  fill
    1f0c9a3e  producer-7  42      ..........

One space between the parts: CRC-32 of all that follows it, in eight hex digits; who sent it, a name
without spaces; the how manieth of that sender it is; anything.

Does not: make values unique (sender and number do), or know records, keys, headers.
"""

from typing import NamedTuple
from zlib import crc32

_CHECKSUM_DIGITS = 8


class Payload(NamedTuple):
    """What a whole value says of itself."""

    sender: str
    number: int


def make_value(sender: str, number: int, fill: bytes = b"") -> bytes:
    """Return the value of a sender's record `number`; `fill` pads it to any size."""
    assert sender
    assert " " not in sender
    assert number >= 0
    content = b"%s %d %s" % (sender.encode(), number, fill)
    return b"%08x %s" % (crc32(content), content)


def parse_value(value: bytes) -> Payload | None:
    """Return who sent `value`; None if it is damaged, or no value of `make_value`."""
    checksum, _, content = value.partition(b" ")
    sender, _, rest = content.partition(b" ")
    number, space, _ = rest.partition(b" ")
    if len(checksum) != _CHECKSUM_DIGITS or checksum != b"%08x" % crc32(content):
        return None
    if not sender or not number.isdigit() or not space:
        return None
    return Payload(sender.decode(errors="backslashreplace"), int(number))
