// All consumer groups, and how far each is behind.
import { useState } from "react";
import { useAnswer } from "../../api/hooks";
import type { Group } from "../../api/types";
import { plural, seconds, whole } from "../../lib/format";
import { useUrl } from "../../lib/url";
import { Chip, Empty, Fact, Link, NodeDot, type Tone, Unseen } from "../../ui/parts";
import { type Column, Rows } from "../../ui/rows";

/** So many are looked at less often: each is asked for at its coordinator. */
const MANY = 50;
const SHOWN = 1_000;

export const stateTone = (state: string): Tone =>
  state === "Stable" ? "good" : state === "Empty" || state === "Dead" ? "plain" : "warn";

export function GroupsPage() {
  const url = useUrl();
  const search = url.query.get("search") ?? "";
  const [isMany, setIsMany] = useState(false);
  const { data } = useAnswer("/v1/groups", {}, { limit: SHOWN, search }, isMany ? 5_000 : 1_000);
  const rows = data?.items ?? [];
  if (data && rows.length > MANY !== isMany) setIsMany(!isMany);
  return (
    <>
      <div className="head">
        <h1>Groups</h1>
        {data && <span className="sub">{plural(data.total ?? rows.length, "consumer group")}<Unseen shown={rows.length} total={data.total} /></span>}
        <div className="end">
          <input className="input" type="search" placeholder="Find a group" aria-label="Find a group" value={search} onChange={(event) => url.set({ search: event.target.value })} />
        </div>
      </div>
      <section className="panel" aria-label="Groups">
        {data && rows.length === 0 ? (
          <Empty title={search ? `No group's name contains “${search}”` : "No consumer group yet"} command="trimaran consume flights --group readers">
            Consumers of one group share a topic's partitions, and the cluster keeps where they stand.
          </Empty>
        ) : (
          <Rows label="Groups" rows={rows} keyOf={(row) => row.group_id} columns={COLUMNS} rowHeight={42} />
        )}
      </section>
    </>
  );
}

const COLUMNS: Column<Group>[] = [
  { name: "Group", width: "minmax(96px, 2fr)", show: (row) => <Link to={`/groups/${encodeURIComponent(row.group_id)}`} className="name text" data-group={row.group_id}>{row.group_id}</Link> },
  { name: "State", width: "118px", isWide: true, show: (row) => <Chip tone={stateTone(row.state)}>{row.state}</Chip> },
  { name: "Members", width: "56px", isNumber: true, show: (row) => <Fact name={`group-${row.group_id}-members`} value={row.members}>{row.members}</Fact> },
  { name: "Behind", width: "70px", isNumber: true, show: (row) => <Fact name={`group-${row.group_id}-lag`} value={row.lag_events}>{whole(row.lag_events)}</Fact> },
  { name: "Time", width: "74px", isNumber: true, show: (row) => <span className={(row.lag_s ?? 0) > 60 ? "warn" : ""}>{seconds(row.lag_s)}</span> },
  { name: "Topics", width: "minmax(120px, 2fr)", isWide: true, show: (row) => row.topics.join(", ") || <span className="dim">none</span> },
  { name: "Coordinator", width: "86px", isWide: true, show: (row) => <NodeDot node={row.coordinator} /> },
];
