"""Which file systems are measured on, and how."""

from pathlib import Path

import pytest

from trimaran.bench import target
from trimaran.bench.errors import BenchError
from trimaran.bench.filesystem import DiskFigures, find_mount, measure_disk

MOUNTS = [
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw",
    "23 22 0:20 / /tmp rw,nosuid - tmpfs tmpfs rw,size=1g",
    "24 22 8:2 / /tmp/disk rw - xfs /dev/sdb rw",
    "25 22 0:21 / /with\\040blank rw - ramfs none rw",
]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/someone", "ext4"),
        ("/tmp", "tmpfs"),
        ("/tmp/x/y", "tmpfs"),
        ("/tmp/disk/data", "xfs"),
        ("/tmpfile", "ext4"),
        ("/with blank/x", "ramfs"),
    ],
)
def test_longest_mount_point_above_a_path_decides(path: str, kind: str) -> None:
    assert find_mount(MOUNTS, path)[0] == kind


def test_directory_without_a_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "file_system", lambda _directory: ("tmpfs", "/tmp"))

    with pytest.raises(BenchError, match="lies on tmpfs"):
        target.refuse_memory_file_system(tmp_path)


def test_disk_is_measured_and_leaves_no_file(tmp_path: Path) -> None:
    found = measure_disk(tmp_path, write_bytes=4 * 1_024 * 1_024)

    assert 0 < found.fdatasync_p50_ms <= found.fdatasync_p99_ms
    assert found.sequential_mb_per_s > 0
    assert list(tmp_path.iterdir()) == []


def test_disk_below_half_a_gigabyte_per_second_limits_the_result() -> None:
    def disk(rate: float) -> DiskFigures:
        return DiskFigures(fdatasync_p50_ms=1.0, fdatasync_p99_ms=2.0, sequential_mb_per_s=rate)

    assert disk(499.9).limited
    assert not disk(500.0).limited
