"""What a node has seen of itself: `shapes.Observer` over the broker's notes and an hour of samples.

One for each node, made beside the broker. `run` samples every second until it is cancelled; without
it everything but the history works. A failure here ends the sampling, never the node.
Does not: count (broker), or serve (http).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from trimaran import __version__
from trimaran.broker.happenings import HappeningKind
from trimaran.broker.node import Broker
from trimaran.server.lag import LoopLag
from trimaran.server.observing import shapes
from trimaran.server.observing.failovers import FailoverCounts
from trimaran.server.observing.group_lags import GroupLags
from trimaran.server.observing.rings import Rings
from trimaran.server.observing.sampling import Sampler
from trimaran.server.observing.series import info_of
from trimaran.server.observing.telling import Teller
from trimaran.server.observing.warnings import DedupWarnings

INCIDENTS_TOLD_MAX = 100

if TYPE_CHECKING:
    from trimaran.server.observing.exposition import Exposition

log = logging.getLogger(__name__)


class NodeObserver:
    """The observer of one node."""

    def __init__(
        self,
        broker: Broker,
        *,
        lag: LoopLag,
        rings: Rings | None = None,
        now_s: Callable[[], float] = time.perf_counter,
        wall_ms: Callable[[], int],
    ) -> None:
        """`now_s` is monotonic time in seconds; nothing is sampled before `run` or `sample`."""
        self._notes = broker.observations
        self._rings = rings or Rings()
        self._wall_ms = wall_ms
        self._sampled_ms = wall_ms()
        self._group_lags = GroupLags(now_s)
        self._sampler = Sampler(
            broker, lag=lag, rings=self._rings, group_lags=self._group_lags, now_s=now_s
        )
        self._teller = Teller(broker.node_id, lambda: broker.services.image)
        self._warnings = DedupWarnings(self._notes.happenings)
        self._failovers = FailoverCounts(self._notes.incidents)
        self._notes.happenings.watch(self._failovers.happened)
        self._make_exposition = partial(
            _exposition,
            info=(str(broker.node_id), broker.cluster_id, __version__),
            counters=self._notes.counters,
            lag=lag,
            sampler=self._sampler,
            rings=self._rings,
            group_lags=self._group_lags,
            failovers=self._failovers,
        )
        self._exposition: Exposition | None = None
        self._watches: dict[object, tuple[object, object]] = {}

    async def run(self) -> None:
        """Sample every second until cancelled; a failure is logged and ends the sampling."""
        try:
            while True:
                await self.sample()
                await asyncio.sleep(self._sampler.rest_s())
        except asyncio.CancelledError:
            raise
        except Exception:  # what only watches must not end what works
            log.exception("sampling failed effect=no history, old metrics")

    async def sample(self) -> None:
        """Take one sample."""
        await self._sampler.sample()
        self._sampled_ms = self._wall_ms()
        self._notes.timing.check()
        if self._sampler.look is not None:
            self._warnings.look(self._sampler.look.groups)

    # Observer

    def series(self) -> Sequence[shapes.SeriesInfo]:
        """Return what there is."""
        return [info_of(name) for name in self._rings.names]

    def latest(self) -> Mapping[str, float]:
        """Return every series' value of the last second; those without one are left out."""
        rings = self._rings
        found = {name: rings.latest(name) for name in rings.names}
        return {name: value for name, value in found.items() if value is not None}

    def history(self, names: Sequence[str], *, seconds: int, step: int) -> shapes.History:
        """Return the last `seconds`, one value every `step` seconds; unknown names are left out."""
        rings = self._rings
        count = max(1, seconds // step)
        known = dict.fromkeys(rings.names)
        return shapes.History(
            begin_ms=self._sampled_ms - (count - 1) * step * 1000,
            step_ms=step * 1000,
            values={
                name: rings.read(name, count=count, step=step) for name in names if name in known
            },
        )

    def histograms(self, *, window_s: int) -> Sequence[shapes.Histogram]:
        """Return all histograms over the last `window_s` seconds (at most 60); 0: since start."""
        return self._sampler.histograms(window_s)

    def incidents(self) -> Sequence[shapes.Incident]:
        """Return the latest, newest first."""
        newest = self._notes.incidents.all()[::-1][:INCIDENTS_TOLD_MAX]
        return [self._teller.incident(found) for found in newest]

    def happenings(self, after: int) -> Sequence[shapes.Happening]:
        """Return those with a `seq` above `after`, oldest first."""
        return [self._teller.happening(found) for found in self._notes.happenings.since(after)]

    def watch(self, callback: Callable[[], None]) -> object:
        """Call `callback` after each happening and whenever an incident changed."""
        handle = object()
        happened = self._notes.happenings.watch(lambda _: callback())
        self._watches[handle] = (happened, self._notes.incidents.watch(callback))
        return handle

    def unwatch(self, handle: object) -> None:
        """Stop calling. Unknown handles are ignored."""
        happened, changed = self._watches.pop(handle, (None, None))
        self._notes.happenings.unwatch(happened)
        self._notes.incidents.unwatch(changed)

    def note_group_lags(self, found: Mapping[str, shapes.GroupLag], *, held_s: float) -> None:
        """Tell the lag of groups, by id, for `held_s` seconds, or until the next time."""
        self._group_lags.note(found, held_s=held_s)

    def prometheus(self) -> bytes:
        """Return the text of `/metrics`; may be called in a thread."""
        if self._exposition is None:
            self._exposition = self._make_exposition()
        return self._exposition.render()

    def stalled(self, late_s: float) -> None:
        """The event loop stood still for so long."""
        late_ms = late_s * 1000
        text = f"the event loop was {late_ms:.0f} ms late"
        self._notes.happenings.add(HappeningKind.STALL, text=text, duration_ms=late_ms)


def _exposition(**parts: Any) -> "Exposition":  # noqa: ANN401 - those of NodeCollector
    # When somebody asks for the first time: loading it takes long for a node that is to be up.
    from trimaran.server.observing.exposition import Exposition, NodeCollector

    return Exposition(NodeCollector(**parts))
