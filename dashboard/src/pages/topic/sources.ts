// Where the shown events come from: the live tail, or reads from a place in the log.
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { ApiError, read } from "../../api/rest";
import { type Ask, isPassing, live } from "../../api/socket";
import type { Event, Problem } from "../../api/types";
import { type Heights, inReadingOrder, prepended } from "./order";

const KEPT = 500;
const RATE = 250;
const PAGE = 200;

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
      setProblem(null);
      setMissed(message.missed_total);
      if (message.items.length === 0) return;
      setRows((now) => prepended(message.items, now).slice(0, KEPT));
    });
  }, [ask]);
  const toggle = useCallback(() => {
    if (ask === null) return;
    live.pause(ask, !isPaused);
    setIsPaused(!isPaused);
  }, [ask, isPaused]);
  const isOver = problem !== null && !isPassing(problem);
  const again = isOver && ask !== null ? () => live.again(ask) : undefined;
  const isReading = answered !== ask;
  return { rows, missed, problem, isPaused, isReading, isOver, isRunning: !isReading && problem === null, toggle, again };
}

type Place = { partition: number | null; from: number | null; offset: string | null; filter: string | null };

export function useBrowse(topic: string | null, place: Place) {
  const [rows, setRows] = useState<Event[]>([]);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setIsBusy] = useState(false);
  const [scanned, setScanned] = useState(0);
  /** Where each partition goes on, and how high its times were; null before the first answer. */
  const next = useRef<{ places: Record<string, number>; heights: Heights } | null>(null);
  const [more, setMore] = useState(false);
  const { partition, from, offset, filter } = place;
  const asked = JSON.stringify([topic, partition, from, offset, filter]);
  const [answered, setAnswered] = useState("");
  const asks = useRef(0);
  const load = useCallback(
    async () => {
      const ask = ++asks.current; // whatever is on its way is not what is asked for now
      if (topic === null) return;
      const before = next.current;
      setIsBusy(true);
      try {
        const shared = { limit: PAGE, ...(filter && { filter }) };
        const answers = await Promise.all(
          before === null
            ? [read("/v1/topics/{topic}/events", { topic }, { ...shared, ...start(partition, from, offset) })]
            : Object.entries(before.places).map(([number, at]) =>
                read("/v1/topics/{topic}/events", { topic }, { ...shared, partition: number, offset: at }),
              ),
        );
        if (ask !== asks.current) return; // something else is on the page by now
        const ends = Object.assign({}, ...answers.map((one) => one.high_watermarks)) as Record<string, number>;
        const { shown, places, heights } = inReadingOrder(answers, before?.heights ?? {}, PAGE);
        next.current = { places, heights };
        setRows((now) => [...now, ...shown]);
        setScanned((now) => now + answers.reduce((sum, one) => sum + one.scanned, 0));
        setMore(Object.entries(places).some(([number, at]) => at < (ends[number] ?? 0)));
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
    setScanned(0);
    setMore(false);
    setProblem(null);
    setIsBusy(false);
    next.current = null;
    void load();
  }, [load]);
  return { rows, problem, isReading: isBusy || answered !== asked, scanned, more, next: () => void load() };
}

const start = (partition: number | null, from: number | null, offset: string | null) => ({
  ...(partition !== null && { partition: String(partition) }),
  ...(offset !== null ? { offset: Number(offset) } : from !== null && { time: Math.round(from) }),
});
