// One request and its answer, typed by path; what goes wrong is a problem document.
import { parse } from "../lib/exact";
import { addresses, currentBase } from "./bases";
import type { Problem, Reads, Writes } from "./types";

export type Params = Record<string, string | number>;

const PATIENCE_MS = 15_000;
const TOKEN = "trimaran-token";
const UNREACHABLE = "/problems/unreachable";

export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

/** Fill in a path: `/v1/topics/{topic}` and its parameters behind the question mark. */
export function pathOf(path: string, params: Params = {}, query: object = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(String(params[name])),
  );
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== null && value !== "") search.set(name, String(value));
  return search.size ? `${filled}?${search}` : filled;
}

export async function read<P extends keyof Reads>(
  path: P,
  params: Params = {},
  query: Reads[P]["query"] = {} as Reads[P]["query"],
): Promise<Reads[P]["answer"]> {
  return ask("GET", pathOf(path, params, query)) as Promise<Reads[P]["answer"]>;
}

export async function write<P extends keyof Writes>(
  operation: P,
  params: Params = {},
  body?: Writes[P]["body"],
  query: object = {},
): Promise<Writes[P]["answer"]> {
  const [method = "POST", path = ""] = operation.split(" ");
  return ask(method, pathOf(path, params, query), body) as Promise<Writes[P]["answer"]>;
}

async function ask(method: string, target: string, body?: unknown): Promise<unknown> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (target.startsWith("/v1/local/")) headers[TOKEN] = token() ?? "";
  const init: RequestInit = { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) };
  const answer = await reach(target, init, method === "GET");
  if (answer.status === 204) return undefined;
  const found: unknown = await answer.text().then(parse).catch(() => null);
  if (found === null || (!answer.ok && typeof (found as Problem).detail !== "string"))
    throw new ApiError(problem("No answer of a node", answer.status, target, "what came is not from a node: is there a proxy between?"));
  if (!answer.ok) throw new ApiError(found as Problem);
  return found;
}

/** Whether what was asked for may have been done, as far as the problem tells. */
export const isUnsure = (found: Problem): boolean => found.type === UNREACHABLE || found.status === 504;

/** What went wrong before a node could say it. */
function problem(title: string, status: number, target: string, detail: string): Problem {
  return { type: UNREACHABLE, title, status, detail, instance: target, served_by: 0, errors: [], retry_after_s: null };
}

/** Ask the current node; a read goes on to the others when it does not answer. */
async function reach(target: string, init: RequestInit, mayRepeat: boolean): Promise<Response> {
  const others = mayRepeat ? addresses().filter((base) => base !== currentBase()) : [];
  let failure: unknown;
  for (const base of [currentBase(), ...others]) {
    try {
      return await fetch(base + target, { ...init, signal: AbortSignal.timeout(PATIENCE_MS) });
    } catch (error) {
      failure = error;
    }
  }
  const said = `${init.method} ${target.split("?")[0]}: ${String(failure)}`;
  throw new ApiError(
    mayRepeat
      ? problem("No node answers", 0, target, `no node answered ${said}`)
      : problem("No answer came", 0, target, `no answer came to ${said}. It may have been done all the same`),
  );
}

/** Take the token of a local cluster out of the address, and keep it for this tab. */
export function keepToken(): void {
  const found = /(?:^#|&)token=([^&]+)/.exec(window.location.hash);
  if (!found?.[1]) return;
  sessionStorage.setItem(TOKEN, found[1]);
  history.replaceState(null, "", window.location.pathname + window.location.search);
}

export const token = (): string | null => sessionStorage.getItem(TOKEN);
