"""What waits for an append, and what is left of it afterwards."""

import weakref

from trimaran.broker.partition import PendingAppend
from trimaran.ids import Index, Offset, Term


class Waiter:
    """Stands for a request with all its batches."""

    def __init__(self, pending):
        self.pending = pending
        self.was_told = False
        pending.on_done(self.done)

    def done(self):
        self.was_told = True


def test_a_settled_append_lets_go_of_the_request_that_waited():
    """Else both refer to each other, and the batches stay until a collection of all memory."""
    waiter = Waiter(PendingAppend(Offset(0), Index(1), Term(1)))
    gone = weakref.ref(waiter)

    waiter.pending.finish(None)
    told = waiter.was_told
    del waiter

    assert told
    assert gone() is None
