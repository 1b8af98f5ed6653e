// Publish an event by hand; with an id, send the same again and see that it is stored once.
import { useState } from "react";
import { useDoing } from "../../api/hooks";
import { isUnsure, write } from "../../api/rest";
import type { NewEvent, Published, TopicAnswer } from "../../api/types";
import { clock, ms } from "../../lib/format";
import { Chip, Empty, Link, Panel, ProblemNote, Segments } from "../../ui/parts";

type Encoding = "json" | "text" | "base64";
type Sent = { row: Published; took: number; at: number };

const KEPT = 50;
/** Of random bytes: `randomUUID` is there only where the page came by HTTPS or from this machine. */
const freshId = (): string => Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export function Publish({ topic }: { topic: TopicAnswer }) {
  const [doing, run] = useDoing();
  const [key, setKey] = useState("");
  const [value, setValue] = useState('{"delay": 12}');
  const [encoding, setEncoding] = useState<Encoding>("json");
  const [id, setId] = useState(topic.dedup ? freshId : "");
  const [headers, setHeaders] = useState("");
  const [partition, setPartition] = useState("");
  const [sent, setSent] = useState<Sent[]>([]);
  const [isTried, setIsTried] = useState(false);
  const [isTyped, setIsTyped] = useState(false);
  const notJson = encoding === "json" && !isJson(value);
  const notHeader = lines(headers).find((line) => !HEADER.test(line));
  const wrong = notJson || notHeader !== undefined;
  const isUnused = isTyped || !isTried;
  // An id is used once; the next event is another one, unless it is sent as the same.
  const nextId = (): string => (topic.dedup && (!isUnused || id === "") ? freshId() : id);
  const publish = (eventId: string) =>
    run(async () => {
      // Known before it is sent: without an answer, only this id tells whether it was stored.
      setId(eventId);
      setIsTyped(false);
      setIsTried(true);
      const event: NewEvent = {
        // JSON goes as it was typed: parsed here, large numbers would lose their last digits.
        value: encoding === "json" ? value.trim() : value,
        value_encoding: encoding === "base64" ? "base64" : "text",
        headers: headersOf(headers),
        ...(key !== "" && { key, key_encoding: "text" as const }),
        ...(partition !== "" && { partition: Number(partition) }),
        ...(eventId !== "" && { id: eventId }),
      };
      const answer = await write("POST /v1/topics/{topic}/events", { topic: topic.name }, { events: [event] });
      const rows = answer.items.map((row) => ({ row, took: answer.took_ms, at: Date.now() }));
      setSent((before) => [...rows, ...before].slice(0, KEPT));
    });
  return (
    <div className="grid">
      <Panel title="Publish an event" className="half" note="appended by the node, acknowledged by a majority">
        <form className="form" onSubmit={(event) => { event.preventDefault(); void publish(nextId()); }}>
          <label className="field"><span>Key</span>
            <input className="input mono" value={key} onChange={(event) => setKey(event.target.value)} placeholder="none: any partition" />
          </label>
          <div className="field"><span className="row wrap">Value
              <Segments label="Encoding" value={encoding} onChange={setEncoding} options={[["json", "JSON"], ["text", "Text"], ["base64", "Base64"]]} />
              {notJson && <span className="bad">not JSON yet</span>}
            </span>
            <textarea className="input" rows={6} value={value} onChange={(event) => setValue(event.target.value)} aria-label="Value" spellCheck={false} />
          </div>
          <div className="form-row">
            <label className="field grow"><span>Headers, a line each: name: value</span>
              <textarea className="input" rows={2} value={headers} onChange={(event) => setHeaders(event.target.value)} spellCheck={false} />
              {notHeader !== undefined && <small className="bad" role="alert">no header: “{notHeader}”; expected a name, a colon, a value</small>}
            </label>
            <label className="field"><span>Partition</span>
              <input className="input partition" type="number" min={0} max={topic.partitions - 1} value={partition} onChange={(event) => setPartition(event.target.value)} placeholder="any" />
            </label>
          </div>
          <label className="field"><span>{!topic.dedup ? "Event id (only a header: this topic does not store ids once)" : isUnused ? "Event id of the next one" : "Event id of the last one sent"}</span>
            <input className="input mono" value={id} onChange={(event) => { setId(event.target.value); setIsTyped(true); }} maxLength={256} />
          </label>
          <div className="row wrap">
            <button type="submit" className="button main" disabled={doing.isBusy || wrong}>Publish</button>
            <button type="button" className="button" disabled={doing.isBusy || wrong || id === "" || !isTried} onClick={() => void publish(id)}>Send the same id again</button>
          </div>
          <ProblemNote problem={doing.problem} />
          {doing.problem && isUnsure(doing.problem) && (
            <p role="status">The event may be stored. {topic.dedup ? "Send the same id again: then it is stored once." : "Published again, it may be stored twice: this topic does not store ids once."}</p>
          )}
        </form>
      </Panel>
      <Panel title="What became of them" className="half" flush>
        {sent.length === 0 ? (
          <Empty title={isTried ? "No answer yet" : "Nothing sent from this page yet"} command={`trimaran produce ${topic.name} --key UA1 < event.json`}>The same from a terminal:</Empty>
        ) : (
          <ul className="sent">
            {sent.map(({ row, took, at }, number) => (
              <li key={sent.length - number} className="row wrap" data-outcome={row.duplicate_of ? "duplicate" : "stored"}>
                <span className="mono dim">{clock(at, true)}</span>
                {row.duplicate_of ? <Chip tone="warn">duplicate</Chip> : <Chip tone="good">stored</Chip>}
                <Where topic={topic.name} row={row} />
                <span className="dim">{ms(took)}</span>
                {row.id !== null && <code className="dim">{row.id}</code>}
              </li>
            ))}
          </ul>
        )}
      </Panel>
    </div>
  );
}

function Where({ topic, row }: { topic: string; row: Published }) {
  const place = row.duplicate_of ?? row;
  if (place.offset === null) return null;
  const name = `${place.partition}:${place.offset}`;
  return (
    <span>
      {row.duplicate_of && "of "}
      <Link className="text" to={`/topics/${encodeURIComponent(topic)}?offset=${place.offset}&partition=${place.partition}&event=${name}`}>{name}</Link>
    </span>
  );
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

const HEADER = /^([^:]+):\s*(.*)$/;
const lines = (text: string): string[] => text.split("\n").map((line) => line.trim()).filter((line) => line !== "");

/** Of lines each of which is a header. */
const headersOf = (text: string): NonNullable<NewEvent["headers"]> =>
  lines(text)
    .map((line) => HEADER.exec(line))
    .filter((found) => found !== null)
    .map((found) => ({ name: (found[1] as string).trim(), value: found[2] ?? "" }));
