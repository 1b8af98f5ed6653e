"""The node's list of groups: what must be here, so that what is missing is noticed.

The file `groups.list` is a frame (frames.py) with magic `TRGL` whose body is the group ids, 20
bytes each, ascending. It is replaced whole, before a new group's first vote and before the files of
a deleted group go.

Does not: know why a group is on this node.
"""

from collections.abc import Iterable

from trimaran.errors import CorruptionError
from trimaran.ids import GROUP_ID_BYTES, GroupId
from trimaran.storage.files import Files
from trimaran.storage.frames import decode_frame, encode_frame, read_whole, replace_whole

GROUP_LIST_PATH = "groups.list"
GROUP_LIST_MAGIC = b"TRGL"


def encode_group_list(groups: Iterable[GroupId]) -> bytes:
    """Return the file's content for `groups`."""
    ordered = sorted(set(groups))
    assert all(len(group) == GROUP_ID_BYTES for group in ordered)
    return encode_frame(GROUP_LIST_MAGIC, b"".join(ordered))


def decode_group_list(content: bytes) -> list[GroupId]:
    """Return the groups in `content`, ascending.

    Raises:
        CorruptionError: it does not pass its check.
    """
    body = decode_frame(GROUP_LIST_PATH, GROUP_LIST_MAGIC, content)
    if len(body) % GROUP_ID_BYTES != 0:
        raise CorruptionError(GROUP_LIST_PATH, 8, f"{len(body)} bytes are not whole group ids")
    return [
        GroupId(body[start : start + GROUP_ID_BYTES])
        for start in range(0, len(body), GROUP_ID_BYTES)
    ]


class GroupList:
    """The list as last written. Belongs to the one thread that adds and removes groups."""

    __slots__ = ("_files", "_groups")

    def __init__(self, files: Files, groups: Iterable[GroupId]) -> None:
        """Hold `groups`, which is what the file says."""
        self._files = files
        self._groups = dict.fromkeys(sorted(groups))

    def add(self, groups: Iterable[GroupId]) -> None:
        """Make `groups` part of the durable list. Raises StorageError; then nothing changed."""
        self._store(dict.fromkeys(sorted([*self._groups, *groups])))

    def remove(self, groups: Iterable[GroupId]) -> None:
        """Take `groups` out of the durable list. Raises StorageError; then nothing changed."""
        gone = dict.fromkeys(groups)
        left = {group: None for group in self._groups if group not in gone}
        if left.keys() != self._groups.keys():
            self._store(left)

    def _store(self, groups: dict[GroupId, None]) -> None:
        replace_whole(self._files, GROUP_LIST_PATH, encode_group_list(groups))
        self._groups = groups


def read_group_list(files: Files) -> list[GroupId]:
    """Return the groups that belong on this node.

    Raises:
        CorruptionError: the list is missing (`format` writes an empty one) or damaged.
    """
    if not files.exists(GROUP_LIST_PATH):
        raise CorruptionError(GROUP_LIST_PATH, 0, "the list of groups is missing")
    return decode_group_list(read_whole(files, GROUP_LIST_PATH))
