// Set a group's offsets anew: first what would change, then the change itself.
import { useState } from "react";
import { useDoing } from "../../api/hooks";
import { write } from "../../api/rest";
import type { GroupDetail, ResetAnswer, ResetBody, ResetTo } from "../../api/types";
import { whole } from "../../lib/format";
import { Chip, Panel, ProblemNote } from "../../ui/parts";

const KINDS = [
  ["earliest", "the first event"],
  ["latest", "the end"],
  ["offset", "an offset"],
  ["time", "a time"],
  ["shift", "so many further"],
] as const;

type Asked = Omit<ResetBody, "dry_run">;
type Told = { asked: Asked; answer: ResetAnswer };

export function Reset({ group }: { group: GroupDetail }) {
  const [doing, run] = useDoing();
  const [topic, setTopic] = useState(group.topics[0] ?? "");
  const [kind, setKind] = useState<ResetTo["kind"]>("earliest");
  const [value, setValue] = useState("");
  const [told, setTold] = useState<Told | null>(null);
  const isBusyGroup = group.members.length > 0;
  const current: Asked = { topic, to: { kind, ...(needsValue(kind) && { value: numberOf(kind, value) }) } };
  const ask = (asked: Asked, isDry: boolean) =>
    run(async () => {
      const answer = await write("POST /v1/groups/{group}/reset-offsets", { group: group.group_id }, { ...asked, dry_run: isDry });
      setTold({ asked, answer });
    });
  // An answer belongs to what was asked: with other fields, it is not shown and nothing can be done.
  const plan = told !== null && JSON.stringify(told.asked) === JSON.stringify(current) ? told : null;
  const answer = plan?.answer;
  return (
    <Panel title="Set offsets anew" className="slim">
      <form className="form" onSubmit={(event) => { event.preventDefault(); void ask(current, true); }}>
        <label className="field"><span>Topic</span>
          <select className="input" value={topic} onChange={(event) => setTopic(event.target.value)}>{group.topics.map((one) => <option key={one}>{one}</option>)}</select>
        </label>
        <label className="field"><span>To</span>
          <select className="input" value={kind} onChange={(event) => setKind(event.target.value as ResetTo["kind"])}>
            {KINDS.map(([name, text]) => <option key={name} value={name}>{text}</option>)}
          </select>
        </label>
        {needsValue(kind) && (
          <label className="field"><span>{kind === "time" ? "Time" : kind === "shift" ? "Events, negative to go back" : "Offset"}</span>
            <input className="input" type={kind === "time" ? "datetime-local" : "number"} step={1} required value={value} onChange={(event) => setValue(event.target.value)} />
          </label>
        )}
        <div className="row wrap">
          <button type="submit" className="button" disabled={doing.isBusy || topic === ""}>What would change?</button>
          <button type="button" className="button main" disabled={doing.isBusy || !answer?.dry_run || isBusyGroup} onClick={() => plan && void ask(plan.asked, false)}>Do it</button>
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
