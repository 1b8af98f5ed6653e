"""Consumer groups: members, generations, offsets; pure state machines without a clock."""
