INTERFACE: int

def scan_records(
    data: bytes | memoryview, count: int, last_delta: int, header: bytes, /
) -> tuple[bytes, bytes, bytes, bytes] | None: ...
def add(
    groups: list[bytearray], key: int, half: int, split: int, hashes: bytes, number: int, /
) -> None: ...
def find(
    groups: list[bytearray], key: int, half: int, split: int, hashes: bytes, /
) -> list[tuple[int, int]]: ...
def drop_first(
    groups: list[bytearray], key: int, half: int, split: int, hashes: bytes, number: int, /
) -> bool: ...
