"""The whole cluster in one thread, on virtual time: same broker, simulated world (design D10).

Reading order: `process` and `loop` (time), `network` and `transport`, `disk`, `files` and
`workers`, `ports` (all of them for one node), `cluster`, `kafka` and `client`, `faults`,
`checkers`, `run`.
"""
