"""Shapes: what one may do to the nodes of a cluster on one machine.

Does not: do it.
"""

from typing import Literal

from trimaran.server.http.models.base import Answer

LocalState = Literal["running", "frozen", "cut-off", "dead"]
Action = Literal["kill", "freeze", "cut-off", "heal"]


class LocalNode(Answer, frozen=True, kw_only=True):
    """A node's process."""

    node_id: int
    pid: int | None
    state: LocalState


class LocalAnswer(Answer, frozen=True, kw_only=True):
    """Whether nodes can be broken from here, and how they are."""

    available: bool
    nodes: list[LocalNode]
    served_by: int


class ActionAnswer(Answer, frozen=True, kw_only=True):
    """What is being done."""

    node_id: int
    action: Action
    state: LocalState
    served_by: int


class CutAnswer(Answer, frozen=True, kw_only=True):
    """Whether this node is cut off from peers and Kafka clients."""

    is_cut_off: bool
    served_by: int
