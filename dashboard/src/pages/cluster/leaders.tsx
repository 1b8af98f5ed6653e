// Every partition as a square in the colour of its leader; a click offers to hand it over.
import { useState } from "react";
import { useAnswer, useDoing } from "../../api/hooks";
import { write } from "../../api/rest";
import type { Node, Topic } from "../../api/types";
import { nodeColour } from "../../lib/theme";
import { Empty, Link, NodeDot, Panel, ProblemNote } from "../../ui/parts";

type Chosen = { topic: string; partition: number };

export function Leaders({ nodes }: { nodes: Node[] }) {
  const { data } = useAnswer("/v1/topics", {}, { limit: 200 });
  const [chosen, setChosen] = useState<Chosen | null>(null);
  const topics = [...(data?.items ?? [])].sort((one, other) => Number(one.is_internal) - Number(other.is_internal));
  return (
    <Panel title="Who leads which partition" note="a square each; choose one to hand it over">
      {data && topics.length === 0 ? (
        <Empty title="No topics yet" command="trimaran topic create flights --partitions 4" />
      ) : (
        <div className="leader-map">
          {topics.map((topic) => (
            <Row key={topic.name} topic={topic} chosen={chosen} onChoose={setChosen} nodes={nodes} />
          ))}
        </div>
      )}
    </Panel>
  );
}

type RowProps = { topic: Topic; chosen: Chosen | null; nodes: Node[]; onChoose: (chosen: Chosen | null) => void };

function Row({ topic, chosen, nodes, onChoose }: RowProps) {
  const own = chosen?.topic === topic.name ? chosen.partition : null;
  const hidden = topic.partitions - topic.leader_of.length;
  return (
    <div className="leader-row">
      <Link className={`cut ${topic.is_internal ? "dim" : "text"}`} to={`/topics/${encodeURIComponent(topic.name)}?tab=partitions`}>{topic.name}</Link>
      <div className="cells">
        {topic.leader_of.map((leader, partition) => (
          <button key={partition} type="button" className="square" aria-pressed={own === partition} data-leads={leader ?? "none"} data-square={`${topic.name}-${partition}`}
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
