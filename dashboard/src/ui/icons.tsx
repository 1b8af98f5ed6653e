// Icons as lines of one width.
import type { ReactNode } from "react";

const PATHS = {
  cluster: "M12 5.5 5.5 17h13z|M12 3.2a2.3 2.3 0 1 0 0 4.6 2.3 2.3 0 0 0 0-4.6z|M5.5 14.7a2.3 2.3 0 1 0 0 4.6 2.3 2.3 0 0 0 0-4.6z|M18.500 14.700a2.300 2.300 0 1 0 0 4.600 2.300 2.300 0 0 0 0-4.600z",
  failovers: "M3 12h4l2.500-7 4 14 2.500-7h5",
  log: "M4 5h16|M4 10h11|M4 15h16|M4 20h7",
  topics: "M4 6.500h16v4H4z|M4 13.500h16v4H4z",
  groups: "M8.500 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6z|M3 19c.6-3 2.700-4.500 5.500-4.500S13.400 16 14 19|M16 11a2.600 2.600 0 1 0-1.200-4.900|M16.500 14.600c2.200.2 3.900 1.600 4.500 4.400",
  dedup: "M5 5h10v10H5z|M9 9h10v10H9z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z|M12 2v2|M12 20v2|M4.900 4.900l1.400 1.400|M17.700 17.700l1.400 1.400|M2 12h2|M20 12h2|M4.900 19.100l1.400-1.400|M17.700 6.300l1.400-1.400",
  moon: "M20 14.500A8 8 0 0 1 9.500 4a8 8 0 1 0 10.500 10.500z",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }): ReactNode {
  return (
    <svg width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor"
      strokeWidth="1.7" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
      {PATHS[name].split("|").map((path) => (
        <path key={path} d={path} />
      ))}
    </svg>
  );
}

export function Logo() {
  return (
    <svg width="24" height="24" viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeLinecap="round" aria-hidden="true">
      <path d="M12 3v18" strokeWidth="2.600" />
      <path d="M4 8v8M20 8v8" strokeWidth="2.600" />
      <path d="M4 12h16" strokeWidth="1.500" opacity="0.6" />
    </svg>
  );
}
