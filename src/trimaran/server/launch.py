"""How a node was started, and why it may refuse to.

Does not: act on either.
"""

from dataclasses import dataclass

from trimaran.errors import TrimaranError


class StartError(TrimaranError):
    """This node must not start like this; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Who waits for this process, by inherited descriptors; None: nobody."""

    ready_fd: int | None = None
    """Gets one line (`RunningNode`) when the node is ready, then is closed."""
    owner_fd: int | None = None
    """The node stops when this reads end-of-file: its owner is gone."""
