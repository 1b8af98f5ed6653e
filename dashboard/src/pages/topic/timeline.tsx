// Events over time as bars: drag over a stretch to read from there; its edges stay in the address.
import { type KeyboardEvent, type PointerEvent, useRef, useState } from "react";
import { useAnswer } from "../../api/hooks";
import type { EventHistogram } from "../../api/types";
import { clock, day, isTime, plural, seconds, short } from "../../lib/format";
import { useUrl } from "../../lib/url";
import { useWidth } from "../../lib/width";
import { Panel, ProblemNote } from "../../ui/parts";

const HEIGHT = 92;
const FOOT = 16;
const BUCKETS = 90;
/** A node searches each partition's log at each edge; it refuses more than this. */
const SEARCHES_MAX = 4_096;
const RELOAD_MS = 5_000;

type TimelineProps = { topic: string; partition: number | null; partitions: number };

export function Timeline({ topic, partition, partitions }: TimelineProps) {
  const url = useUrl();
  const from = Number(url.query.get("from")) || null;
  const to = Number(url.query.get("to")) || null;
  const buckets = Math.max(1, Math.min(BUCKETS, Math.floor(SEARCHES_MAX / (partition === null ? partitions : 1))));
  const { data: found, problem } = useHistogram(topic, partition, from, to, buckets);
  const isAll = from === null && to === null;
  const pick = (begin: number, end: number) => {
    const first = Math.floor(begin); // a millisecond is the least that a node tells apart
    url.set({ from: first, to: Math.max(first + 1, Math.round(end)), offset: null }, { push: true });
  };
  const total = found?.buckets.reduce((sum, bucket) => sum + bucket.events, 0) ?? 0;
  return (
    <Panel title="Events over time" id="timeline"
      note={found ? `${plural(total, "event")}${found.exact ? "" : " or fewer"} in ${seconds((found.to_ms - found.from_ms) / 1000)}; drag to read from there` : undefined}
      end={!isAll && <button type="button" className="button small" onClick={() => url.set({ from: null, to: null })}>All of it</button>}>
      <ProblemNote problem={problem} />
      <Chart found={found} onPick={pick} />
    </Panel>
  );
}

function Chart({ found, onPick }: { found: EventHistogram | null; onPick: (from: number, to: number) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box);
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const buckets = found?.buckets ?? [];
  const high = Math.max(1, ...buckets.map((bucket) => bucket.events));
  const step = width / Math.max(buckets.length, 1);
  const place = (event: PointerEvent) => Math.min(width, Math.max(0, event.clientX - (box.current?.getBoundingClientRect().left ?? 0)));
  const timeAt = (x: number): number => (found ? found.from_ms + (x / Math.max(width, 1)) * (found.to_ms - found.from_ms) : 0);
  const finish = () => {
    if (drag && found) {
      const [left, right] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)];
      if (right - left >= 4) onPick(timeAt(left), timeAt(right));
      else {
        const bucket = buckets[Math.floor(left / step)];
        if (bucket) onPick(bucket.at_ms, bucket.at_ms + found.step_ms);
      }
    }
    setDrag(null);
  };
  const steer = (event: KeyboardEvent) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (move !== undefined) {
      event.preventDefault();
      setAt((now) => Math.min(buckets.length - 1, Math.max(0, (now ?? buckets.length) + move)));
    } else if (event.key === "Enter" && at !== null && found) onPick(buckets[at]?.at_ms ?? 0, (buckets[at]?.at_ms ?? 0) + found.step_ms);
  };
  const shown = at === null ? null : (buckets[at] ?? null);
  return (
    <div ref={box} className="timeline" style={{ height: HEIGHT }} tabIndex={0} role="slider" onKeyDown={steer} data-buckets={buckets.length}
      aria-label="Moment to read from: arrow keys, then Enter" aria-valuemin={0} aria-valuemax={Math.max(buckets.length - 1, 0)} aria-valuenow={at ?? Math.max(buckets.length - 1, 0)}
      aria-valuetext={shown ? `${clock(shown.at_ms)}, ${plural(shown.events, "event")}` : "live"}
      onPointerDown={(event) => { event.currentTarget.setPointerCapture(event.pointerId); setDrag({ from: place(event), to: place(event) }); }}
      onPointerMove={(event) => { setAt(Math.min(buckets.length - 1, Math.floor(place(event) / step))); if (drag) setDrag({ ...drag, to: place(event) }); }}
      onPointerUp={finish} onPointerLeave={() => setAt(null)} onPointerCancel={() => setDrag(null)}>
      <svg width={width} height={HEIGHT} aria-hidden="true">
        {buckets.map((bucket, number) => {
          const height = bucket.events === 0 ? 0 : Math.max(1.5, (bucket.events / high) * (HEIGHT - FOOT - 14));
          return <rect key={bucket.at_ms} x={number * step + 0.5} width={Math.max(1, step - 1.5)} y={HEIGHT - FOOT - height} height={height}
            rx="1.5" fill="var(--accent)" opacity={number === at ? 1 : 0.65} data-events={bucket.events} />;
        })}
        <line x1="0" x2={width} y1={HEIGHT - FOOT} y2={HEIGHT - FOOT} stroke="var(--line-2)" />
        {drag && <rect x={Math.min(drag.from, drag.to)} width={Math.abs(drag.to - drag.from)} y="0" height={HEIGHT - FOOT} fill="var(--accent)" opacity="0.15" />}
        {found && <Scale found={found} width={width} />}
        {shown && (
          <text x={Math.min(width - 4, Math.max(4, ((at ?? 0) + 0.5) * step))} y="9" className="timeline-text"
            textAnchor={(at ?? 0) > buckets.length / 2 ? "end" : "start"}>{clock(shown.at_ms)} · {short(shown.events)}</text>
        )}
      </svg>
    </div>
  );
}

function Scale({ found, width }: { found: EventHistogram; width: number }) {
  const marks = width < 500 ? 2 : 5;
  const isLong = found.to_ms - found.from_ms > 86_400_000;
  return Array.from({ length: marks + 1 }, (_, at) => {
    const time = found.from_ms + (at / marks) * (found.to_ms - found.from_ms);
    const anchor = at === 0 ? "start" : at === marks ? "end" : "middle";
    return (
      <text key={at} x={(at / marks) * width} y={HEIGHT - 3} textAnchor={anchor} className="timeline-text">
        {isLong && isTime(time) ? `${day(time).slice(5)} ${clock(time).slice(0, 5)}` : clock(time)}
      </text>
    );
  });
}

/** What is searched for in each partition, for each bar: not more often than every few seconds. */
function useHistogram(topic: string, partition: number | null, from: number | null, to: number | null, buckets: number) {
  const query = { buckets, ...(partition !== null && { partition }), ...(from !== null && { from_ms: from }), ...(to !== null && { to_ms: to }) };
  return useAnswer("/v1/topics/{topic}/histogram", { topic }, query, RELOAD_MS);
}
