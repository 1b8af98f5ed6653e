// One card a node: its numbers, and in local clusters the buttons that break and mend it.
import { useDoing } from "../../api/hooks";
import { token, write } from "../../api/rest";
import type { ClusterNews, LocalAnswer, Node } from "../../api/types";
import { bytes, ms, seconds, short } from "../../lib/format";
import { Chip, Fact, NodeDot, Panel, ProblemNote } from "../../ui/parts";
import { lagOf, stateOf, toneOf } from "./state";

type NodesProps = { news: ClusterNews; local: LocalAnswer | null };

export function Nodes({ news, local }: NodesProps) {
  const mayBreak = local?.available === true && token() !== null;
  return (
    <Panel title="Nodes" className="slim" flush
      note={local?.available && !mayBreak ? "to break and heal nodes, open the address that was printed at the start" : undefined}>
      {news.nodes.map((node) => (
        <NodeCard key={node.node_id} node={node} news={news} local={local} mayBreak={mayBreak} />
      ))}
    </Panel>
  );
}

type CardProps = NodesProps & { node: Node; mayBreak: boolean };

function NodeCard({ node, news, local, mayBreak }: CardProps) {
  const state = stateOf(node, local);
  const facts = node.facts;
  const of = (name: string): number | undefined => facts?.series[name];
  const fact = (name: string): string => `node-${node.node_id}-${name}`;
  return (
    <article className="node-card" aria-label={`node ${node.node_id}`} data-card={node.node_id}>
      <header className="row wrap">
        <NodeDot node={node.node_id} />
        <span data-fact={fact("state")} data-value={state}>
          <Chip tone={toneOf(state)}>{state}</Chip>
        </span>
        {node.is_controller && <Chip>controller</Chip>}
        <span className="dim end-note" title={facts ? `process ${facts.pid}, ${facts.data_directory}` : undefined}>
          {facts ? `up ${seconds(facts.uptime_s)}` : (news.health.nodes.find((row) => row.node_id === node.node_id)?.reason ?? "")}
        </span>
      </header>
      <dl>
        <Pair label="leads"><Fact name={fact("leaders")} value={node.leaders}>{node.leaders}</Fact> of {node.replicas}</Pair>
        <Pair label="term"><Fact name={fact("term")} value={facts?.terms_max}>{facts?.terms_max ?? "–"}</Fact></Pair>
        <Pair label="lag"><Fact name={fact("lag")} value={lagOf(node.node_id, news)}>{short(lagOf(node.node_id, news))}</Fact></Pair>
        <Pair label="in">{short(of("events_in_per_s"))}/s</Pair>
        <Pair label="fsync p99">{ms(of("fsync_p99_ms"))}</Pair>
        <Pair label="loop lag">{ms(of("loop_lag_ms"))}</Pair>
        <Pair label="CPU">{facts?.cpu_percent == null ? "–" : `${Math.round(facts.cpu_percent)} %`}</Pair>
        <Pair label="memory">{bytes(facts?.rss_bytes)}</Pair>
        <Pair label="disk free">{bytes(facts?.free_bytes)}</Pair>
      </dl>
      {mayBreak && <Breaking node={node.node_id} state={state} />}
    </article>
  );
}

const Pair = ({ label, children }: { label: string; children: React.ReactNode }) => (
  <div>
    <dt>{label}</dt>
    <dd>{children}</dd>
  </div>
);

const ACTIONS = [
  ["kill", "Kill", "SIGKILL: gone at once"],
  ["freeze", "Freeze", "SIGSTOP: silent, connections stay open"],
  ["cut-off", "Cut off", "nothing passes to other nodes and clients"],
] as const;

function Breaking({ node, state }: { node: number; state: string }) {
  const [doing, run] = useDoing();
  const act = (action: "kill" | "freeze" | "cut-off" | "heal") =>
    run(async () => {
      await write(`POST /v1/local/nodes/{node}/${action}`, { node });
    });
  return (
    <>
      <div className="row wrap breaking">
        {ACTIONS.map(([action, text, title]) => (
          <button key={action} type="button" className="button small danger" title={title}
            aria-label={`${text} node ${node}`} disabled={doing.isBusy || state !== "up"} onClick={() => act(action)}>
            {text}
          </button>
        ))}
        <button type="button" className="button small" aria-label={`Heal node ${node}`} onClick={() => act("heal")}
          disabled={doing.isBusy || state === "up" || state === "starting"}>
          Heal
        </button>
      </div>
      <ProblemNote problem={doing.problem} />
    </>
  );
}
