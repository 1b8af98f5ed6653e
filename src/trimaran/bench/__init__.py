"""The load generator: offers events on a schedule and tells honestly how long each one took.

Reading order: `schedule` (when each event is due), `accounting` (how long it took), `loads` (four
ways to offer events), `worker` (one producer process), `crew` (several of them, from the parent's
side), `target` (what is measured), then a module for each scenario and `main`.

Does not: need Trimaran at the other end; everything goes through the Kafka protocol.
"""
