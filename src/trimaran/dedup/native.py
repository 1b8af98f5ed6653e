"""The compiled inner loops, if this installation has them.

`_native.c` is compiled when the package is installed and a C compiler with Python's headers is
there (`build_hook.py`). Without it, or with one that was left over from other sources, `COMPILED`
is None and the Python twins beside each use do the same, some ten times slower.

Does not: decide anything; what is stored never depends on which of the two ran.
"""

from types import ModuleType

INTERFACE = 3
"""What this package's Python side expects of `_native.INTERFACE`."""


def load() -> ModuleType | None:
    """Return the compiled module, None if there is none that fits."""
    try:
        from trimaran.dedup import _native
    except ImportError:
        return None
    return _native if _native.INTERFACE == INTERFACE else None


COMPILED = load()
