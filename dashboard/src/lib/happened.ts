// What happened, newest first, as the happenings feed tells it; one list for the whole page.
import { useSyncExternalStore } from "react";
import { live } from "../api/socket";
import type { Happening, Incident } from "../api/types";

const KEPT = 400;

let happenings: Happening[] = [];
let incident: Incident | null = null;
const listeners = new Set<() => void>();
let leave: (() => void) | null = null;

const keyOf = (row: Happening): string => `${row.node_id}/${row.seq}/${row.at_ms}`;

function follow(listener: () => void): () => void {
  listeners.add(listener);
  leave ??= live.subscribe({ feed: "happenings", backlog: 200 }, (message) => {
    if (message.type === "happenings") {
      const known = new Set(happenings.map(keyOf));
      const fresh = message.items.filter((row) => !known.has(keyOf(row)));
      happenings = [...fresh, ...happenings].sort((one, other) => other.at_ms - one.at_ms).slice(0, KEPT);
    } else if (message.type === "incident") incident = message.incident;
    else return;
    for (const told of listeners) told();
  });
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      leave?.();
      leave = null;
    }
  };
}

export const useHappenings = (): Happening[] => useSyncExternalStore(follow, () => happenings);
/** The newest news of any failover. */
export const useIncidentNews = (): Incident | null => useSyncExternalStore(follow, () => incident);
