from collections.abc import Sequence

from trimaran.storage.files import Buffer

INTERFACE: int

class Lane:
    def fileno(self) -> int: ...
    def submit(
        self,
        descriptor: int,
        position: int,
        buffers: Sequence[Buffer],
        uncache_start: int,
        uncache_bytes: int,
        /,
    ) -> None: ...
    def take(self) -> tuple[int, int, float, float] | None: ...
    def close(self, timeout_s: float, /) -> bool: ...
