// A topic's events: over time, as they come or from where one wants, and one of them in full.
import { useEffect, useState } from "react";
import { useConnection } from "../../api/hooks";
import type { Event, TopicAnswer } from "../../api/types";
import { clock, day, moment, plural, whole } from "../../lib/format";
import { useUrl } from "../../lib/url";
import { Chip, Empty, Panel, ProblemNote, Segments } from "../../ui/parts";
import { type Column, Rows } from "../../ui/rows";
import { preview } from "./datum";
import { Timeline } from "./timeline";
import { useBrowse, useTail } from "./sources";
import { Viewer } from "./viewer";

/** A node does not read more of them at once; live events come from any number. */
const READ_MAX = 256;
/** What begins further down the window is brought into sight: an event's panel below the list. */
const SEEN = 0.7;

export const placeOf = (event: Event): string => `${event.partition}:${event.offset}`;

export function Events({ topic }: { topic: TopicAnswer }) {
  const url = useUrl();
  const from = Number(url.query.get("from")) || null;
  const offset = url.query.get("offset");
  const partition = url.query.get("partition");
  const filter = url.query.get("filter");
  const isLive = from === null && offset === null;
  const number = partition === null ? null : Number(partition);
  const tail = useTail(isLive ? topic.name : null, number, filter);
  const isTooWide = !isLive && number === null && topic.partitions > READ_MAX;
  const browse = useBrowse(isLive || isTooWide ? null : topic.name, { partition: number, from, offset, filter });
  const problem = isLive ? tail.problem : browse.problem;
  const { rows, isReading } = isLive ? tail : browse;
  const selected = url.query.get("event");
  useEffect(() => {
    const panel = document.querySelector('[data-panel="event"]');
    if (selected && panel && panel.getBoundingClientRect().top > window.innerHeight * SEEN) panel.scrollIntoView();
  }, [selected]);
  return (
    <>
      <Timeline topic={topic.name} partition={number} partitions={topic.partitions} />
      <div className="grid">
        <Panel title="Events" className={selected ? "events-list" : ""} flush
          note={isLive ? <LiveNote tail={tail} /> : `from ${from !== null ? moment(from) : `offset ${offset}`}`}
          end={
            <>
              {isLive ? (
                <button type="button" className="button small" onClick={tail.toggle}>{tail.isPaused ? "Resume" : "Pause"}</button>
              ) : (
                <button type="button" className="button small" onClick={() => url.set({ from: null, to: null, offset: null })}>Back to live</button>
              )}
            </>
          }>
          <Bar topic={topic} />
          <div className="pad"><ProblemNote problem={problem} again={isLive ? tail.again : browse.next} /></div>
          {isTooWide ? (
            <Empty title="Choose a partition">Of {whole(topic.partitions)} partitions no more than {READ_MAX} are read at once; live events come from all.</Empty>
          ) : rows.length === 0 ? (
            problem === null && <Nothing topic={topic.name} isLive={isLive} isFiltered={filter !== null} isReading={isReading} />
          ) : (
            <Rows label="Events" rows={rows} keyOf={placeOf} columns={COLUMNS} rowHeight={32} maxHeight={480} selected={selected}
              onSelect={(event) => url.set({ event: placeOf(event) === selected ? null : placeOf(event) }, { push: true })} />
          )}
          {!isLive && !isTooWide && (
            <div className="pad row">
              <button type="button" className="button small" disabled={browse.isReading || !browse.more} onClick={browse.next}>Later events</button>
              <span className="dim">{plural(rows.length, "event")}, {whole(browse.scanned)} looked at{browse.more || isReading ? "" : "; this is the end"}</span>
            </div>
          )}
        </Panel>
        {selected && <Viewer topic={topic.name} place={selected} onClose={() => url.set({ event: null })} />}
      </div>
    </>
  );
}

function LiveNote({ tail }: { tail: ReturnType<typeof useTail> }) {
  const isOpen = useConnection().state === "open";
  const word = tail.isPaused ? "paused" : tail.isOver ? "stopped" : isOpen && tail.isRunning ? "live" : "waiting";
  return (
    <>
      <Chip tone={word === "live" ? "good" : word === "stopped" ? "bad" : "warn"}>{word}</Chip>{" "}
      {tail.missed > 0 && `${whole(tail.missed)} more than can be read were passed over`}
    </>
  );
}

const COLUMNS: Column<Event>[] = [
  { name: "Time", width: "92px", show: (row) => <span className="mono dim" title={day(row.timestamp_ms)}>{clock(row.timestamp_ms, true)}</span> },
  { name: "Part.", width: "34px", isNumber: true, show: (row) => row.partition },
  { name: "Offset", width: "72px", isNumber: true, show: (row) => (
      <button type="button" className="bare link" aria-label={`Show event ${placeOf(row)}`}>{row.offset}</button>
    ) },
  { name: "Key", width: "minmax(64px, 0.8fr)", isWide: true, show: (row) => <span className="mono">{preview(row.key)}</span> },
  { name: "Value", width: "minmax(100px, 4fr)", show: (row) => <span className="mono">{preview(row.value)}</span> },
];

function Nothing({ topic, isLive, isFiltered, isReading }: { topic: string; isLive: boolean; isFiltered: boolean; isReading: boolean }) {
  if (isReading) return <Empty title="Reading…" />;
  if (isFiltered) return <Empty title="No event passes the filter">Filters are CEL: <code>value.delay &gt; 60 &amp;&amp; key.startsWith("UA")</code></Empty>;
  return (
    <Empty title={isLive ? "No events yet" : "No events from there on"} command={`echo '{"delay": 12}' | trimaran produce ${topic} --key UA1`}>
      {isLive ? "They appear here as they are stored." : "Later ones may be at the end: go back to live."}
    </Empty>
  );
}

/** Which partition, which offset, which filter. */
function Bar({ topic }: { topic: TopicAnswer }) {
  const url = useUrl();
  const filter = url.query.get("filter") ?? "";
  const [text, setText] = useState(filter);
  useEffect(() => setText(filter), [filter]);
  const partition = url.query.get("partition") ?? "all";
  const few = topic.partitions <= 8;
  const numbers = Array.from({ length: topic.partitions }, (_, at) => String(at));
  const choose = (value: string) => url.set({ partition: value === "all" ? null : value });
  return (
    <div className="events-bar" role="search">
      {few ? (
        <Segments label="Partition" value={partition} onChange={choose} options={[["all", "all"], ...numbers.map((one) => [one, one] as const)]} />
      ) : (
        <select className="input" aria-label="Partition" value={partition} onChange={(event) => choose(event.target.value)}>
          <option value="all">all partitions</option>
          {numbers.map((one) => <option key={one}>{one}</option>)}
        </select>
      )}
      <input className="input grow mono" aria-label="Filter" placeholder='filter, such as  value.delay > 60 && key.startsWith("UA")' value={text}
        onChange={(event) => setText(event.target.value)} onBlur={() => url.set({ filter: text.trim() })} spellCheck={false}
        onKeyDown={(event) => { if (event.key === "Enter") { event.preventDefault(); url.set({ filter: text.trim() }); } }} />
      <input className="input offset" inputMode="numeric" aria-label="From offset" placeholder="from offset" defaultValue={url.query.get("offset") ?? ""} key={url.query.get("offset")}
        onKeyDown={(event) => { if (event.key === "Enter") { event.preventDefault(); url.set({ offset: event.currentTarget.value.replace(/\D/g, ""), from: null, to: null }); } }} />
    </div>
  );
}
