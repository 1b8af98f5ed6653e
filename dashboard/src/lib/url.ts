// The URL is the state: path and parameters, as a store that components follow.
import { useCallback, useMemo, useSyncExternalStore } from "react";

const listeners = new Set<() => void>();

function follow(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("popstate", listener);
  };
}

const here = (): string => window.location.pathname + window.location.search;

export function navigate(to: string, options: { replace?: boolean } = {}): void {
  if (to === here()) return;
  if (options.replace) history.replaceState(null, "", to);
  else {
    const from = window.location.pathname;
    history.pushState(null, "", to);
    if (window.location.pathname !== from) window.scrollTo(0, 0);
  }
  for (const listener of listeners) listener();
}

export type Url = {
  parts: string[];
  query: URLSearchParams;
  /** Set or (null) remove parameters of this page. */
  set: (values: Record<string, string | number | null>, options?: { push?: boolean }) => void;
};

/** A part of a path as it was meant, or as it is where a lone % makes it nothing. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function useUrl(): Url {
  const text = useSyncExternalStore(follow, here);
  const set = useCallback<Url["set"]>((values, options) => {
    const query = new URLSearchParams(window.location.search);
    for (const [name, value] of Object.entries(values)) {
      if (value === null || value === "") query.delete(name);
      else query.set(name, String(value));
    }
    const to = window.location.pathname + (query.size ? `?${query}` : "");
    navigate(to, { replace: !options?.push });
  }, []);
  return useMemo(() => {
    const url = new URL(text, window.location.origin);
    const parts = url.pathname.split("/").filter(Boolean).map(decoded);
    return { parts, query: url.searchParams, set };
  }, [text, set]);
}
