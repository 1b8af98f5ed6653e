// The one WebSocket of the page: subscriptions are shared, survive a reconnect, and move to another
// node when the one that served the page dies, freezes or is cut off.
import { parse } from "../lib/exact";
import { addresses, currentBase, moveTo, nextBase } from "./bases";
import type { ClusterHealth, FromNode, Problem, Subscribe } from "./types";

export type Ask = Omit<Subscribe, "type" | "id">;
export type Listener = (message: FromNode) => void;
/** `problem`: why the last node that was asked serves nobody from this address; `lostAtMs`: when a
 * node was last heard, while none is. */
export type Connection = {
  state: "connecting" | "open" | "lost";
  node: number | null;
  problem: Problem | null;
  lostAtMs: number | null;
};

const SILENCE_MS = 3_500;
const RETRY_MS = 150;
/** Between two tries; each round over all addresses doubles the pause up to this. */
const RETRY_MS_MAX = 5_000;
const LOOK_MS = 500;
/** After a node could not serve a feed for the moment. */
const AGAIN_MS = 1_000;
const SEEK_MS = 2_000;

/** Whether the same may be answered a moment later. */
export const isPassing = (problem: Problem): boolean => [429, 503].includes(problem.status);

type Feed = {
  id: string;
  ask: Ask;
  listeners: Set<Listener>;
  last: FromNode | null;
  isTold: boolean;
  isPaused: boolean;
};

class Live {
  private socket: WebSocket | null = null;
  private feeds = new Map<string, Feed>();
  private byId = new Map<string, Feed>();
  private count = 0;
  private heardAt = 0;
  private soughtAt = 0;
  private losses = 0;
  private listeners = new Set<() => void>();
  connection: Connection = { state: "connecting", node: null, problem: null, lostAtMs: null };

  start(): void {
    this.connect();
    window.setInterval(() => this.look(), LOOK_MS);
  }

  /** Follow a feed; equal asks share one subscription, and its last state comes at once. */
  subscribe(ask: Ask, listener: Listener): () => void {
    const key = JSON.stringify(ask);
    let feed = this.feeds.get(key);
    if (!feed) {
      feed = { id: `s${++this.count}`, ask, listeners: new Set(), last: null, isTold: false, isPaused: false };
      this.feeds.set(key, feed);
      this.byId.set(feed.id, feed);
      this.tell(feed);
    } else if (feed.last) listener(feed.last);
    feed.listeners.add(listener);
    return () => this.leave(key, feed, listener);
  }

  /** Hold a feed up, or let it go on; a new connection does not ask for one that is held up. */
  pause(ask: Ask, isPaused: boolean): void {
    const feed = this.feeds.get(JSON.stringify(ask));
    if (!feed) return;
    feed.isPaused = isPaused;
    if (feed.isTold) this.write({ type: isPaused ? "pause" : "resume", id: feed.id });
    else this.tell(feed);
  }

  /** Ask anew for a feed that ended with a problem. */
  again(ask: Ask): void {
    const feed = this.feeds.get(JSON.stringify(ask));
    if (feed) this.tell(feed);
  }

  onConnection = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  private leave(key: string, feed: Feed, listener: Listener): void {
    feed.listeners.delete(listener);
    if (feed.listeners.size > 0) return;
    this.feeds.delete(key);
    this.byId.delete(feed.id);
    if (feed.isTold) this.write({ type: "unsubscribe", id: feed.id });
  }

  private connect(): void {
    this.heardAt = performance.now();
    let socket: WebSocket;
    try {
      socket = new WebSocket(`${currentBase().replace(/^http/, "ws")}/v1/stream`);
    } catch {
      this.lose(); // not an address that this page may open
      return;
    }
    this.socket = socket;
    socket.onmessage = (event) => {
      if (this.socket === socket) this.receive(parse(event.data as string) as FromNode);
    };
    socket.onclose = () => {
      if (this.socket === socket) this.lose();
    };
  }

  private lose(to?: string): void {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    for (const feed of this.feeds.values()) feed.isTold = false;
    const silentMs = performance.now() - this.heardAt;
    const lostAtMs = this.connection.state === "open" ? Date.now() - silentMs : this.connection.lostAtMs;
    this.become({ ...this.connection, state: "lost", node: null, lostAtMs });
    if (to === undefined) nextBase();
    else moveTo(to);
    const rounds = Math.floor(this.losses++ / addresses().length);
    window.setTimeout(() => this.connect(), Math.min(RETRY_MS * 2 ** rounds, RETRY_MS_MAX));
  }

  /** Leave a node that is cut off, if another one is with the majority. */
  private async seek(): Promise<void> {
    const now = performance.now();
    if (now - this.soughtAt < SEEK_MS) return;
    this.soughtAt = now;
    const socket = this.socket;
    const others = addresses().filter((base) => base !== currentBase());
    const found = await Promise.any(others.map(served)).catch(() => undefined);
    if (found !== undefined && socket !== null && this.socket === socket) this.lose(found);
  }

  private look(): void {
    if (this.socket && performance.now() - this.heardAt > SILENCE_MS) this.lose();
  }

  private receive(message: FromNode): void {
    this.heardAt = performance.now();
    if (message.type === "hello") {
      this.losses = 0;
      this.become({ state: "open", node: message.served_by, problem: null, lostAtMs: null });
      for (const feed of this.feeds.values()) this.tell(feed);
      return;
    }
    if (message.type === "error" && this.connection.state !== "open")
      this.become({ ...this.connection, problem: message.problem });
    if (message.type === "cluster" && isAlone(message.health)) void this.seek();
    const id = "id" in message ? message.id : null;
    const feed = id === null ? undefined : this.byId.get(id);
    if (!feed) return;
    if (message.type === "error") this.stop(feed, message.problem);
    if (["cluster", "answer", "partition", "group", "metrics", "error"].includes(message.type))
      feed.last = message;
    for (const listener of feed.listeners) listener(message);
  }

  private stop(feed: Feed, problem: Problem): void {
    feed.isTold = false;
    if (isPassing(problem)) window.setTimeout(() => this.tell(feed), AGAIN_MS);
  }

  private tell(feed: Feed): void {
    const isWanted = this.byId.has(feed.id) && !feed.isPaused;
    if (this.connection.state !== "open" || feed.isTold || !isWanted) return;
    feed.isTold = true;
    this.write({ type: "subscribe", id: feed.id, ...feed.ask });
  }

  private write(message: object): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  private become(connection: Connection): void {
    this.connection = connection;
    for (const listener of this.listeners) listener();
  }
}

export const live = new Live();

const isAlone = (health: ClusterHealth): boolean =>
  health.status === "down" && health.nodes_up * 2 <= health.nodes_total;

/** Return the address, if the node there is with the majority; else throw. */
async function served(base: string): Promise<string> {
  const answer = await fetch(`${base}/v1/cluster/health`, { signal: AbortSignal.timeout(SEEK_MS) });
  const health = (await answer.json()) as ClusterHealth;
  if (!answer.ok || isAlone(health)) throw new Error(`${base} has no majority either`);
  return base;
}
