// A line of a few dozen numbers in the size of a word.

type SparkProps = { values: number[]; label: string; width?: number; height?: number };

export function Spark({ values, label, width = 96, height = 24 }: SparkProps) {
  const high = Math.max(...values, 1e-9);
  const step = width / Math.max(values.length - 1, 1);
  const points = values.map(
    (value, at) => `${(at * step).toFixed(1)},${(height - 2 - (value / high) * (height - 4)).toFixed(1)}`,
  );
  const line = points.join(" ");
  return (
    <svg width={width} height={height} role="img" aria-label={label} data-spark={values.length}>
      {values.length > 1 && (
        <>
          <polygon points={`0,${height} ${line} ${width},${height}`} fill="var(--accent)" opacity="0.12" />
          <polyline points={line} fill="none" stroke="var(--accent)" strokeWidth="1.4" />
        </>
      )}
    </svg>
  );
}
