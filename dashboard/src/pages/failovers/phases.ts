// The parts of a failover: from one moment to the next, in the order in which they came.
import type { Incident } from "../../api/types";

export type Part = { name: string; text: string; from: number; to: number; colour: string };

/** What happens until each moment, and its colour. */
const UNTIL: Record<string, readonly [string, string]> = {
  detected: ["noticing that the leader is gone", "--phase-1"],
  pre_vote: ["asking whether an election could succeed", "--phase-2"],
  vote: ["gathering votes", "--phase-3"],
  elected: ["becoming leader", "--phase-4"],
  first_commit: ["first commit in the new term", "--phase-5"],
  first_ack: ["first acknowledgement to a client", "--phase-6"],
};

export const NAMES: Record<string, string> = {
  last_ack: "last acknowledgement",
  detected: "detection",
  pre_vote: "pre-vote",
  vote: "vote",
  elected: "elected",
  first_commit: "first commit",
  first_ack: "first client ack",
};

export const PARTS = Object.entries(UNTIL).map(([name, [text, colour]]) => ({ name, text, colour }));

/** The parts in the order of the protocol. Each moment is that of the group that came there last. */
export function partsOf(incident: Incident): Part[] {
  let reached = incident.phases[0]?.at_ms ?? 0;
  return incident.phases.slice(1).map((phase) => {
    const [text, colour] = UNTIL[phase.name] ?? [phase.name, "--phase-6"];
    const from = reached;
    reached = Math.max(reached, phase.at_ms);
    return { name: phase.name, text, colour, from, to: reached };
  });
}

export const CAUSES: Record<string, string> = {
  connection: "connection broke",
  silence: "silence",
  "stepped-down": "stepped down",
  transfer: "transfer",
  unknown: "unknown",
};
