"""What a partition remembers in order to store once what was sent twice.

`producers` holds Kafka's idempotence (producer id, epoch, sequences) and `marks` the control entry
that moves a producer's sequence on when nothing of its batch was stored.
Does not: decode records, read clocks, or know who leads.
"""
