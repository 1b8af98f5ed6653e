// The API as React sees it: live answers, feeds, and single requests.
import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { ApiError, type Params, pathOf } from "./rest";
import { type Ask, isPassing, live } from "./socket";
import type { FromNode, Problem, Reads } from "./types";

/** `again` asks anew for what ended with a problem; what passes is asked for by itself. */
export type Told<T> = { data: T | null; problem: Problem | null; atMs: number; again: () => void };

const NOTHING = { data: null, problem: null, atMs: 0 };
const STALE_MS = 2_000;

/** Follow a feed whose newest message says everything; null follows nothing. */
export function useFeed<T extends FromNode>(ask: Ask | null): Told<T> {
  const key = ask === null ? null : JSON.stringify(ask);
  const [told, setTold] = useState<Omit<Told<T>, "again"> & { key: string | null }>({ ...NOTHING, key });
  useEffect(() => {
    if (key === null) return;
    return live.subscribe(JSON.parse(key) as Ask, (message) => {
      if (message.type === "error") setTold((now) => ended(now, message.problem, key));
      else if ("at_ms" in message)
        setTold({ data: message as T, problem: null, atMs: message.at_ms, key });
    });
  }, [key]);
  const again = useCallback(() => key !== null && live.again(JSON.parse(key) as Ask), [key]);
  return useMemo(() => ({ ...(told.key === key ? told : NOTHING), again }), [told, key, again]);
}

/** What was told stays if the problem is one that passes. */
function ended<T extends { key: string | null }>(now: T, problem: Problem, key: string) {
  return isPassing(problem) && now.key === key ? { ...now, problem } : { ...NOTHING, problem, key };
}

/** Follow what a GET answers. */
export function useAnswer<P extends keyof Reads>(
  path: P | null,
  params: Params = {},
  query: Reads[P]["query"] = {} as Reads[P]["query"],
  intervalMs = 1_000,
): Told<Reads[P]["answer"]> {
  const target = path === null ? null : pathOf(path, params, query);
  const ask: Ask | null =
    target === null ? null : { feed: "answer", path: target, interval_ms: intervalMs };
  const told = useFeed<Extract<FromNode, { type: "answer" }>>(ask);
  return useMemo(
    () => ({ ...told, data: (told.data?.body ?? null) as Reads[P]["answer"] | null }),
    [told],
  );
}

export function useConnection() {
  return useSyncExternalStore(live.onConnection, () => live.connection);
}

/** Of when what is shown is, once no node was heard for more than a moment; else null. */
export function useStale(): number | null {
  const { lostAtMs } = useConnection();
  const [isStale, setIsStale] = useState(false);
  useEffect(() => {
    setIsStale(false);
    if (lostAtMs === null) return;
    const timer = window.setTimeout(() => setIsStale(true), STALE_MS);
    return () => window.clearTimeout(timer);
  }, [lostAtMs]);
  return isStale ? lostAtMs : null;
}

export type Doing = { isBusy: boolean; problem: Problem | null };

/** Run requests one at a time, and keep what went wrong with the last one. */
export function useDoing(): [Doing, (work: () => Promise<void>) => Promise<void>] {
  const [doing, setDoing] = useState<Doing>({ isBusy: false, problem: null });
  const isBusy = useRef(false);
  const run = useCallback(async (work: () => Promise<void>) => {
    if (isBusy.current) return;
    isBusy.current = true;
    setDoing({ isBusy: true, problem: null });
    try {
      await work();
      setDoing({ isBusy: false, problem: null });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setDoing({ isBusy: false, problem: error.problem });
    } finally {
      isBusy.current = false;
    }
  }, []);
  return [doing, run];
}
