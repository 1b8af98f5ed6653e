"""What a partition's log says about how it is stored: settings, and what is to be compacted.

Committed SETTINGS and COMPACTION entries change it, on every replica at the same entry; the state
files of a flush hold it as of the last entry flushed.
Does not: decide (retention, compaction), or do what was decided.
"""

from collections.abc import Sequence

from trimaran.errors import CorruptionError, ProtocolError
from trimaran.ids import Index
from trimaran.records.checksum import crc32c
from trimaran.records.control import (
    Compaction,
    StoredSettings,
    decode_compaction,
    decode_settings,
    encode_settings,
    stored_settings_of,
)
from trimaran.records.entry import Entry, EntryKind
from trimaran.storage.boundary import StateFile

SETTINGS_FILE = "settings"
COMPACTION_FILE = "compaction"


class StoredRules:
    """The rules of one partition on this node."""

    __slots__ = ("_compaction_file", "_flushed_settings", "compaction", "settings")

    def __init__(self) -> None:
        """Begin with all defaults, and nothing to compact."""
        self.settings = StoredSettings()
        """In force: what the last committed SETTINGS entry says."""
        self.compaction: Compaction | None = None
        """What the last committed COMPACTION entry says."""
        self._flushed_settings = self.settings
        self._compaction_file: tuple[StateFile, bytes] | None = None

    def restore(self, file: StateFile, content: bytes) -> bool:
        """Take what a state file says, as of the boundary; False if it is of something else.

        Raises:
            CorruptionError: it is not what its name says.
        """
        if file[0].startswith(SETTINGS_FILE + "-"):
            self.settings = stored_settings_of(content, source=file[0])
            self._flushed_settings = self.settings
            return True
        if file[0].startswith(COMPACTION_FILE + "-"):
            try:
                self.compaction = decode_compaction(content)
            except ProtocolError as error:
                raise CorruptionError(file[0], 0, str(error)) from error
            self._compaction_file = (file, content)
            return True
        return False

    def decided(self, entry: Entry) -> None:
        """Apply a committed control entry, if it is one of these."""
        if entry.kind is EntryKind.SETTINGS:
            self.settings = decode_settings(entry.payload)
        elif entry.kind is EntryKind.COMPACTION:
            found = decode_compaction(entry.payload)
            if self.compaction is None or found.generation > self.compaction.generation:
                self.compaction = found

    def flushed(self, entries: Sequence[Entry], index: Index) -> dict[str, bytes | StateFile]:
        """Note that `entries`, up to `index`, go to the segments; return the state files."""
        states: dict[str, bytes | StateFile] = {}
        for entry in entries:
            if entry.kind is EntryKind.SETTINGS:
                self._flushed_settings = decode_settings(entry.payload)
            elif entry.kind is EntryKind.COMPACTION:
                content = bytes(entry.payload)
                name = f"{COMPACTION_FILE}-{index}"
                self._compaction_file = ((name, len(content), crc32c(content)), content)
                states[COMPACTION_FILE] = content
        if self._flushed_settings != StoredSettings():
            states[SETTINGS_FILE] = encode_settings(self._flushed_settings)
        if self._compaction_file is not None and COMPACTION_FILE not in states:
            states[COMPACTION_FILE] = self._compaction_file[0]
        return states
