// One topic: its events, how to add some, its partitions, groups and settings.
import { useAnswer, useDoing } from "../../api/hooks";
import { write } from "../../api/rest";
import type { TopicAnswer } from "../../api/types";
import { bytes, seconds, short, whole } from "../../lib/format";
import { navigate, useUrl } from "../../lib/url";
import { Again, Chip, Empty, Fact, Figure, Figures, Link, Panel, ProblemNote } from "../../ui/parts";
import { Config } from "./config";
import { Events } from "./events";
import { Partitions } from "./partitions";
import { Publish } from "./publish";

const TABS = [
  ["events", "Events"],
  ["publish", "Publish"],
  ["partitions", "Partitions"],
  ["groups", "Groups"],
  ["config", "Configuration"],
] as const;

export function TopicPage({ name }: { name: string }) {
  const url = useUrl();
  const { data, problem, again } = useAnswer("/v1/topics/{topic}", { topic: name });
  const tab = url.query.get("tab") ?? "events";
  const here = `/topics/${encodeURIComponent(name)}`;
  if (problem && !data)
    return <Empty title={problem.title} command={`trimaran topic create ${name} --partitions 4`}>{problem.detail} <Again again={again} /></Empty>;
  if (!data) return <Empty title={`Looking for ${name}…`} />;
  return (
    <>
      <div className="head">
        <h1><Link to="/topics" className="dim">Topics</Link> <span className="dim">/</span> {name}</h1>
        {data.dedup && <Chip>each event id once</Chip>}
        {data.is_internal && <Chip>internal</Chip>}
      </div>
      <ProblemNote problem={problem} />
      <Overview topic={data} />
      <nav className="tabs" aria-label="About this topic">
        {TABS.map(([path, text]) => (
          <Link key={path} to={path === "events" ? here : `${here}?tab=${path}`} aria-current={path === tab ? "page" : undefined}>{text}</Link>
        ))}
      </nav>
      {tab === "events" && <Events topic={data} />}
      {tab === "publish" && <Publish topic={data} />}
      {tab === "partitions" && <Partitions topic={data} />}
      {tab === "groups" && <Groups topic={data} />}
      {tab === "config" && (
        <>
          <Config topic={name} />
          <Delete topic={name} />
        </>
      )}
    </>
  );
}

function Overview({ topic }: { topic: TopicAnswer }) {
  return (
    <Figures>
      <Figure label="events in" shown={short(topic.events_in_per_s)} small="/s" />
      <Figure label="events" fact="events" value={topic.events} shown={whole(topic.events)} />
      <Figure label="size" fact="size" value={topic.size_bytes} shown={bytes(topic.size_bytes)} />
      <Figure label="partitions" fact="partitions" value={topic.partitions} shown={topic.partitions} small={`× ${topic.replication_factor}`} />
      <Figure label="groups" fact="groups" value={topic.groups_total} shown={whole(topic.groups_total)} />
      <Figure label="worst lag" shown={seconds(topic.worst_lag_s)} tone={(topic.worst_lag_s ?? 0) > 60 ? "warn" : undefined} />
    </Figures>
  );
}

function Groups({ topic }: { topic: TopicAnswer }) {
  if (topic.groups.length === 0)
    return (
      <section className="panel">
        <Empty title="Nobody reads this topic as a group" command={`trimaran consume ${topic.name} --group readers`}>
          A group's members share the partitions; where it stands is kept in the cluster.
        </Empty>
      </section>
    );
  return (
    <Panel title="Groups that read this topic" flush
      note={topic.groups_total > topic.groups.length ? `the ${topic.groups.length} furthest behind of ${whole(topic.groups_total)}` : undefined}>
      <table className="table">
        <thead><tr><th>Group</th><th className="num">Events behind</th><th className="num">Time behind</th></tr></thead>
        <tbody>
          {topic.groups.map((group) => (
            <tr key={group.group_id}>
              <td className="long"><Link to={`/groups/${encodeURIComponent(group.group_id)}`} className="name text">{group.group_id}</Link></td>
              <td className="num"><Fact name={`group-${group.group_id}-lag`} value={group.lag_events}>{whole(group.lag_events)}</Fact></td>
              <td className="num">{seconds(group.lag_s)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}

function Delete({ topic }: { topic: string }) {
  const [doing, run] = useDoing();
  const ask = () => {
    if (!window.confirm(`Delete ${topic} and all its events?`)) return;
    void run(async () => {
      await write("DELETE /v1/topics/{topic}", { topic });
      navigate("/topics");
    });
  };
  return (
    <Panel title="Delete this topic" note="with all its events; there is no way back">
      <div className="row wrap">
        <button type="button" className="button danger long" disabled={doing.isBusy} onClick={ask}>Delete {topic}…</button>
      </div>
      <ProblemNote problem={doing.problem} />
    </Panel>
  );
}
