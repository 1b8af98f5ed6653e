// Below the events: where each replica's log ends, which term it is, and where latency goes.
import { useAnswer } from "../../api/hooks";
import { useUrl } from "../../lib/url";
import { Empty, Segments } from "../../ui/parts";
import { Distributions } from "./distributions";
import { Latency } from "./latency";
import { Replicas } from "./replicas";

export function LogPage() {
  const url = useUrl();
  const { data } = useAnswer("/v1/topics", {}, { limit: 1000 }, 5_000);
  const { data: nodes } = useAnswer("/v1/nodes", {}, {}, 5_000);
  const topics = (data?.items ?? []).filter((topic) => !topic.is_internal);
  const topic = topics.find((one) => one.name === url.query.get("topic")) ?? topics[0];
  const partition = Math.min(Number(url.query.get("partition") ?? 0) || 0, (topic?.partitions ?? 1) - 1);
  const node = url.query.get("node") ?? "all";
  const numbers = (nodes?.items ?? []).map((one) => String(one.node_id));
  return (
    <>
      <div className="head">
        <h1>Log</h1>
        {topic && (
          <div className="row wrap">
            <select className="input" aria-label="Topic" value={topic.name} onChange={(event) => url.set({ topic: event.target.value, partition: null })}>
              {topics.map((one) => <option key={one.name}>{one.name}</option>)}
            </select>
            <label className="row">
              <span className="dim">partition</span>
              <input className="input partition" type="number" min={0} max={topic.partitions - 1} value={partition} aria-label="Partition"
                onChange={(event) => url.set({ topic: topic.name, partition: event.target.value })} />
              <span className="dim">of {topic.partitions}</span>
            </label>
          </div>
        )}
        <div className="end">
          <Segments label="Node" value={node} onChange={(value) => url.set({ node: value === "all" ? null : value })}
            options={[["all", "all nodes"], ...numbers.map((number) => [number, number] as const)]} />
        </div>
      </div>
      {data && !topic && (
        <section className="panel">
          <Empty title="No topic, so no log yet" command="trimaran topic create flights --partitions 4" />
        </section>
      )}
      {topic && <Replicas key={`${topic.name}/${partition}`} topic={topic.name} partition={partition} />}
      <Latency node={node} />
      <Distributions node={node} />
    </>
  );
}
