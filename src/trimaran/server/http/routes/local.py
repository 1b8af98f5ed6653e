"""REST: killing, freezing, cutting off and healing nodes of a cluster on this machine.

There at all only in clusters that `up` or `demo` started, only from this machine, and with the
token of the run.
Does not: find processes (`controls`).
"""

import asyncio
import ipaddress
import signal
from functools import partial
from typing import Any, cast

from trimaran.ids import NodeId
from trimaran.server.http.context import NodeContext
from trimaran.server.http.controls import LocalNodePlace
from trimaran.server.http.endpoint import Asked, Endpoint, Reply, get
from trimaran.server.http.headers import TOKEN_HEADER
from trimaran.server.http.models.base import NoBody, NoQuery
from trimaran.server.http.models.local import (
    Action,
    ActionAnswer,
    CutAnswer,
    LocalAnswer,
    LocalNode,
    LocalState,
)
from trimaran.server.http.problems import (
    CONFLICT,
    FORBIDDEN_TOKEN,
    ProblemError,
    not_found,
    unavailable,
)


async def local(asked: Asked[NoQuery, NoBody]) -> LocalAnswer:
    """Whether nodes can be broken from here, and how they are."""
    node = asked.node
    is_available = node.control.is_available and is_loopback(asked.client)
    places = node.control.places() if is_available else {}
    rows = await asyncio.gather(*(_row(node, place) for place in places.values()))
    return LocalAnswer(available=is_available, nodes=list(rows), served_by=node.node_id)


async def _row(node: NodeContext, place: LocalNodePlace) -> LocalNode:
    state, pid = node.control.state(place)
    if state == "running" and await _is_cut(node, place.node_id):
        state = "cut-off"
    return LocalNode(node_id=place.node_id, pid=pid, state=state)


async def _is_cut(node: NodeContext, number: int) -> bool:
    if number == node.node_id:
        return node.control.is_cut_off
    answer = await node.fellows.get(_id(number), "/v1/local/cut", CutAnswer)
    return answer is not None and answer.is_cut_off


async def cut(asked: Asked[NoQuery, NoBody]) -> CutAnswer:
    """Whether this node is cut off."""
    return CutAnswer(is_cut_off=asked.node.control.is_cut_off, served_by=asked.node.node_id)


async def set_cut(asked: Asked[NoQuery, NoBody], *, is_cut: bool) -> CutAnswer:
    """Cut this node off from peers and Kafka clients, or end that."""
    check(asked)
    if not asked.node.control.set_cut(is_cut=is_cut):
        raise not_found("this node was not started with a network that can be cut")
    return await cut(asked)


async def act(asked: Asked[NoQuery, NoBody], *, action: Action) -> Reply:
    """Do something to a node."""
    check(asked)
    node = asked.node
    node.control.reap()
    place = node.control.places().get(asked.path["node"])
    if place is None:
        raise not_found(f"node {asked.path['node']} in the cluster file")
    state, pid = node.control.state(place)
    if pid is None and action != "heal":
        raise ProblemError(CONFLICT, f"node {place.node_id} is dead: heal starts it again")
    match action:
        case "kill":
            state = _signal(node, pid, signal.SIGKILL, "dead")
        case "freeze":
            state = _signal(node, pid, signal.SIGSTOP, "frozen")
        case "cut-off":
            if state == "frozen":
                raise ProblemError(CONFLICT, f"node {place.node_id} is frozen: heal it first")
            await _cut(asked, place, is_cut=True)
            state = "cut-off"
        case "heal":
            state = await _heal(asked, place, state, pid)
    answer = ActionAnswer(node_id=place.node_id, action=action, state=state, served_by=node.node_id)
    return Reply(body=answer, status=202)


def _signal(
    node: NodeContext, pid: int | None, number: signal.Signals, state: LocalState
) -> LocalState:
    assert pid is not None, "a dead node was refused before"
    node.control.send_signal(pid, number)
    return state


async def _heal(
    asked: Asked[NoQuery, NoBody], place: LocalNodePlace, state: LocalState, pid: int | None
) -> LocalState:
    node = asked.node
    if pid is None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(node.decoding, partial(node.control.start, place))
        except OSError as error:
            raise unavailable(f"node {place.node_id} cannot be started: {error}") from error
    elif state == "frozen":
        node.control.send_signal(pid, signal.SIGCONT)
    if pid is not None:
        await _cut(asked, place, is_cut=False)
    return "running"


async def _cut(asked: Asked[NoQuery, NoBody], place: LocalNodePlace, *, is_cut: bool) -> None:
    """Turn the switch, on whichever node. A node that has none cannot be cut off either."""
    node = asked.node
    if place.node_id == node.node_id:
        is_done = node.control.set_cut(is_cut=is_cut)
    else:
        path = f"/v1/local/{'cut' if is_cut else 'uncut'}"
        headers = {TOKEN_HEADER: asked.headers.get(TOKEN_HEADER, "")}
        is_done = await node.fellows.post(_id(place.node_id), path, headers) == 200
    if is_cut and not is_done:
        raise unavailable(f"node {place.node_id} does not answer")


def check(asked: Asked[Any, Any]) -> None:
    """Return if the asker may. Raises ProblemError (404, 403)."""
    if not asked.node.control.is_available or not is_loopback(asked.client):
        raise not_found("only in clusters that `trimaran up` or `demo` started, from their machine")
    if not asked.node.control.may(asked.headers.get(TOKEN_HEADER, "")):
        raise ProblemError(
            FORBIDDEN_TOKEN, f"send the token of this run as {TOKEN_HEADER}: `up` printed it"
        )


def is_loopback(host: str) -> bool:
    """Whether a client is on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _id(number: int) -> NodeId:
    return NodeId(number)


def _post(path: str, summary: str, handle: Any, answer: Any, status: int) -> Endpoint[Any, Any]:  # noqa: ANN401
    return Endpoint(
        method="POST",
        path=path,
        tag="local cluster",
        summary=summary,
        handle=handle,
        answer=answer,
        query=NoQuery,
        body=NoBody,
        status=status,
        request_headers=("Trimaran-Token",),
    )


ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    get("/v1/local", "local cluster", "Nodes that can be broken from here", local, LocalAnswer),
    get("/v1/local/cut", "local cluster", "Whether this node is cut off", cut, CutAnswer),
    _post("/v1/local/cut", "Cut this node off", partial(set_cut, is_cut=True), CutAnswer, 200),
    _post("/v1/local/uncut", "Connect this node", partial(set_cut, is_cut=False), CutAnswer, 200),
    *(
        _post(
            f"/v1/local/nodes/{{node}}/{action}",
            summary,
            partial(act, action=cast("Action", action)),
            ActionAnswer,
            202,
        )
        for action, summary in (
            ("kill", "Kill a node (SIGKILL)"),
            ("freeze", "Freeze a node (SIGSTOP)"),
            ("cut-off", "Cut a node off from peers and Kafka clients"),
            ("heal", "Start, unfreeze or connect a node again"),
        )
    ),
)
