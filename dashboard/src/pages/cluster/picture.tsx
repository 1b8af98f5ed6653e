// The cluster as a picture: nodes with their share of leaderships, and what flows between them.
import { useRef } from "react";
import type { ClusterNews, Edge, LocalAnswer, Node } from "../../api/types";
import { short } from "../../lib/format";
import { nodeColour } from "../../lib/theme";
import { useWidth } from "../../lib/width";
import { isBehind, lagOf, type NodeState, stateOf } from "./state";

type Place = { x: number; y: number };
type PictureProps = { news: ClusterNews; local: LocalAnswer | null };

export function Picture({ news, local }: PictureProps) {
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box);
  const isNarrow = width < 480;
  const height = isNarrow ? 370 : 500;
  const radius = isNarrow ? 36 : 46;
  const places = placesOf(news.nodes, width, height, radius);
  const total = Math.max(1, news.health.partitions_total);
  const states = new Map(news.nodes.map((node) => [node.node_id, stateOf(node, local)]));
  return (
    <div ref={box} style={{ height }} className="picture-box">
      {width > 0 && (
        <svg width={width} height={height} role="img" className="picture" aria-label={described(news, states)}>
          {news.edges.map((edge) => (
            <EdgeLine key={`${edge.from}-${edge.to}`} edge={edge} places={places} radius={radius}
              isDown={!edge.reachable || states.get(edge.to) !== "up" || states.get(edge.from) !== "up"} />
          ))}
          {news.nodes.map((node) => (
            <NodeMark key={node.node_id} node={node} at={places.get(node.node_id) as Place} radius={radius}
              isTop={(places.get(node.node_id)?.y ?? 0) < height / 2}
              share={node.leaders / total} state={states.get(node.node_id) as NodeState}
              lag={news.edges.some((edge) => edge.to === node.node_id && isBehind(edge)) ? lagOf(node.node_id, news) : 0} />
          ))}
        </svg>
      )}
    </div>
  );
}

function described(news: ClusterNews, states: Map<number, NodeState>): string {
  const rows = news.nodes.map(
    (node) => `node ${node.node_id} is ${states.get(node.node_id)} and leads ${node.leaders} partitions`,
  );
  return `${rows.join("; ")}.`;
}

function placesOf(nodes: Node[], width: number, height: number, radius: number): Map<number, Place> {
  const count = Math.max(nodes.length, 1);
  const across = Math.min(width / 2 - radius - 24, height * 0.62);
  const down = (height - 2 * radius - 90) / (count === 3 ? 1.5 : 2);
  const middle = count === 3 ? radius + 46 + down : height / 2;
  return new Map(
    nodes.map((node, at) => {
      const angle = (at / count) * 2 * Math.PI - Math.PI / 2;
      const reach = count === 3 ? across / Math.cos(Math.PI / 6) : across;
      return [node.node_id, { x: width / 2 + reach * Math.cos(angle), y: middle + down * Math.sin(angle) }];
    }),
  );
}

type EdgeLineProps = { edge: Edge; places: Map<number, Place>; radius: number; isDown: boolean };

function EdgeLine({ edge, places, radius, isDown }: EdgeLineProps) {
  const from = places.get(edge.from);
  const to = places.get(edge.to);
  if (!from || !to) return null;
  const rate = edge.append_events_per_s ?? 0;
  const { start, end, label } = course(from, to, radius);
  const line = `M${start.x},${start.y} L${end.x},${end.y}`;
  const lag = edge.lag_events ?? 0;
  const id = `edge-${edge.from}-${edge.to}`;
  if (isDown)
    return <path d={line} className="edge-down" data-edge={id} data-reachable="false" />;
  return (
    <g data-edge={id} data-reachable="true" data-rate={rate} style={{ color: nodeColour(edge.from) }}>
      <path d={line} stroke="currentColor" strokeOpacity="0.22" strokeWidth={1 + widthOf(rate)} fill="none" />
      {rate > 0 && (
        <path d={line} className="edge-flow" strokeWidth={1 + widthOf(rate)}
          style={{ animationDuration: `${durationOf(rate)}s` }} />
      )}
      <circle cx={end.x} cy={end.y} r={2.4 + widthOf(rate) / 3} fill="currentColor" />
      <g transform={`translate(${label.x} ${label.y})`} className="edge-label">
        <text textAnchor="middle">{rate > 0 ? `${short(rate)}/s` : "idle"}</text>
        <text textAnchor="middle" y="13" className={isBehind(edge) ? "edge-lag" : "edge-rtt"}>
          {isBehind(edge) ? `${short(lag)} behind` : edge.rtt_ms === null ? "" : `${edge.rtt_ms.toFixed(2)} ms`}
        </text>
      </g>
    </g>
  );
}

const widthOf = (rate: number): number => Math.min(6, Math.log10(1 + rate) * 1.15);
const durationOf = (rate: number): number => Math.max(0.35, 2.6 - Math.log10(1 + rate) * 0.5);

/** Two lanes a pair, each right of its direction; its label nearer to where it comes from. */
function course(from: Place, to: Place, radius: number) {
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
  const along = { x: (to.x - from.x) / length, y: (to.y - from.y) / length };
  const side = { x: -along.y, y: along.x };
  const point = (distance: number, aside: number): Place => ({
    x: from.x + along.x * distance + side.x * aside,
    y: from.y + along.y * distance + side.y * aside,
  });
  const gap = 9;
  return {
    start: point(radius + 12, gap),
    end: point(length - radius - 14, gap),
    label: point(length * 0.38, gap + (Math.abs(side.x) > 0.3 ? 30 : 20)),
  };
}

type NodeMarkProps = { node: Node; at: Place; isTop: boolean; radius: number; share: number; state: NodeState; lag: number };

function NodeMark({ node, at, isTop, radius, share, state, lag }: NodeMarkProps) {
  const around = 2 * Math.PI * (radius + 5);
  const isUp = state === "up";
  const outside = isUp ? [`term ${node.facts?.terms_max ?? "–"}${node.is_controller ? " · controller" : ""}`] : ["does not count"];
  if (isUp && lag > 0) outside.push(`${short(lag)} behind`);
  return (
    <g transform={`translate(${at.x} ${at.y})`} data-node={node.node_id} data-state={state}
      style={{ color: isUp ? nodeColour(node.node_id) : "var(--ink-3)" }} className="node-mark">
      <circle r={radius + 5} fill="var(--surface)" stroke="var(--line)" strokeWidth="5" />
      <circle r={radius + 5} fill="none" stroke="currentColor" strokeWidth="5" transform="rotate(-90)"
        strokeDasharray={`${around * share} ${around}`} className="node-share" />
      <circle r={radius - 2} fill="currentColor" fillOpacity={isUp ? 0.1 : 0.05} />
      <text textAnchor="middle" y="-3" className="node-number" fill="currentColor">{node.node_id}</text>
      <text textAnchor="middle" y="15" className="node-line" fill="var(--ink)">
        {isUp ? `${node.leaders} led` : state}
      </text>
      {outside.map((line, row) => (
        <text key={line} textAnchor="middle" y={isTop ? -radius - 16 - 15 * row : radius + 26 + 15 * row}
          className="node-below" fill={row === 0 ? "var(--ink-2)" : "var(--warn)"}>
          {line}
        </text>
      ))}
    </g>
  );
}
