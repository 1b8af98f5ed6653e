"""The consensus core: pure functions of state and event that return what to do.

    node         one member: every event, in one page of control flow
    election  replication  install  reads  transfer    the rules, one mechanism per module
    roles        a member's state and its ways from role to role
    membership  ready  durability  log            who, the contract with the driver, disk, entries
    progress  quorum  messages                    a follower as its leader sees it; agreement; words

An upper row may import a lower one, never the other way round; modules in a row are strangers.
Source of the rules: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm"
(paper), and Ongaro, "Consensus: Bridging Theory and Practice" (thesis). docs/raft-rules.md says
which test holds which rule.

Does not: know time, chance, network, disk, or what an entry means.
"""
