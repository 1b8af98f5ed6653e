// What happened last on any node.
import { clock, day } from "../../lib/format";
import { useHappenings } from "../../lib/happened";
import type { Happening } from "../../api/types";
import { Empty, NodeDot, Panel } from "../../ui/parts";

const SHOWN = 60;
const SAME_MS = 1_500;
const BAD = ["node-down", "damage", "stall", "warning"];
const GOOD = ["node-up", "repair"];

export function News() {
  const rows = together(useHappenings()).slice(0, SHOWN);
  return (
    <Panel title="What happened" note="all nodes, newest first" flush>
      {rows.length === 0 ? (
        <Empty title="Nothing yet" command="trimaran leader transfer TOPIC 0 --to 2">
          Elections, leaders that move, nodes that come and go, and slow disks appear here.
        </Empty>
      ) : (
        <div className="scroll news" role="region" aria-label="Happenings" tabIndex={0}>
          <table className="table">
            <thead className="unseen">
              <tr><th>When</th><th>Said by</th><th>What</th><th>Took</th></tr>
            </thead>
            <tbody>
              {rows.map(({ row, nodes }) => (
                <tr key={`${row.node_id}/${row.seq}/${row.at_ms}`} data-happening={row.kind}>
                  <td className="mono dim when" title={day(row.at_ms)}>{clock(row.at_ms, true)}</td>
                  <td className="said">{nodes.map((node) => <NodeDot key={node} node={node} />)}</td>
                  <td className={`long ${BAD.includes(row.kind) ? "bad" : GOOD.includes(row.kind) ? "good" : ""}`}>{row.text}</td>
                  <td className="num dim">{row.ms === null ? "" : `${Math.round(row.ms)} ms`}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

type Told = { row: Happening; nodes: number[] };

/** What several nodes say of the same thing is one line. */
function together(rows: Happening[]): Told[] {
  const found: Told[] = [];
  for (const row of rows) {
    const same = found.find(
      (told) => told.row.text === row.text && told.row.term === row.term && told.row.at_ms - row.at_ms < SAME_MS,
    );
    if (same === undefined) found.push({ row, nodes: [row.node_id] });
    else if (!same.nodes.includes(row.node_id)) same.nodes = [...same.nodes, row.node_id].sort();
  }
  return found;
}
