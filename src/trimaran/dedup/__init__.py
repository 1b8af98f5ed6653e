"""What a partition remembers in order to store once what was sent twice.

`producers` holds Kafka's idempotence (producer id, epoch, sequences) and `marks` the control entry
that moves a producer's sequence on when nothing of its batch was stored. The others are event ids:
`event_ids` hashes and packs them, `id_scan` finds them in records, `id_judging` decides what a
batch becomes, and `id_window` remembers them with `id_columns`, `id_lookup` and `id_pieces`.
Does not: read clocks, or know who leads.
"""
