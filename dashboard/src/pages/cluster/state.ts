// How a node is, in one word, from what the cluster says and what its process does.
import type { ClusterNews, Edge, LocalAnswer, Node } from "../../api/types";
import type { Tone } from "../../ui/parts";

export type NodeState = "up" | "starting" | "dead" | "frozen" | "cut off" | "unreachable" | "unregistered";

export function stateOf(node: Node, local: LocalAnswer | null): NodeState {
  const process = local?.nodes.find((row) => row.node_id === node.node_id);
  if (process?.state === "dead") return "dead";
  if (process?.state === "frozen") return "frozen";
  if (process?.state === "cut-off" || node.facts?.is_cut_off) return "cut off";
  if (node.state === "unreachable") return node.facts ? "starting" : "unreachable";
  if (node.state === "unregistered") return "unregistered";
  return node.facts?.state === "starting" ? "starting" : "up";
}

export const toneOf = (state: NodeState): Tone =>
  state === "up" ? "good" : state === "starting" ? "warn" : "bad";

/** Events that leaders elsewhere have and this node has not acknowledged. */
export function lagOf(node: number, news: ClusterNews): number {
  return news.edges
    .filter((edge) => edge.to === node)
    .reduce((sum, edge) => sum + (edge.lag_events ?? 0), 0);
}

/** Whether an edge is behind for longer than what is on its way anyway: about a second of it. */
export const isBehind = (edge: Edge): boolean =>
  (edge.lag_events ?? 0) > Math.max(100, edge.append_events_per_s ?? 0);
