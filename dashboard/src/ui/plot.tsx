// Lines over time: uPlot with our colours, a legend of our own, and bands behind the lines.
import { useEffect, useMemo, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { clock, tidy } from "../lib/format";
import { colour, useTheme } from "../lib/theme";

export type Line = {
  label: string;
  /** A CSS variable's name (`--node-1`). */
  colour: string;
  values: (number | null)[];
  dash?: number[];
  width?: number;
  /** Opacity of the area below, 0 to 1. */
  fill?: number;
  /** Stacked: drawn on top of the lines before it; `values` are its own part. */
};

export type Band = { from: number; to: number; label: string; strong: boolean };

type PlotProps = {
  name: string;
  /** Seconds since the epoch. */
  x: number[];
  lines: Line[];
  format: (value: number | null) => string;
  height?: number;
  stacked?: boolean;
  bands?: Band[];
  /** Called with seconds when a stretch of time was dragged. */
  onRange?: (from: number, to: number) => void;
  min?: number;
  legend?: boolean;
};

const GRID_PX = 36;
const GAP_S = 6;
/** Between two labels of time: whole seconds, for clocks show no less. */
const TIMES_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600];

export function Plot(props: PlotProps) {
  const { name, x, lines, format, height = 170, stacked = false, legend = true } = props;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const [at, setAt] = useState<number | null>(null);
  const shownTheme = useTheme();
  const data = useMemo(() => toData(x, lines, stacked), [x, lines, stacked]);
  const shape = lines.map((line) => `${line.label}|${line.colour}|${line.dash}|${line.fill}`).join();

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const made = new uPlot(options(element, latest, height, setAt), toData(x, lines, stacked), element);
    plot.current = made;
    const watch = new ResizeObserver(() => {
      if (element.clientWidth > 0) made.setSize({ width: element.clientWidth, height });
    });
    watch.observe(element);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = null;
    };
    // biome-ignore lint: the data follow below
  }, [shape, shownTheme, height, stacked, props.bands !== undefined, props.onRange !== undefined]);

  useEffect(() => {
    plot.current?.setData(data);
  }, [data, props.bands]);

  const index = at ?? x.length - 1;
  const said = lines.map((line) => `${line.label} ${format(line.values[index] ?? null)}`).join(", ");
  return (
    <div>
      {legend && (
        <div className="legend" aria-hidden="true">
          {lines.map((line) => (
            <span key={line.label}>
              <i style={{ "--series": `var(${line.colour})` } as React.CSSProperties} />
              {line.label} <b>{format(line.values[index] ?? null)}</b>
            </span>
          ))}
          {at !== null && <span className="dim">{clock((x[at] ?? 0) * 1000)}</span>}
        </div>
      )}
      <div
        ref={box}
        className="plot"
        style={{ height }}
        role="img"
        aria-label={`${name}: ${said}`}
        data-plot={name}
        data-series={JSON.stringify(lines.map((line) => line.colour))}
        data-points={x.length}
      />
    </div>
  );
}

/** uPlot's columns; stacked ones are summed up, the topmost first so that areas do not hide. */
function toData(x: number[], lines: Line[], stacked: boolean): uPlot.AlignedData {
  if (!stacked) return [x, ...lines.map((line) => line.values)] as uPlot.AlignedData;
  const sums = x.map(() => 0);
  const columns = lines.map((line) =>
    x.map((_, at) => {
      const value = line.values[at];
      if (value === null || value === undefined) return null;
      sums[at] = (sums[at] ?? 0) + value;
      return sums[at] ?? null;
    }),
  );
  return [x, ...columns.reverse()] as uPlot.AlignedData;
}

function options(
  element: HTMLDivElement,
  latest: { current: PlotProps },
  height: number,
  setAt: (at: number | null) => void,
): uPlot.Options {
  const props = latest.current;
  const ink = colour("--ink-3");
  const grid = { stroke: colour("--line"), width: 1 };
  const font = `11px ${colour("--font")}`;
  const lines = props.stacked ? [...props.lines].reverse() : props.lines;
  return {
    width: Math.max(element.clientWidth, 120),
    height,
    padding: [8, 18, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      points: { show: !props.stacked, size: 6 },
      drag: { x: props.onRange !== undefined, y: false, setScale: false },
    },
    scales: {
      x: { time: true },
      y: { range: (_, low, high) => rangeOf(low, high, latest.current.min) },
    },
    axes: [
      { stroke: ink, grid: { show: false }, ticks: { show: false }, font, size: 24, gap: 4, space: (_self, _axis, _low, _high, room) => (room > 500 ? 84 : 56),
        incrs: TIMES_S, values: (_, splits) => splits.map((split) => timeLabel(split, splits)) },
      { stroke: ink, grid, ticks: { show: false }, font, gap: 4, space: GRID_PX,
        size: (_, values) => Math.max(28, ...(values ?? []).map((value) => value.length * 6.6 + 10)),
        values: (_, splits) => splits.map((split) => tidy(latest.current.format(split))) },
    ],
    series: [
      {},
      ...lines.map((line): uPlot.Series => {
        const stroke = colour(line.colour);
        return {
          label: line.label,
          stroke,
          width: line.width ?? 1.75,
          points: { show: false },
          gaps: (self, _series, _from, _to, gaps) => gaps.filter(([from, to]) => isLong(self, from, to)),
          ...(line.dash && { dash: line.dash }),
          ...(line.fill && { fill: withOpacity(stroke, line.fill) }),
        };
      }),
    ],
    bands: props.stacked ? lines.slice(1).map((_, at) => ({ series: [at + 1, at + 2] })) : [],
    hooks: {
      setCursor: [(self) => setAt(self.cursor.idx ?? null)],
      drawClear: [(self) => drawBands(self, latest.current.bands ?? [])],
      setSelect: [
        (self) => {
          const { left, width } = self.select;
          if (width < 4) return;
          latest.current.onRange?.(self.posToVal(left, "x"), self.posToVal(left + width, "x"));
          self.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        },
      ],
    },
  };
}

/** Whether nothing is known for so long that the line must not go on. */
const isLong = (self: uPlot, from: number, to: number): boolean =>
  self.posToVal(to / devicePixelRatio, "x") - self.posToVal(from / devicePixelRatio, "x") > GAP_S;

function rangeOf(low: number | null, high: number | null, min = 0): [number, number] {
  if (low === null || high === null) return [0, 1];
  if (min !== 0 || low < 0) return high === low ? [low - 1, high + 1] : [low, high];
  return [0, high > 0 ? high * 1.12 : 1];
}

function timeLabel(at: number, splits: number[]): string {
  const step = (splits[1] ?? at) - (splits[0] ?? at);
  return step >= 60 ? clock(at * 1000).slice(0, 5) : clock(at * 1000);
}

function withOpacity(hex: string, opacity: number): string {
  const alpha = Math.round(opacity * 255).toString(16).padStart(2, "0");
  return /^#[0-9a-f]{6}$/i.test(hex) ? hex + alpha : hex;
}

/** Stretches of time behind the lines: a term each, every other one shaded. */
function drawBands(self: uPlot, bands: Band[]): void {
  const { ctx, bbox } = self;
  ctx.save();
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  ctx.font = `${11 * devicePixelRatio}px ${colour("--font")}`;
  for (const band of bands) {
    const from = Math.max(self.valToPos(band.from, "x", true), bbox.left);
    const to = Math.min(self.valToPos(band.to, "x", true), bbox.left + bbox.width);
    if (to <= from) continue;
    if (band.strong) {
      ctx.fillStyle = withOpacity(colour("--accent"), 0.09);
      ctx.fillRect(from, bbox.top, to - from, bbox.height);
    }
    if (to - from < ctx.measureText(band.label).width + 10 * devicePixelRatio) continue;
    ctx.fillStyle = colour("--ink-3");
    ctx.fillText(band.label, from + 6 * devicePixelRatio, bbox.top + 12 * devicePixelRatio);
  }
  ctx.restore();
}
