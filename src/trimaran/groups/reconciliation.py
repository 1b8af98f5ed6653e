"""How one member comes from what it has to what it is to have (KIP-848, "Reconciliation").

    STABLE      it has its target in the target's epoch
    UNREVOKED   it must first give something up, and say so; until then it stays in its epoch
    UNRELEASED  it is in the target's epoch, but others have not given up all of its target yet

A part is had by one member at a time: what a member is told to give up counts as its own until it
says that it has done so, and only what nobody has is given out.
Does not: compute targets, or know other members.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from trimaran.groups.commands import OffsetKey
from trimaran.groups.parts import NOTHING, Parts
from trimaran.groups.stored import MemberState


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a member stands."""

    epoch: int
    previous_epoch: int
    """Its epoch before the last step, in which its answer may have been lost."""
    state: MemberState = MemberState.STABLE
    assigned: Parts = NOTHING
    revoking: Parts = NOTHING

    def has_reached(self, target_epoch: int) -> bool:
        """Whether nothing is left to do for that target."""
        return self.state is MemberState.STABLE and self.epoch == target_epoch


def advanced(
    progress: Progress,
    *,
    target: Parts,
    target_epoch: int,
    owned: Parts | None,
    is_free: Callable[[OffsetKey], bool],
) -> Progress:
    """Return the next step of a member; the same if it can do none.

    Args:
        progress: where it stands.
        target: what it is to have.
        target_epoch: the group's epoch for which that was computed.
        owned: what it says it has; None: it says nothing.
        is_free: whether no other member has a partition.
    """
    if progress.has_reached(target_epoch):
        return progress
    epoch = progress.epoch
    if progress.state is MemberState.UNREVOKED:
        if _has_any(owned, progress.revoking):
            return progress
        epoch += 1
    kept = progress.assigned & target
    surplus = progress.assigned - target
    if surplus and _has_any(owned, surplus):
        return _step(
            progress, epoch=epoch, state=MemberState.UNREVOKED, assigned=kept, revoking=surplus
        )
    missing = target - kept
    free = frozenset([part for part in sorted(missing) if is_free(part)])
    state = MemberState.STABLE if len(free) == len(missing) else MemberState.UNRELEASED
    assigned = kept | free
    if (progress.state, epoch, progress.assigned) == (state, target_epoch, assigned):
        return progress  # it waits for others
    return _step(progress, epoch=target_epoch, state=state, assigned=assigned, revoking=NOTHING)


def _step(
    progress: Progress, *, epoch: int, state: MemberState, assigned: Parts, revoking: Parts
) -> Progress:
    return replace(
        progress,
        epoch=epoch,
        previous_epoch=progress.epoch,
        state=state,
        assigned=assigned,
        revoking=revoking,
    )


def _has_any(owned: Parts | None, parts: Parts) -> bool:
    """Whether a member may still have some of `parts`: who says nothing may have all."""
    if not parts:
        return False
    return owned is None or not owned.isdisjoint(parts)
