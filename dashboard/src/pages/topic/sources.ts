// Where the shown events come from: the live tail, or reads from a place in the log.
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { ApiError, read } from "../../api/rest";
import { type Ask, live } from "../../api/socket";
import type { Event, Problem } from "../../api/types";

const KEPT = 500;
const RATE = 250;
const PAGE = 200;

const newestFirst = (one: Event, other: Event): number =>
  other.timestamp_ms - one.timestamp_ms || other.partition - one.partition || other.offset - one.offset;

export function useTail(topic: string | null, partition: number | null, filter: string | null) {
  const [rows, setRows] = useState<Event[]>([]);
  const [missed, setMissed] = useState(0);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isPaused, setIsPaused] = useState(false);
  const [answered, setAnswered] = useState<Ask | null>(null);
  const ask = useMemo<Ask | null>(
    () =>
      topic === null
        ? null
        : { feed: "tail", topic, rate: RATE, from: "last", last: 100, ...(partition !== null && { partition }), ...(filter && { filter }) },
    [topic, partition, filter],
  );
  useEffect(() => {
    setRows([]);
    setMissed(0);
    setProblem(null);
    setIsPaused(false);
    if (ask === null) return;
    return live.subscribe(ask, (message) => {
      if (message.type === "error") setProblem(message.problem);
      if (message.type !== "events") return;
      setAnswered(ask);
      setMissed(message.missed_total);
      if (message.items.length === 0) return;
      setRows((now) => merged(message.items, now));
    });
  }, [ask]);
  const toggle = useCallback(() => {
    if (ask === null) return;
    live.send(ask, { type: isPaused ? "resume" : "pause" });
    setIsPaused(!isPaused);
  }, [ask, isPaused]);
  return { rows, missed, problem, isPaused, isReading: answered !== ask, toggle };
}

/** Newest first, each once: after a reconnect the last ones come again. */
function merged(fresh: Event[], before: Event[]): Event[] {
  const all = new Map([...before, ...fresh].map((event) => [`${event.partition}:${event.offset}`, event]));
  return [...all.values()].sort(newestFirst).slice(0, KEPT);
}

type Place = { partition: number | null; from: number | null; offset: string | null; filter: string | null };

export function useBrowse(topic: string | null, place: Place) {
  const [rows, setRows] = useState<Event[]>([]);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setIsBusy] = useState(false);
  const [scanned, setScanned] = useState(0);
  const next = useRef<Record<string, number> | null>(null);
  const [more, setMore] = useState(false);
  const { partition, from, offset, filter } = place;
  const asked = JSON.stringify([topic, partition, from, offset, filter]);
  const [answered, setAnswered] = useState("");
  const asks = useRef(0);
  const load = useCallback(
    async (isFirst: boolean) => {
      if (topic === null) return;
      const ask = ++asks.current;
      setIsBusy(true);
      try {
        const shared = { limit: PAGE, ...(filter && { filter }) };
        const places = isFirst ? null : next.current;
        const answers = await Promise.all(
          places === null
            ? [read("/v1/topics/{topic}/events", { topic }, { ...shared, ...start(partition, from, offset) })]
            : Object.entries(places).map(([number, at]) =>
                read("/v1/topics/{topic}/events", { topic }, { ...shared, partition: number, offset: at }),
              ),
        );
        if (ask !== asks.current) return; // something else is on the page by now
        const ends = Object.assign({}, ...answers.map((one) => one.high_watermarks)) as Record<string, number>;
        const found = answers.flatMap((one) => one.items).sort((one, other) => newestFirst(other, one));
        const shown = found.slice(0, PAGE);
        next.current = resumed(Object.assign({}, ...answers.map((one) => one.next)), found.slice(PAGE));
        setRows((before) => (isFirst ? shown : [...before, ...shown]));
        setScanned((before) => (isFirst ? 0 : before) + answers.reduce((sum, one) => sum + one.scanned, 0));
        setMore(Object.entries(next.current).some(([number, at]) => at < (ends[number] ?? 0)));
        setProblem(null);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (ask === asks.current) setProblem(error.problem);
      } finally {
        if (ask === asks.current) {
          setIsBusy(false);
          setAnswered(asked);
        }
      }
    },
    [topic, partition, from, offset, filter, asked],
  );
  useEffect(() => {
    setRows([]);
    void load(true);
  }, [load]);
  return { rows, problem, isReading: isBusy || answered !== asked, scanned, more, next: () => void load(false) };
}

const start = (partition: number | null, from: number | null, offset: string | null) => ({
  ...(partition !== null && { partition: String(partition) }),
  ...(offset !== null ? { offset: Number(offset) } : from !== null && { time: Math.round(from) }),
});

/** Where to go on, if `unread` were fetched but do not fit on this page. */
function resumed(next: Record<string, number>, unread: Event[]): Record<string, number> {
  const found = { ...next };
  for (const event of unread) {
    const number = String(event.partition);
    found[number] = Math.min(found[number] ?? event.offset, event.offset);
  }
  return found;
}
