// Every failover as a strip: where its milliseconds went, against the line of what is allowed.
import { useAnswer } from "../../api/hooks";
import type { Incident, IncidentList } from "../../api/types";
import { clock, day, ms, plural } from "../../lib/format";
import { useUrl } from "../../lib/url";
import { Chip, Empty, Figure, Figures, NodeDot, Panel, Segments } from "../../ui/parts";
import { CAUSES, NAMES, PARTS, partsOf } from "./phases";

const SHOWN = 100;
const ROOM = 1.15;
const LONGEST = 2;

export function FailoversPage() {
  const { data } = useAnswer("/v1/incidents", {}, { limit: SHOWN });
  const url = useUrl();
  const wanted = url.query.get("cause") ?? "all";
  if (!data) return <Empty title="Looking for failovers…" />;
  const shown = data.items.filter((row) => wanted === "all" || row.cause === wanted);
  const causes = [...new Set(data.items.map((row) => row.cause))].sort();
  return (
    <>
      <div className="head">
        <h1>Failovers</h1>
        <span className="sub">from the last acknowledgement of the old leader to the first of its successor</span>
        {causes.length > 1 && (
          <div className="end">
            <Segments label="Cause" value={wanted} onChange={(cause) => url.set({ cause: cause === "all" ? null : cause })}
              options={[["all", "all"], ...causes.map((cause) => [cause, CAUSES[cause] ?? cause] as const)]} />
          </div>
        )}
      </div>
      {data.items.length === 0 ? (
        <section className="panel">
          <Empty title="No leader was lost yet" command={`curl -X POST ${window.location.origin}/v1/local/nodes/1/kill -H "trimaran-token: TOKEN"`}>
            Kill a node on the Cluster page, or from a terminal with the token in the address that <code>trimaran up</code> printed,
            and watch the others take over.
          </Empty>
        </section>
      ) : (
        <>
          <Summary list={data} />
          <Strips rows={shown} limit={data.limit_ms} />
        </>
      )}
    </>
  );
}

function Summary({ list }: { list: IncidentList }) {
  const over = list.items.filter((row) => row.over_limit).length;
  const slowest = Math.max(0, ...list.items.map((row) => row.total_ms ?? 0));
  const tone = (value: number | null) => (value !== null && value > list.limit_ms ? "bad" : undefined);
  return (
    <>
      <Figures>
        <Figure label="failovers" fact="incidents" value={list.items.length} shown={list.items.length} />
        <Figure label="p50" fact="p50" value={list.p50_ms} shown={ms(list.p50_ms)} tone={tone(list.p50_ms)} />
        <Figure label="p99" fact="p99" value={list.p99_ms} shown={ms(list.p99_ms)} tone={tone(list.p99_ms)} />
        <Figure label="slowest" shown={ms(slowest)} tone={tone(slowest)} />
        <Figure label={`over ${list.limit_ms} ms`} fact="over-limit" value={over} shown={over} tone={over ? "bad" : "good"} />
      </Figures>
      <Panel title="All of them on one line" note="a dot each">
        <Dots list={list} />
      </Panel>
    </>
  );
}

/** As far as the slowest one, but an outlier must not squeeze the others: it runs off the edge. */
const scaleOf = (rows: Incident[], limit: number): number => {
  const slowest = Math.max(0, ...rows.map((row) => row.total_ms ?? partsOf(row).at(-1)?.to ?? 0));
  return Math.min(Math.max(limit, slowest) * ROOM, limit * LONGEST);
};

function Dots({ list }: { list: IncidentList }) {
  const scale = scaleOf(list.items, list.limit_ms);
  const at = (value: number) => `${Math.min(99, (value / scale) * 100)}%`;
  return (
    <div className="dots" role="img" data-dots={list.items.length}
      aria-label={`${plural(list.items.length, "failover")}: p50 ${ms(list.p50_ms)}, p99 ${ms(list.p99_ms)}`}>
      <Ruler scale={scale} limit={list.limit_ms} />
      {list.items.map((row, number) =>
        row.total_ms === null ? null : (
          <i key={row.id} className={row.over_limit ? "over" : ""}
            style={{ left: at(row.total_ms), top: `${22 + (number % 3) * 9}px` }} />
        ),
      )}
      {list.p50_ms !== null && <b style={{ left: at(list.p50_ms) }}>p50</b>}
      {list.p99_ms !== null && list.p99_ms !== list.p50_ms && <b style={{ left: at(list.p99_ms) }}>p99</b>}
    </div>
  );
}

/** Lines at round numbers, and the limit. */
function Ruler({ scale, limit }: { scale: number; limit: number }) {
  const step = [50, 100, 200, 500, 1_000, 2_000, 5_000].find((size) => scale / size <= 9) ?? 10_000;
  const marks = Array.from({ length: Math.floor(scale / step) + 1 }, (_, at) => at * step);
  return (
    <div className="ruler" aria-hidden="true">
      {marks.map((mark) => (
        <span key={mark} style={{ left: `${(mark / scale) * 100}%` }}>{mark !== limit && mark}</span>
      ))}
      <span className="limit" style={{ left: `${(limit / scale) * 100}%` }}>{limit} ms</span>
    </div>
  );
}

function Strips({ rows, limit }: { rows: Incident[]; limit: number }) {
  const scale = scaleOf(rows, limit);
  return (
    <Panel title="One by one" note="newest first"
      end={
        <div className="legend">
          {PARTS.map((part) => (
            <span key={part.name} title={part.text}>
              <i className="swatch" style={{ "--series": `var(${part.colour})` } as React.CSSProperties} />
              {NAMES[part.name]}
            </span>
          ))}
        </div>
      }>
      <div className="strips">
        <div className="strip-ruler"><Ruler scale={scale} limit={limit} /></div>
        {rows.map((row) => (
          <Strip key={row.id} row={row} scale={scale} limit={limit} />
        ))}
        {rows.length === 0 && <p className="dim">None with this cause.</p>}
      </div>
    </Panel>
  );
}

function Strip({ row, scale, limit }: { row: Incident; scale: number; limit: number }) {
  const parts = partsOf(row);
  // What the cluster took; the whole also holds the pause that clients make before they ask again.
  const committed = row.phases.find((phase) => phase.name === "first_commit")?.at_ms;
  const what = row.topic !== null ? `${row.topic}-${row.partition}` : plural(row.groups, "partition");
  return (
    <article className="strip" data-incident={row.id} data-total={row.total_ms ?? ""}>
      <header className="row wrap">
        <span className="mono dim" title={day(row.began_ms)}>{clock(row.began_ms, true)}</span>
        <span className="row lost">
          {row.lost_node === null ? <span className="dim">a leader</span> : <NodeDot node={row.lost_node} />}
          <span className="dim">→</span>
          {row.new_leader === null ? <span className="dim">the others</span> : <NodeDot node={row.new_leader} />}
        </span>
        <span>{what}</span>
        <span className="dim">term {row.old_term} → {row.new_term}</span>
        <Chip>{CAUSES[row.cause] ?? row.cause}</Chip>
        {committed !== undefined && <span className="dim" data-committed={committed}>committed after {ms(committed)}</span>}
        <strong className={row.over_limit ? "bad end-total" : "end-total"}>
          {row.total_ms === null ? "under way" : ms(row.total_ms)}
        </strong>
      </header>
      <div className={`bar ${(row.total_ms ?? 0) > scale ? "beyond" : ""}`} role="img" aria-label={parts.map((part) => `${NAMES[part.name]} ${ms(part.to - part.from)}`).join(", ")}>
        {parts.map((part) => (
          <span key={part.name} data-part={part.name} title={`${part.text}: ${ms(part.to - part.from)}, at ${ms(part.to)}`}
            style={{ left: `${(part.from / scale) * 100}%`, width: `${((part.to - part.from) / scale) * 100}%`, background: `var(${part.colour})` }} />
        ))}
        <i className="limit" style={{ left: `${(limit / scale) * 100}%` }} />
      </div>
      <p className="dim parts">
        {parts.map((part) => (
          <span key={part.name}>{NAMES[part.name]} <b>{ms(part.to - part.from)}</b></span>
        ))}
      </p>
    </article>
  );
}
