// JSON as a tree whose branches fold.
import { useState } from "react";
import { isLong } from "../../lib/exact";

const OPEN_DEPTH = 3;
const SHOWN = 200;

export const Tree = ({ value }: { value: unknown }) => (
  <div className="tree mono"><Branch value={value} depth={0} /></div>
);

function Branch({ name, value, depth }: { name?: string; value: unknown; depth: number }) {
  const [isOpen, setIsOpen] = useState(depth < OPEN_DEPTH);
  const label = name === undefined ? null : <span className="tree-key">{name}: </span>;
  if (value === null || typeof value !== "object" || isLong(value)) {
    const kind = value === null ? "null" : isLong(value) ? "number" : typeof value;
    return <div className="tree-leaf">{label}<span className={`tree-${kind}`}>{JSON.stringify(value)}</span></div>;
  }
  const isList = Array.isArray(value);
  const entries = Object.entries(value);
  const size = isList ? `[${entries.length}]` : `{${entries.length}}`;
  return (
    <div>
      <button type="button" className="bare tree-fold" aria-expanded={isOpen} onClick={() => setIsOpen(!isOpen)}>
        <span aria-hidden="true">{isOpen ? "▾" : "▸"}</span> {label}<span className="dim">{size}</span>
      </button>
      {isOpen && (
        <div className="tree-inner">
          {entries.slice(0, SHOWN).map(([key, inner]) => <Branch key={key} name={key} value={inner} depth={depth + 1} />)}
          {entries.length > SHOWN && <span className="dim">and {entries.length - SHOWN} more</span>}
        </div>
      )}
    </div>
  );
}
