// One event in full: as a tree, as text, in hex, and its headers.
import { type ReactNode, useEffect, useState } from "react";
import { ApiError, read } from "../../api/rest";
import type { Datum, EventAnswer, Problem } from "../../api/types";
import { bytes, moment } from "../../lib/format";
import { useUrl } from "../../lib/url";
import { Panel, ProblemNote, Segments } from "../../ui/parts";
import { dump } from "./datum";
import { Tree } from "./tree";

type View = "json" | "text" | "hex" | "headers";

const ASKED = { json: "auto", text: "text", hex: "hex", headers: "auto" } as const;

export function Viewer({ topic, place, onClose }: { topic: string; place: string; onClose: () => void }) {
  const url = useUrl();
  const view = (url.query.get("view") ?? "json") as View;
  const { event, problem } = useEvent(topic, place, ASKED[view] ?? "auto");
  const value = event?.value ?? null;
  return (
    <Panel title={`Event ${place}`} className="events-one" id="event"
      end={
        <>
          <Segments label="View" value={view} onChange={(one) => url.set({ view: one === "json" ? null : one })}
            options={[["json", "JSON"], ["text", "Text"], ["hex", "Hex"], ["headers", `Headers${event ? ` ${event.headers.length}` : ""}`]]} />
          <button type="button" className="button quiet" onClick={onClose} aria-label="Close the event">✕</button>
        </>
      }>
      <ProblemNote problem={problem} />
      {event && (
        <>
          <dl className="pairs">
            <Pair name="time">{moment(event.timestamp_ms, true)}{event.log_append && " (of the log)"}</Pair>
            <Pair name="partition, offset">{event.partition}, {event.offset}</Pair>
            <Pair name="key"><code>{event.key === null ? "none" : plain(event.key)}</code></Pair>
            {event.event_id !== null && <Pair name="event id"><code>{event.event_id}</code></Pair>}
            <Pair name="size">{bytes(event.size_bytes)}, term {event.leader_epoch}</Pair>
          </dl>
          <div className="event-body" data-view={view} tabIndex={0} role="region" aria-label="The event's content">
            {view === "headers" ? <Headers event={event} /> : <Body view={view} datum={value} />}
          </div>
          {value?.truncated && <p className="dim">Only the first part of {bytes(value.size_bytes)} is shown.</p>}
        </>
      )}
    </Panel>
  );
}

const Pair = ({ name, children }: { name: string; children: ReactNode }) => (
  <div><dt>{name}</dt><dd>{children}</dd></div>
);

const plain = (datum: Datum): string => (datum.view === "json" ? JSON.stringify(datum.data) : String(datum.data));

function Body({ view, datum }: { view: View; datum: Datum | null }) {
  if (datum === null) return <p className="dim">No value: a tombstone, where the topic is compacted.</p>;
  if (view === "hex") return <pre className="mono">{datum.view === "hex" ? dump(String(datum.data)) : ""}</pre>;
  if (view === "json" && datum.view === "json") return <Tree value={datum.data} />;
  return <pre className="mono wrap-text">{plain(datum)}</pre>;
}

function Headers({ event }: { event: EventAnswer }) {
  if (event.headers.length === 0) return <p className="dim">It has no headers.</p>;
  return (
    <table className="table">
      <tbody>
        {event.headers.map((header, at) => (
          <tr key={`${header.name}/${at}`}><th scope="row">{header.name}</th><td><code>{header.value === null ? "null" : plain(header.value)}</code></td></tr>
        ))}
      </tbody>
    </table>
  );
}

type Found = { event: EventAnswer | null; problem: Problem | null };

const NOTHING: Found = { event: null, problem: null };

/** What is at a place, as far as it is known: never what was at another. */
function useEvent(topic: string, place: string, view: "auto" | "text" | "hex") {
  const of = `${topic}/${place}`;
  const [found, setFound] = useState<Found & { of: string }>({ ...NOTHING, of });
  useEffect(() => {
    let isOver = false;
    const [partition = "", offset = ""] = place.split(":");
    read("/v1/topics/{topic}/partitions/{partition}/events/{offset}", { topic, partition, offset }, { view })
      .then((event) => !isOver && setFound({ event, problem: null, of }))
      .catch((error: unknown) => {
        if (!(error instanceof ApiError)) throw error;
        if (!isOver) setFound({ event: null, problem: error.problem, of });
      });
    return () => {
      isOver = true;
    };
  }, [topic, place, view, of]);
  return found.of === of ? found : NOTHING;
}
