// In which order events stand: as they came in the tail, by time where one reads through the log.
import type { Event, EventList } from "../../api/types";

/** The latest time so far, by partition. */
export type Heights = Record<string, number>;

const keyOf = (event: Event): string => `${event.partition}:${event.offset}`;

const newestFirst = (one: Event, other: Event): number =>
  other.timestamp_ms - one.timestamp_ms || other.partition - one.partition || other.offset - one.offset;

/** What came last stands first, however old its time; after a reconnect the last ones come again. */
export function prepended(fresh: readonly Event[], before: readonly Event[]): Event[] {
  const known = new Set(before.map(keyOf));
  return [...fresh.filter((event) => !known.has(keyOf(event))).sort(newestFirst), ...before];
}

/**
 * The first `limit` of what several reads found, and where each partition goes on behind them.
 *
 * Clients' times may go back. Such an event takes the place of the latest before it, as in the node's
 * own answers: so a partition's events stay in the order of their offsets, and what does not fit on
 * this page is all that a partition has behind it.
 */
export function inReadingOrder(answers: readonly EventList[], before: Heights, limit: number) {
  const heights: Heights = { ...before };
  const rows = answers.flatMap((answer) => answer.items).map((event) => {
    const height = Math.max(heights[event.partition] ?? Number.NEGATIVE_INFINITY, event.timestamp_ms);
    heights[event.partition] = height;
    return { event, height };
  });
  rows.sort((one, other) =>
    one.height - other.height || one.event.partition - other.event.partition || one.event.offset - other.event.offset);
  const [page, rest] = [rows.slice(0, limit), rows.slice(limit)];
  const places: Record<string, number> = Object.assign({}, ...answers.map((answer) => answer.next));
  for (const { event } of rest.reverse()) places[event.partition] = event.offset;
  const reached = Object.fromEntries(page.map(({ event, height }) => [event.partition, height]));
  return { shown: page.map(({ event }) => event), places, heights: { ...before, ...reached } as Heights };
}
