"""An empty data directory: what `format` makes, of a new cluster or for one that exists.

Does not: mint ids, or open what it made.
"""

from trimaran.errors import StorageError
from trimaran.ids import METADATA_GROUP, GroupId, Term
from trimaran.records.entry import HardState
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import Damage, DamageKind
from trimaran.storage.files import Files
from trimaran.storage.frames import replace_whole
from trimaran.storage.group_list import GROUP_LIST_PATH, encode_group_list
from trimaran.storage.identity import IDENTITY_PATH, Identity, write_identity
from trimaran.storage.journal import JournalSettings, JournalTail, LiveGroup
from trimaran.storage.journal_files import JOURNAL_DIRECTORY, write_range
from trimaran.storage.recovery import new_journal
from trimaran.storage.segment import GROUPS_DIRECTORY, group_directory

FIRST_JOURNAL = JournalSettings(file_bytes=1 << 16)
"""The file that `format` makes is replaced at the first start."""


def format_store(files: Files, identity: Identity, *, joins: bool = False) -> None:
    """Make an empty data directory for `identity`; the last step is what makes it one.

    One that `joins` a cluster which exists begins with the metadata group as a damaged replica:
    what this node held of it is gone. So it has no vote in it until a leader lets it in, and
    founds nothing, however many such disks meet.

    Raises:
        StorageError: the directory is formatted already, or the disk failed.
    """
    if files.exists(IDENTITY_PATH):
        raise StorageError(f"{IDENTITY_PATH}: the directory is formatted already")
    files.make_directory(JOURNAL_DIRECTORY)
    files.make_directory(GROUPS_DIRECTORY)
    groups = (_joining(METADATA_GROUP),) if joins else ()
    for group in groups:
        files.make_directory(group_directory(group.group))
    replace_whole(files, GROUP_LIST_PATH, encode_group_list(group.group for group in groups))
    journal = new_journal(files, identity, FIRST_JOURNAL, JournalTail(0, 0, 0), groups)
    journal.close()
    write_range(files, journal.generation, journal.generation)
    write_identity(files, identity)


def _joining(group: GroupId) -> LiveGroup:
    """Return a group as it is on a disk in the place of one that had it."""
    return LiveGroup(
        group=group,
        hard_state=HardState(term=Term(0), vote=None),
        boundary=Boundary(group=group),
        damage=Damage(
            kind=DamageKind.MISSING_FILES, text="a new disk: what the node held before is gone"
        ),
    )
