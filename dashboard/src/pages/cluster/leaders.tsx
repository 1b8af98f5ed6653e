// Every partition as a square in the colour of its leader; a click offers to hand it over.
import { type KeyboardEvent, useState } from "react";
import { useAnswer, useDoing } from "../../api/hooks";
import { write } from "../../api/rest";
import type { Node, Topic } from "../../api/types";
import { plural } from "../../lib/format";
import { nodeColour } from "../../lib/theme";
import { Empty, Link, NodeDot, Panel, ProblemNote } from "../../ui/parts";

const SHOWN = 200;

type Chosen = { topic: string; partition: number };

export function Leaders({ nodes }: { nodes: Node[] }) {
  const { data } = useAnswer("/v1/topics", {}, { limit: SHOWN });
  const [chosen, setChosen] = useState<Chosen | null>(null);
  const hidden = (data?.total ?? 0) - (data?.items.length ?? 0);
  const topics = [...(data?.items ?? [])].sort((one, other) => Number(one.is_internal) - Number(other.is_internal));
  return (
    <Panel title="Who leads which partition" note="a square each; choose one to hand it over">
      {data && topics.length === 0 ? (
        <Empty title="No topics yet" command="trimaran topic create flights --partitions 4" />
      ) : (
        <div className="leader-map" role="group" tabIndex={0} onKeyDown={steer} aria-label="Partitions: arrow keys, then Enter">
          {topics.map((topic) => (
            <Row key={topic.name} topic={topic} chosen={chosen} onChoose={setChosen} nodes={nodes} />
          ))}
          {hidden > 0 && <p className="dim">and {plural(hidden, "topic")} more, by name: see <Link className="text" to="/topics">all topics</Link></p>}
        </div>
      )}
    </Panel>
  );
}

/** The squares are one stop of the tab key: arrows go along a topic's, and from topic to topic. */
function steer(event: KeyboardEvent<HTMLElement>): void {
  const rows = [...event.currentTarget.querySelectorAll(".cells")].map((row) => [...row.querySelectorAll("button")]);
  const row = rows.findIndex((one) => one.some((square) => square === document.activeElement));
  const at = rows[row]?.findIndex((square) => square === document.activeElement) ?? -1;
  const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const down = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if ((along ?? down) === undefined || (row < 0 && event.target !== event.currentTarget)) return;
  event.preventDefault();
  const next = row < 0 ? rows[0]?.[0] : along !== undefined ? rows[row]?.[at + along] : inRow(rows[row + (down ?? 0)], at);
  next?.focus();
}

const inRow = (row: HTMLElement[] | undefined, at: number): HTMLElement | undefined => row?.[Math.min(at, row.length - 1)];

type RowProps = { topic: Topic; chosen: Chosen | null; nodes: Node[]; onChoose: (chosen: Chosen | null) => void };

function Row({ topic, chosen, nodes, onChoose }: RowProps) {
  const own = chosen?.topic === topic.name ? chosen.partition : null;
  const hidden = topic.partitions - topic.leader_of.length;
  return (
    <div className="leader-row">
      <Link className={`cut ${topic.is_internal ? "dim" : "text"}`} to={`/topics/${encodeURIComponent(topic.name)}?tab=partitions`}>{topic.name}</Link>
      <div className="cells">
        {topic.leader_of.map((leader, partition) => (
          <button key={partition} type="button" className="square" tabIndex={-1} aria-pressed={own === partition} data-leads={leader ?? "none"} data-square={`${topic.name}-${partition}`}
            aria-label={`${topic.name}-${partition}, ${leader === null ? "no leader" : `led by node ${leader}`}`} title={`${topic.name}-${partition}: ${leader === null ? "no leader" : `node ${leader}`}`}
            style={{ background: leader === null ? "var(--bad)" : nodeColour(leader) }} onClick={() => onChoose(own === partition ? null : { topic: topic.name, partition })} />
        ))}
        {hidden > 0 && <span className="dim">and {hidden} more</span>}
      </div>
      {own !== null && <HandOver key={own} topic={topic.name} partition={own} leader={topic.leader_of[own] ?? null} nodes={nodes} onDone={() => onChoose(null)} />}
    </div>
  );
}

type HandOverProps = Chosen & { leader: number | null; nodes: Node[]; onDone: () => void };

function HandOver({ topic, partition, leader, nodes, onDone }: HandOverProps) {
  const [doing, run] = useDoing();
  const move = (to: number) =>
    run(async () => {
      await write("POST /v1/leaders/transfer", {}, { topic, partition, to });
      onDone();
    });
  return (
    <div className="hand-over">
      <div className="row wrap">
        <strong>{topic}-{partition}</strong>
        <span className="dim">is led by</span> <NodeDot node={leader} /> <span className="dim">hand it to</span>
        {nodes.filter((node) => node.node_id !== leader).map((node) => (
          <button key={node.node_id} type="button" className="button small" disabled={doing.isBusy || node.state !== "up"} onClick={() => void move(node.node_id)}
            aria-label={`Hand ${topic}-${partition} to node ${node.node_id}`}>node {node.node_id}</button>
        ))}
        <Link className="text" to={`/log?topic=${encodeURIComponent(topic)}&partition=${partition}`}>its log</Link>
      </div>
      <ProblemNote problem={doing.problem} />
    </div>
  );
}
