// One group: how far behind it is, who reads what, and where it stands; offsets are set anew here.
import { useMemo } from "react";
import { useFeed } from "../../api/hooks";
import type { GroupDetail, GroupNews, GroupPartition } from "../../api/types";
import { plural, quoted, seconds, short, whole } from "../../lib/format";
import { highest, useSeries } from "../../lib/series";
import { Again, Chip, Empty, Fact, Figure, Figures, Link, NodeDot, Panel, ProblemNote } from "../../ui/parts";
import { type Line, Plot } from "../../ui/plot";
import { type Column, Rows } from "../../ui/rows";
import { stateTone } from "./page";
import { Reset } from "./reset";

const SECONDS = 900;

export function GroupPage({ groupId }: { groupId: string }) {
  const { data, problem, again } = useFeed<GroupNews>({ feed: "group", group_id: groupId, interval_ms: 1_000 });
  const name = `group/${encodeURIComponent(groupId)}`;
  const [behind, late] = [`${name}/lag_events`, `${name}/lag_s`] as const;
  // Each node has what it saw while it was the coordinator: together they have all of it.
  const series = useSeries([behind, late], SECONDS);
  const events = useMemo<Line[]>(() => [{ label: "events behind", colour: "--accent", values: highest(series, behind), fill: 0.14 }], [series, behind]);
  const time = useMemo<Line[]>(() => [{ label: "time behind", colour: "--warn", values: highest(series, late), fill: 0.14 }], [series, late]);
  if (problem && !data)
    return <Empty title={problem.title} command={`trimaran consume flights --group ${quoted(groupId)}`}>{problem.detail} <Again again={again} /></Empty>;
  if (!data) return <Empty title={`Looking for ${groupId}…`} />;
  const group = data.group;
  return (
    <>
      <div className="head">
        <h1><Link to="/groups" className="dim">Groups</Link> <span className="dim">/</span> {groupId}</h1>
        <Chip tone={stateTone(group.state)}>{group.state}</Chip>
        <span className="row dim">coordinator <NodeDot node={group.coordinator} /></span>
      </div>
      <ProblemNote problem={problem} />
      <Figures>
        <Figure label="events behind" fact="lag-events" value={group.lag_events} shown={whole(group.lag_events)} />
        <Figure label="time behind" fact="lag-s" value={group.lag_s} shown={seconds(group.lag_s)} tone={(group.lag_s ?? 0) > 60 ? "warn" : undefined} />
        <Figure label="members" fact="members" value={group.members.length} shown={group.members.length} />
        <Figure label="partitions" shown={group.partitions.length} />
        <Figure label="topics" shown={group.topics.length} small={group.topics.length === 1 ? group.topics[0] : undefined} />
      </Figures>
      <div className="grid">
        <Panel title="Events behind" className="half" note="the last 15 minutes">
          <Plot name="events behind" x={series.x} lines={events} format={(value) => short(value)} />
        </Panel>
        <Panel title="Time behind" className="half" note="age of the first event not read">
          <Plot name="time behind" x={series.x} lines={time} format={seconds} />
        </Panel>
        <Members group={group} />
        <Panel title="Where it stands" flush className="wide">
          <Rows label="Where it stands" rows={group.partitions} keyOf={(row) => `${row.topic}-${row.partition}`} columns={COLUMNS} maxHeight={420} rowHeight={34} />
        </Panel>
        <Reset group={group} />
      </div>
    </>
  );
}

function Members({ group }: { group: GroupDetail }) {
  return (
    <Panel title="Members by partitions" flush note={group.members.length > 0 ? group.protocol : undefined}>
      {group.members.length === 0 ? (
        <Empty title="Nobody is in this group now" command={`trimaran consume ${group.topics[0] ?? "flights"} --group ${quoted(group.group_id)}`}>
          Its offsets stay; they can be set anew below.
        </Empty>
      ) : (
        <ul className="members">
          {group.members.map((member) => (
            <li key={member.member_id}>
              <div className="row wrap">
                <strong className="name">{member.instance_id ?? member.client_id}</strong>
                <span className="dim">{member.client_host}</span>
                <span className="dim mono cut" title={member.member_id}>{member.member_id.slice(-12)}</span>
                <span className="dim end-note">{plural(member.assignment.reduce((sum, one) => sum + one.partitions.length, 0), "partition")}</span>
              </div>
              {member.assignment.map((one) => (
                <div key={one.topic} className="row wrap assigned">
                  <Link className="text long" to={`/topics/${encodeURIComponent(one.topic)}`}>{one.topic}</Link>
                  {one.partitions.map((number) => <span key={number} className="cell" style={cellStyle(group, one.topic, number)} title={cellTitle(group, one.topic, number)}>{number}</span>)}
                </div>
              ))}
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

const rowOf = (group: GroupDetail, topic: string, partition: number): GroupPartition | undefined =>
  group.partitions.find((row) => row.topic === topic && row.partition === partition);

/** The further behind, the stronger the colour: full at a minute. */
function cellStyle(group: GroupDetail, topic: string, partition: number): React.CSSProperties {
  const part = Math.min(1, (rowOf(group, topic, partition)?.lag_s ?? 0) / 60);
  return { background: `color-mix(in srgb, var(--warn) ${Math.round(part * 45)}%, var(--sunken))` };
}

const cellTitle = (group: GroupDetail, topic: string, partition: number): string =>
  `${topic}-${partition}: ${whole(rowOf(group, topic, partition)?.lag_events)} events behind`;

const COLUMNS: Column<GroupPartition>[] = [
  { name: "Partition", width: "minmax(96px, 2fr)", show: (row) => `${row.topic}-${row.partition}` },
  { name: "Read up to", width: "72px", isNumber: true, show: (row) => <Fact name={`committed-${row.topic}-${row.partition}`} value={row.committed}>{whole(row.committed)}</Fact> },
  { name: "End", width: "76px", isNumber: true, isWide: true, show: (row) => whole(row.high_watermark) },
  { name: "Behind", width: "60px", isNumber: true, show: (row) => whole(row.lag_events) },
  { name: "Time", width: "68px", isNumber: true, show: (row) => <span className={(row.lag_s ?? 0) > 60 ? "warn" : ""}>{seconds(row.lag_s)}</span> },
];
