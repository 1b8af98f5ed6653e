"""What `trimaran verify --dump` prints: every entry of a data directory as a JSON object.

Topic names come from the metadata group in the same directory: its snapshot and the commands after
it. Keys, values and header values are text where that loses nothing, else {"base64": ...}.
Does not: judge; damaged entries are left out here and reported by `verify`.
"""

from collections.abc import Iterator
from typing import Any

from trimaran.cli.output import exact
from trimaran.errors import RequestError
from trimaran.ids import METADATA_GROUP, GroupId, group_name, split_group_id
from trimaran.metadata.commands import decode_command
from trimaran.metadata.image import Image
from trimaran.records.entry import Entry, EntryKind
from trimaran.records.iteration import Record, iterate_records
from trimaran.storage.files import Files
from trimaran.storage.state_files import read_state_file
from trimaran.storage.verify import DataDirectory, DumpedGroup

METADATA_NAME = "(metadata)"


def dumped_entries(
    directory: DataDirectory, files: Files, *, topic: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield every entry, or those of one topic, group by group, in the order of their logs."""
    groups = list(directory.groups())
    image = read_image(directory, files, groups)
    for group in groups:
        place = place_of(image, group.group)
        if topic not in (None, place["topic"]):
            continue
        for entry in directory.entries(group.group):
            yield place | fields_of(entry, committed=entry.index <= group.commit_known)


def read_image(directory: DataDirectory, files: Files, groups: list[DumpedGroup]) -> Image:
    """Return the metadata as this directory knows them, uncommitted commands included."""
    image, above = Image(), 0
    for group in groups:
        if group.group == METADATA_GROUP:
            above = group.boundary.position.index
            for state_file in group.boundary.state_files:
                content = read_state_file(files, METADATA_GROUP, state_file)
                image = Image.decode(content, source=state_file[0])
            for entry in directory.entries(METADATA_GROUP):
                if entry.kind is EntryKind.COMMAND and entry.index > above:
                    image.apply(decode_command(entry.payload), entry.index)
    return image


def place_of(image: Image, group: GroupId) -> dict[str, Any]:
    """Return the topic and partition of a group; the topic is None if its name is gone."""
    topic_id, partition = split_group_id(group)
    topic = image.topic_by_id(topic_id)
    name = METADATA_NAME if group == METADATA_GROUP else topic.name if topic else None
    return {"group": group_name(group), "topic": name, "partition": partition}


def fields_of(entry: Entry, *, committed: bool) -> dict[str, Any]:
    """Return an entry as JSON fields; `committed`: as far as this directory alone can tell."""
    fields: dict[str, Any] = {
        "index": entry.index,
        "term": entry.term,
        "kind": entry.kind.name,
        "offset": entry.offset,
        "offset_count": entry.offset_count,
        "log_time_ms": entry.log_time_ms,
        "bytes": len(entry.payload),
        "committed": committed,
    }
    if entry.kind is EntryKind.RECORDS:
        try:
            fields["records"] = [record_fields(record) for record in iterate_records(entry.payload)]
        except RequestError as error:  # a right checksum around what no decoder understands
            fields["undecodable"] = str(error)
    return fields


def record_fields(record: Record) -> dict[str, Any]:
    """Return one record as JSON fields."""
    return {
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": exact(record.key),
        "value": exact(record.value),
        "headers": [[exact(name), exact(value)] for name, value in record.headers],
    }
