"""What a forked child gives back: ends of pipes by which others see that their owner is gone.

A child of `os.fork`, and so of multiprocessing, has every descriptor of its parent. With such an
end still open in it the owner would seem to live for as long as the child does.
Does not: matter to programs that are started; they inherit only what they are given.
"""

import os
from typing import Protocol
from weakref import WeakKeyDictionary


class Forkable(Protocol):
    """Holds what a child must not hold."""

    def forked(self) -> None:
        """This process is a child of the one that made the object: close what is the parent's."""


_holders: WeakKeyDictionary[Forkable, None] = WeakKeyDictionary()


def tell_children(holder: Forkable) -> None:
    """Have `holder.forked` called in each child that is forked from now on."""
    _holders[holder] = None


def _tell() -> None:
    for holder in list(_holders):
        holder.forked()


os.register_at_fork(after_in_child=_tell)
