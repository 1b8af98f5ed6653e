// Set a group's offsets anew: first what would change, then the change itself.
import { useState } from "react";
import { useDoing } from "../../api/hooks";
import { write } from "../../api/rest";
import type { GroupDetail, ResetAnswer, ResetTo } from "../../api/types";
import { whole } from "../../lib/format";
import { Chip, Panel, ProblemNote } from "../../ui/parts";

const KINDS = [
  ["earliest", "the first event"],
  ["latest", "the end"],
  ["offset", "an offset"],
  ["time", "a time"],
  ["shift", "so many further"],
] as const;

export function Reset({ group }: { group: GroupDetail }) {
  const [doing, run] = useDoing();
  const [topic, setTopic] = useState(group.topics[0] ?? "");
  const [kind, setKind] = useState<ResetTo["kind"]>("earliest");
  const [value, setValue] = useState("");
  const [answer, setAnswer] = useState<ResetAnswer | null>(null);
  const isBusyGroup = group.members.length > 0;
  const ask = (isDry: boolean) =>
    run(async () => {
      const to: ResetTo = { kind, ...(needsValue(kind) && { value: numberOf(kind, value) }) };
      setAnswer(await write("POST /v1/groups/{group}/reset-offsets", { group: group.group_id }, { topic, to, dry_run: isDry }));
    });
  const change = <T,>(set: (value: T) => void) => (next: T) => { set(next); setAnswer(null); };
  return (
    <Panel title="Set offsets anew" className="slim">
      <form className="form" onSubmit={(event) => { event.preventDefault(); void ask(true); }}>
        <label className="field"><span>Topic</span>
          <select className="input" value={topic} onChange={(event) => change(setTopic)(event.target.value)}>{group.topics.map((one) => <option key={one}>{one}</option>)}</select>
        </label>
        <label className="field"><span>To</span>
          <select className="input" value={kind} onChange={(event) => change(setKind)(event.target.value as ResetTo["kind"])}>
            {KINDS.map(([name, text]) => <option key={name} value={name}>{text}</option>)}
          </select>
        </label>
        {needsValue(kind) && (
          <label className="field"><span>{kind === "time" ? "Time" : kind === "shift" ? "Events, negative to go back" : "Offset"}</span>
            <input className="input" type={kind === "time" ? "datetime-local" : "number"} step={1} required value={value} onChange={(event) => change(setValue)(event.target.value)} />
          </label>
        )}
        <div className="row wrap">
          <button type="submit" className="button" disabled={doing.isBusy || topic === ""}>What would change?</button>
          <button type="button" className="button main" disabled={doing.isBusy || !answer?.dry_run || isBusyGroup} onClick={() => void ask(false)}>Do it</button>
        </div>
        {isBusyGroup && <p className="dim">Its members must stop first: they would overwrite it.</p>}
      </form>
      <ProblemNote problem={doing.problem} />
      {answer && (
        <div className="reset-answer" data-dry-run={String(answer.dry_run)}>
          <Chip tone={answer.dry_run ? "plain" : "good"}>{answer.dry_run ? "nothing changed yet" : "done"}</Chip>
          <div className="scroll" tabIndex={0} role="region" aria-label="Changes">
            <table className="table">
              <thead><tr><th>Partition</th><th className="num">Before</th><th className="num">After</th></tr></thead>
              <tbody>
                {answer.items.map((row) => (
                  <tr key={row.partition} data-reset={row.partition} data-after={row.after}>
                    <td>{row.partition}</td><td className="num">{whole(row.before)}</td>
                    <td className="num">{whole(row.after)} {row.change ? <small className="dim">{row.change > 0 ? "+" : ""}{whole(row.change)}</small> : null}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </div>
      )}
    </Panel>
  );
}

const needsValue = (kind: ResetTo["kind"]): boolean => !["earliest", "latest"].includes(kind);
const numberOf = (kind: ResetTo["kind"], text: string): number => (kind === "time" ? new Date(text).getTime() : Number(text));
