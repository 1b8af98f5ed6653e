// A table of which only the rows in sight exist: thousands stay usable.
import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useRef } from "react";

export type Column<T> = {
  name: string;
  /** A CSS grid track. */
  width: string;
  show: (row: T) => ReactNode;
  isNumber?: boolean;
  /** Not on a phone. */
  isWide?: boolean;
};

type RowsProps<T> = {
  label: string;
  rows: readonly T[];
  keyOf: (row: T) => string;
  columns: readonly Column<T>[];
  rowHeight?: number;
  maxHeight?: number;
  selected?: string | null;
  onSelect?: (row: T) => void;
};

export function Rows<T>(props: RowsProps<T>) {
  const { label, rows, keyOf, columns, rowHeight = 38, maxHeight = 560, selected, onSelect } = props;
  const scroll = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroll.current,
    estimateSize: () => rowHeight,
    overscan: 8,
  });
  const tracks = {
    "--tracks": columns.map((column) => column.width).join(" "),
    "--tracks-narrow": columns.filter((column) => !column.isWide).map((column) => column.width).join(" "),
  } as React.CSSProperties;
  const className = (column: Column<T>) => `${column.isNumber ? "num" : ""} ${column.isWide ? "desk" : ""}`;
  const pick = (row: T) => (onSelect === undefined ? undefined : () => onSelect(row));
  return (
    <div role="table" aria-label={label} aria-rowcount={rows.length + 1} className="rows" style={tracks} data-rows={rows.length}>
      <div role="rowgroup">
        <div role="row" className="rows-head">
          {columns.map((column) => (
            <span key={column.name} role="columnheader" className={className(column)}>{column.name}</span>
          ))}
        </div>
      </div>
      <div role="rowgroup" ref={scroll} className="rows-body" tabIndex={0} style={{ maxHeight }}>
        <div style={{ height: virtual.getTotalSize(), position: "relative" }} role="presentation">
          {virtual.getVirtualItems().map((item) => {
            const row = rows[item.index] as T;
            const key = keyOf(row);
            return (
              <div key={key} role="row" aria-rowindex={item.index + 2} data-row={key}
                aria-selected={onSelect ? key === selected : undefined}
                className={`rows-row ${onSelect ? "pick" : ""}`} onClick={pick(row)}
                style={{ height: rowHeight, transform: `translateY(${item.start}px)` }}>
                {columns.map((column) => (
                  <span key={column.name} role="cell" className={className(column)}>{column.show(row)}</span>
                ))}
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}
