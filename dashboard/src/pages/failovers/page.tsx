// Every failover as a strip: where its milliseconds went, against the line of what is allowed.
import { useAnswer } from "../../api/hooks";
import type { Incident } from "../../api/types";
import { clock, day, ms, plural } from "../../lib/format";
import { useUrl } from "../../lib/url";
import { Chip, Empty, Figure, Figures, NodeDot, Panel, Segments } from "../../ui/parts";
import { CAUSES, NAMES, PARTS, partsOf } from "./phases";

const SHOWN = 100;
const ROOM = 1.15;
const LONGEST = 2;
/** Behind this part of the ruler there is no room for a number. */
const LAST_LABEL = 0.9;

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
          <Summary rows={shown} limit={data.limit_ms} isCut={data.items.length === SHOWN} />
          <Strips rows={shown} limit={data.limit_ms} />
        </>
      )}
    </>
  );
}

/** The smallest total that `part` of them do not exceed; null of none. */
function percentile(rows: Incident[], part: number): number | null {
  const totals = rows.map((row) => row.total_ms).filter((value) => value !== null).sort((one, other) => one - other);
  return totals[Math.max(0, Math.ceil(totals.length * part) - 1)] ?? null;
}

type SummaryProps = { rows: Incident[]; limit: number; isCut: boolean };

/** Of the cause that was chosen; there may have been more than are asked for. */
function Summary({ rows, limit, isCut }: SummaryProps) {
  const over = rows.filter((row) => row.over_limit).length;
  const [p50, p99, slowest] = [percentile(rows, 0.5), percentile(rows, 0.99), percentile(rows, 1)];
  const tone = (value: number | null) => (value !== null && value > limit ? "bad" : undefined);
  return (
    <>
      <Figures>
        <Figure label="failovers" fact="incidents" value={rows.length} shown={rows.length} small={isCut ? (rows.length === SHOWN ? "the last" : `of the last ${SHOWN}`) : undefined} />
        <Figure label="p50" fact="p50" value={p50} shown={ms(p50)} tone={tone(p50)} />
        <Figure label="p99" fact="p99" value={p99} shown={ms(p99)} tone={tone(p99)} />
        <Figure label="slowest" shown={ms(slowest)} tone={tone(slowest)} />
        <Figure label={`over ${limit} ms`} fact="over-limit" value={over} shown={over} tone={over ? "bad" : "good"} />
      </Figures>
      <Panel title="All of them on one line" note="a dot each">
        <Dots rows={rows} limit={limit} p50={p50} p99={p99} />
      </Panel>
    </>
  );
}

/** As far as the slowest one, but an outlier must not squeeze the others: it runs off the edge. */
const scaleOf = (rows: Incident[], limit: number): number => {
  const slowest = Math.max(0, ...rows.map((row) => row.total_ms ?? partsOf(row).at(-1)?.to ?? 0));
  return Math.min(Math.max(limit, slowest) * ROOM, limit * LONGEST);
};

type DotsProps = { rows: Incident[]; limit: number; p50: number | null; p99: number | null };

function Dots({ rows, limit, p50, p99 }: DotsProps) {
  const scale = scaleOf(rows, limit);
  const at = (value: number) => `${Math.min(99, (value / scale) * 100)}%`;
  return (
    <div className="dots" role="img" data-dots={rows.length}
      aria-label={`${plural(rows.length, "failover")}: p50 ${ms(p50)}, p99 ${ms(p99)}`}>
      <Ruler scale={scale} limit={limit} />
      {rows.map((row, number) =>
        row.total_ms === null ? null : (
          <i key={row.id} className={row.over_limit ? "over" : ""}
            style={{ left: at(row.total_ms), top: `${22 + (number % 3) * 9}px` }} />
        ),
      )}
      {p50 !== null && <b style={{ left: at(p50) }}>p50</b>}
      {p99 !== null && p99 !== p50 && <b style={{ left: at(p99) }}>p99</b>}
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
        <span key={mark} style={{ left: `${(mark / scale) * 100}%` }}>{mark !== limit && mark / scale < LAST_LABEL && mark}</span>
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
