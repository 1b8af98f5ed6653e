// Light or dark: as the system says, or as the person chose.
import { useSyncExternalStore } from "react";

export type Theme = "light" | "dark";

const KEY = "trimaran-theme";
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

const chosen = (): Theme | null => {
  const found = localStorage.getItem(KEY);
  return found === "light" || found === "dark" ? found : null;
};

export const theme = (): Theme => chosen() ?? (dark.matches ? "dark" : "light");

function show(): void {
  document.documentElement.dataset.theme = theme();
  for (const listener of listeners) listener();
}

export function startTheme(): void {
  dark.addEventListener("change", show);
  show();
}

export function toggleTheme(): void {
  localStorage.setItem(KEY, theme() === "dark" ? "light" : "dark");
  show();
}

export function useTheme(): Theme {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, theme);
}

/** The value of a CSS variable now. */
export const colour = (name: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A node has one colour everywhere. */
export const nodeColour = (node: number): string => `var(--node-${((node - 1) % 9) + 1})`;
export const nodeColourNow = (node: number): string => colour(`--node-${((node - 1) % 9) + 1}`);
