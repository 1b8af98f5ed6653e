// Small parts: links, panels, figures, chips, empty pages, problems.
import type { ComponentProps, MouseEvent, ReactNode } from "react";
import type { Problem } from "../api/types";
import { whole } from "../lib/format";
import { nodeColour } from "../lib/theme";
import { navigate } from "../lib/url";

export function Link({ to, ...rest }: { to: string } & ComponentProps<"a">) {
  const go = (event: MouseEvent) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    navigate(to);
  };
  return <a href={to} onClick={go} {...rest} />;
}

type PanelProps = {
  title: string;
  note?: ReactNode;
  end?: ReactNode;
  className?: string;
  flush?: boolean;
  id?: string;
  children: ReactNode;
};

export function Panel({ title, note, end, className = "", flush, id, children }: PanelProps) {
  return (
    <section className={`panel ${className}`} aria-label={title} data-panel={id}>
      <header>
        <h2>{title}</h2>
        {note !== undefined && <span className="note">{note}</span>}
        {end !== undefined && <div className="end row wrap">{end}</div>}
      </header>
      <div className={flush ? "flush" : "body"}>{children}</div>
    </section>
  );
}

type FigureProps = {
  label: string;
  /** What tests and screen readers find: the exact value. */
  fact?: string;
  value?: number | string | null | undefined;
  shown: ReactNode;
  small?: ReactNode;
  title?: string | undefined;
  tone?: "good" | "warn" | "bad" | "dim" | undefined;
};

export function Figure({ label, fact, value, shown, small, title, tone }: FigureProps) {
  return (
    <div className="figure" title={title}>
      <dt>{label}</dt>
      <dd className={tone} data-fact={fact} data-value={value ?? undefined}>
        {shown} {small !== undefined && <small>{small}</small>}
      </dd>
    </div>
  );
}

export const Figures = ({ children }: { children: ReactNode }) => (
  <dl className="figures" style={{ margin: 0 }}>
    {children}
  </dl>
);

/** A number with its exact value beside it, for tests. */
export function Fact({ name, value, children }: { name: string; value: unknown; children: ReactNode }) {
  return (
    <span data-fact={name} data-value={String(value)}>
      {children}
    </span>
  );
}

export function NodeDot({ node }: { node: number | null }) {
  if (node === null) return <span className="chip bad">no leader</span>;
  const style = { "--node": nodeColour(node) } as React.CSSProperties;
  return (
    <span className="node-dot" style={style} title={`node ${node}`}>
      {node}
    </span>
  );
}

/** Says that a list does not hold all there are. */
export const Unseen = ({ shown, total }: { shown: number; total: number | null }) =>
  total !== null && total > shown ? <>; only the first {whole(shown)} of {whole(total)} by name are here: search for others</> : null;

export type Tone = "good" | "warn" | "bad" | "plain";

export const Chip = ({ tone = "plain", children }: { tone?: Tone; children: ReactNode }) => (
  <span className={`chip ${tone}`}>
    {tone !== "plain" && <span className="dot" />}
    {children}
  </span>
);

/** Says what would be here, and the command that brings it. */
export function Empty({ title, children, command }: { title: string; children?: ReactNode; command?: string }) {
  return (
    <div className="empty" data-empty>
      <strong>{title}</strong>
      {children !== undefined && <p>{children}</p>}
      {command !== undefined && <pre className="command">{command}</pre>}
    </div>
  );
}

export const Again = ({ again }: { again: () => void }) => (
  <button type="button" className="button small" onClick={again}>Ask again</button>
);

type ProblemNoteProps = { problem: Problem | null; again?: (() => void) | undefined };

/** What went wrong; `again` asks anew, where nothing does so by itself. */
export function ProblemNote({ problem, again }: ProblemNoteProps) {
  if (!problem) return null;
  return (
    <div className="problem" role="alert">
      <strong>{problem.title}</strong>
      <span>{problem.detail}</span>
      {problem.errors.map((error) => (
        <span key={error.field}>
          <code>{error.field}</code>: {error.detail}
          {error.allowed && `; allowed: ${error.allowed}`}
        </span>
      ))}
      {again !== undefined && <Again again={again} />}
    </div>
  );
}

type SegmentsProps<T extends string> = {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
};

export function Segments<T extends string>({ label, value, options, onChange }: SegmentsProps<T>) {
  return (
    <div className="segments" role="group" aria-label={label}>
      {options.map(([name, text]) => (
        <button key={name} type="button" aria-pressed={name === value} onClick={() => onChange(name)}>
          {text}
        </button>
      ))}
    </div>
  );
}
