// Below the events: where each replica's log ends, which term it is, and where latency goes.
import type { ComponentProps } from "react";
import { useAnswer } from "../../api/hooks";
import { plural, quoted } from "../../lib/format";
import { useUrl } from "../../lib/url";
import { Again, Empty, ProblemNote, Segments } from "../../ui/parts";
import { Distributions } from "./distributions";
import { Latency } from "./latency";
import { Replicas } from "./replicas";

export function LogPage() {
  const url = useUrl();
  const { data } = useAnswer("/v1/topics", {}, { limit: 1000 }, 5_000);
  const { data: nodes } = useAnswer("/v1/nodes", {}, {}, 5_000);
  const topics = (data?.items ?? []).filter((topic) => !topic.is_internal);
  const wanted = url.query.get("topic");
  const listed = wanted === null ? topics[0] : topics.find((one) => one.name === wanted);
  // A name that is not in the list may be one of too many, or none.
  const isUnlisted = data !== null && wanted !== null && listed === undefined;
  const { data: found, problem, again } = useAnswer(isUnlisted ? "/v1/topics/{topic}" : null, { topic: wanted ?? "" }, {}, 5_000);
  const topic = listed ?? found;
  const partition = Number(url.query.get("partition") ?? 0);
  const isPartition = topic != null && Number.isInteger(partition) && partition >= 0 && partition < topic.partitions;
  const node = url.query.get("node") ?? "all";
  const numbers = (nodes?.items ?? []).map((one) => String(one.node_id));
  return (
    <>
      <div className="head">
        <h1>Log</h1>
        {topics.length > 0 && (
          <div className="row wrap">
            <select className="input" aria-label="Topic" value={topic?.name ?? ""} onChange={(event) => url.set({ topic: event.target.value, partition: null })}>
              {listed === undefined && <option value={topic?.name ?? ""}>{topic?.name ?? "choose a topic"}</option>}
              {topics.map((one) => <option key={one.name}>{one.name}</option>)}
            </select>
            {topic && (
              <label className="row">
                <span className="dim">partition</span>
                <input className="input partition" type="number" min={0} max={topic.partitions - 1} value={partition} aria-label="Partition"
                  onChange={(event) => url.set({ topic: topic.name, partition: event.target.value })} />
                <span className="dim">of {topic.partitions}</span>
              </label>
            )}
          </div>
        )}
        <div className="end">
          <Segments label="Node" value={node} onChange={(value) => url.set({ node: value === "all" ? null : value })}
            options={[["all", "all nodes"], ...numbers.map((number) => [number, number] as const)]} />
        </div>
      </div>
      {data && topics.length === 0 && !isUnlisted && <Nothing title="No topic, so no log yet" command="trimaran topic create flights --partitions 4" />}
      {problem && !topic && (
        <Nothing title={problem.status === 404 ? `There is no topic ${wanted}` : problem.title} command={`trimaran topic create ${quoted(wanted ?? "")} --partitions 4`}>{problem.detail} <Again again={again} /></Nothing>
      )}
      {topic && <ProblemNote problem={problem} />}
      {topic && !isPartition && <Nothing title={`There is no partition ${url.query.get("partition")}`}>{topic.name} has {plural(topic.partitions, "partition")}, counted from 0.</Nothing>}
      {topic && isPartition && <Replicas key={`${topic.name}/${partition}`} topic={topic.name} partition={partition} />}
      <Latency node={node} />
      <Distributions node={node} />
    </>
  );
}

const Nothing = (props: ComponentProps<typeof Empty>) => <section className="panel"><Empty {...props} /></section>;
