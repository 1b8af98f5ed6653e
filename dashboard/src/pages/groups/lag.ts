// A group's lag over time, as this page has seen it since it was opened: nodes keep none.
import { useEffect, useState } from "react";
import type { GroupNews } from "../../api/types";

export type Lag = { x: number[]; events: (number | null)[]; seconds: (number | null)[] };

const KEPT = 900;
const seen = new Map<string, Lag>();
const NOTHING: Lag = { x: [], events: [], seconds: [] };

export function useLag(groupId: string, news: GroupNews | null): Lag {
  const [lag, setLag] = useState<Lag>(seen.get(groupId) ?? NOTHING);
  useEffect(() => {
    if (!news) return;
    const before = seen.get(groupId) ?? NOTHING;
    const at = news.at_ms / 1000;
    if (at <= (before.x.at(-1) ?? 0)) return;
    const next: Lag = {
      x: [...before.x, at].slice(-KEPT),
      events: [...before.events, news.group.lag_events].slice(-KEPT),
      seconds: [...before.seconds, news.group.lag_s].slice(-KEPT),
    };
    seen.set(groupId, next);
    setLag(next);
  }, [groupId, news]);
  return lag;
}
