// All topics: how much comes in, how big they are, who leads them, and who is behind.
import { useState } from "react";
import { useAnswer, useDoing } from "../../api/hooks";
import { write } from "../../api/rest";
import type { Topic } from "../../api/types";
import { bytes, plural, seconds, short, whole } from "../../lib/format";
import { nodeColour } from "../../lib/theme";
import { navigate, useUrl } from "../../lib/url";
import { Chip, Empty, Fact, Link, Panel, ProblemNote, Unseen } from "../../ui/parts";
import { type Column, Rows } from "../../ui/rows";
import { Spark } from "../../ui/spark";

const MANY = 100;
const SHOWN = 1_000;

export function TopicsPage() {
  const url = useUrl();
  const search = url.query.get("search") ?? "";
  const [isMany, setIsMany] = useState(false);
  const { data } = useAnswer("/v1/topics", {}, { limit: SHOWN, search }, isMany ? 4_000 : 1_000);
  if (data && data.items.length > MANY !== isMany) setIsMany(!isMany);
  const showsInternal = url.query.get("internal") === "yes";
  const rows = (data?.items ?? []).filter((topic) => showsInternal || !topic.is_internal);
  const partitions = rows.reduce((sum, topic) => sum + topic.partitions, 0);
  return (
    <>
      <div className="head">
        <h1>Topics</h1>
        {data && <span className="sub">{plural(rows.length, "topic")}, {plural(partitions, "partition")}<Unseen shown={data.items.length} total={data.total} /></span>}
        <div className="end">
          <input className="input" type="search" placeholder="Find a topic" aria-label="Find a topic" value={search}
            onChange={(event) => url.set({ search: event.target.value })} />
          <label className="row">
            <input type="checkbox" checked={showsInternal} onChange={(event) => url.set({ internal: event.target.checked ? "yes" : null })} />
            internal
          </label>
        </div>
      </div>
      <section className="panel" aria-label="Topics">
        {data && rows.length === 0 ? (
          <Empty title={search ? `No topic's name contains “${search}”` : "No topics yet"} command="trimaran topic create flights --partitions 4">
            Producing to a topic creates it, too; or make one below.
          </Empty>
        ) : (
          <Rows label="Topics" rows={rows} keyOf={(row) => row.name} columns={COLUMNS} rowHeight={46} />
        )}
      </section>
      <NewTopic />
    </>
  );
}

const COLUMNS: Column<Topic>[] = [
  {
    name: "Topic", width: "minmax(90px, 2fr)",
    show: (row) => (
      <span className="row">
        <Link to={`/topics/${encodeURIComponent(row.name)}`} className="name text cut" data-topic={row.name}>{row.name}</Link>
        {row.dedup && <span className="desk"><Chip>dedup</Chip></span>}
      </span>
    ),
  },
  { name: "Last minute", width: "104px", isWide: true, show: (row) => <Spark values={row.rate} label={`events a second of ${row.name}`} /> },
  { name: "In", width: "70px", isNumber: true, show: (row) => <>{short(row.events_in_per_s)}<small className="dim">/s</small></> },
  { name: "Events", width: "62px", isNumber: true, show: (row) => <Fact name={`topic-${row.name}-events`} value={row.events}>{short(row.events)}</Fact> },
  { name: "Size", width: "84px", isNumber: true, isWide: true, show: (row) => bytes(row.size_bytes) },
  { name: "Partitions by leader", width: "minmax(120px, 1.2fr)", isWide: true, show: (row) => <Leaders topic={row} /> },
  { name: "Groups", width: "minmax(120px, 1.4fr)", isWide: true, show: (row) => <Groups topic={row} /> },
  { name: "Worst lag", width: "68px", isNumber: true, show: (row) => <span className={(row.worst_lag_s ?? 0) > 60 ? "warn" : ""}>{seconds(row.worst_lag_s)}</span> },
];

function Leaders({ topic }: { topic: Topic }) {
  const rows = Object.entries(topic.leaders).sort(([one], [other]) => Number(one) - Number(other));
  const led = rows.reduce((sum, [, count]) => sum + count, 0);
  return (
    <span className="row leaders" title={rows.map(([node, count]) => `node ${node}: ${count}`).join(", ")}>
      <Fact name={`topic-${topic.name}-partitions`} value={topic.partitions}>{topic.partitions}</Fact>
      <span className="stack" aria-hidden="true">
        {rows.map(([node, count]) => (
          <i key={node} style={{ flexGrow: count, background: nodeColour(Number(node)) }} />
        ))}
        {led < topic.partitions && <i style={{ flexGrow: topic.partitions - led, background: "var(--bad)" }} />}
      </span>
    </span>
  );
}

function Groups({ topic }: { topic: Topic }) {
  if (topic.groups.length === 0) return <span className="dim">none</span>;
  return (
    <span className="row">
      <span className="cut">
        {topic.groups.map((group, at) => (
          <span key={group.group_id}>
            {at > 0 && ", "}
            <Link to={`/groups/${encodeURIComponent(group.group_id)}`} className="text" title={`${whole(group.lag_events)} events behind`}>
              {group.group_id}
            </Link>
          </span>
        ))}
      </span>
      {topic.groups_total > topic.groups.length && <small className="dim num">{topic.groups_total - topic.groups.length} more</small>}
    </span>
  );
}

function NewTopic() {
  const [doing, run] = useDoing();
  const [name, setName] = useState("");
  const [partitions, setPartitions] = useState("4");
  const [dedup, setDedup] = useState(false);
  const create = () =>
    run(async () => {
      const config: Record<string, string> = dedup ? { "event.dedup.enable": "true" } : {};
      await write("POST /v1/topics", {}, { name, partitions: Number(partitions), config });
      navigate(`/topics/${encodeURIComponent(name)}`);
    });
  return (
    <Panel title="New topic">
      <form className="form-row" onSubmit={(event) => { event.preventDefault(); void create(); }}>
        <label className="field grow"><span>Name</span>
          <input className="input" required value={name} onChange={(event) => setName(event.target.value)} pattern="[a-zA-Z0-9._\-]+" maxLength={249} />
        </label>
        <label className="field"><span>Partitions</span>
          <input className="input partition" type="number" min={1} max={10_000} value={partitions} onChange={(event) => setPartitions(event.target.value)} />
        </label>
        <label className="row check"><input type="checkbox" checked={dedup} onChange={(event) => setDedup(event.target.checked)} />store each event id once</label>
        <button type="submit" className="button main" disabled={doing.isBusy || name === ""}>Create</button>
      </form>
      <ProblemNote problem={doing.problem} />
    </Panel>
  );
}
