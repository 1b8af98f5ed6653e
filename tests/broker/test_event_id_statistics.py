"""What is told of a window of event ids, before and after its log says how long it is."""

from trimaran.broker.deduplication import EventIds
from trimaran.metadata.topic_settings import effective_settings

ON = {"event.dedup.enable": "true", "event.dedup.window.ms": "60000", "event.dedup.max.ids": "5000"}
NOW_MS = 1_000_000


def test_before_the_first_batch_the_window_is_told_as_it_is_set():
    told = EventIds().statistics(NOW_MS, effective_settings(ON))
    assert (told.ids, told.ids_max) == (0, 5_000)
    assert (told.window_ms, told.effective_window_ms, told.is_cut_short) == (60_000, 60_000, False)


def test_a_window_that_is_switched_off_is_not_told_as_set():
    off = {**ON, "event.dedup.enable": "false"}
    told = EventIds().statistics(NOW_MS, effective_settings(off))
    assert (told.ids, told.ids_max, told.window_ms) == (0, 0, 0)
