// Where the API is: the node that served this page, or another one once that one is gone. A page that
// came by HTTPS stays with its own address: a proxy serves it, and nodes speak plain HTTP.
import type { Node } from "./types";

const LOCAL = ["127.0.0.1", "localhost", "[::1]"];
const own = window.location.origin;

let known: string[] = [own];
let at = 0;

/** Learn the addresses of all nodes; the page's own stays first. */
export function learn(nodes: Node[]): void {
  if (!own.startsWith("http:")) return; // a browser opens nothing plain from there
  const current = currentBase();
  const found = nodes
    .filter((node) => node.host !== null && node.http_port !== null && node.http_port > 0)
    .map((node) => `http://${hostOf(node.host as string)}:${node.http_port}`);
  known = [...new Set([own, ...found])];
  at = Math.max(0, known.indexOf(current));
}

/** A local cluster is reached by the name by which this page was. */
function hostOf(host: string): string {
  const here = window.location.hostname;
  return LOCAL.includes(host) && LOCAL.includes(here) ? here : host;
}

export const addresses = (): string[] => known;
export const currentBase = (): string => known[at] ?? own;

export function moveTo(base: string): void {
  at = Math.max(0, known.indexOf(base));
}

export function nextBase(): string {
  at = (at + 1) % known.length;
  return currentBase();
}
