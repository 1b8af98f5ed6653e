// A topic's settings: what each is, its default, and where its value comes from.
import { useState } from "react";
import { useAnswer, useDoing } from "../../api/hooks";
import { write } from "../../api/rest";
import type { Setting } from "../../api/types";
import { useUrl } from "../../lib/url";
import { Chip, Panel, ProblemNote } from "../../ui/parts";

export function Config({ topic }: { topic: string }) {
  const url = useUrl();
  const { data } = useAnswer("/v1/topics/{topic}/config", { topic }, {}, 2_000);
  const isOwn = url.query.get("only") === "set";
  const rows = (data?.items ?? []).filter((row) => !isOwn || row.source === "topic");
  return (
    <Panel title="Configuration" flush
      end={<label className="row"><input type="checkbox" checked={isOwn} onChange={(event) => url.set({ only: event.target.checked ? "set" : null })} />only what is set here</label>}>
      <ul className="settings">
        {rows.map((row) => <Row key={row.name} topic={topic} row={row} />)}
        {rows.length === 0 && <li className="dim">Nothing is set on this topic: all defaults.</li>}
      </ul>
    </Panel>
  );
}

function Row({ topic, row }: { topic: string; row: Setting }) {
  const [{ isBusy, problem }, run] = useDoing();
  const [text, setText] = useState<string | null>(null);
  const isEdited = text !== null && text !== row.value;
  /** What was typed stays until the node has taken it. */
  const change = (value: string | null) =>
    run(async () => {
      await write("PATCH /v1/topics/{topic}", { topic }, { config: { [row.name]: value } });
      setText(null);
    });
  return (
    <li data-setting={row.name} data-value={row.value} data-source={row.source}>
      <div className="row wrap">
        <span className="name mono">{row.name}</span>
        <Chip tone={row.source === "topic" ? "good" : "plain"}>{row.source === "topic" ? "set here" : "default"}</Chip>
        {row.effect !== "live" && <Chip tone="warn">{row.effect}</Chip>}
      </div>
      <p className="dim">{row.doc} <span title={row.type}>Allowed: {row.allowed}. Default: <code>{row.default === "" ? "empty" : row.default}</code>.</span></p>
      <form className="row" onSubmit={(event) => { event.preventDefault(); if (isEdited) void change(text); }}>
        <input className="input mono grow" aria-label={row.name} value={text ?? row.value} disabled={row.read_only} onChange={(event) => setText(event.target.value)} />
        <button type="submit" className="button small" disabled={isBusy || !isEdited}>Set</button>
        <button type="button" className="button small" disabled={isBusy || row.source !== "topic" || row.read_only} aria-label={`Default for ${row.name}`}
          onClick={() => void change(null)}>Default</button>
      </form>
      <ProblemNote problem={problem} />
    </li>
  );
}
