// The one WebSocket of the page: subscriptions are shared, survive a reconnect, and move to another
// node when the one that served the page dies, freezes or is cut off.
import { parse } from "../lib/exact";
import { addresses, currentBase, nextBase } from "./bases";
import type { FromNode, Problem, Subscribe } from "./types";

export type Ask = Omit<Subscribe, "type" | "id">;
export type Listener = (message: FromNode) => void;
/** `problem`: why the last node that was asked serves nobody from this address. */
export type Connection = { state: "connecting" | "open" | "lost"; node: number | null; problem: Problem | null };

const SILENCE_MS = 3_500;
const RETRY_MS = 300;
const LOOK_MS = 500;

type Feed = {
  id: string;
  ask: Ask;
  listeners: Set<Listener>;
  last: FromNode | null;
  isTold: boolean;
};

class Live {
  private socket: WebSocket | null = null;
  private feeds = new Map<string, Feed>();
  private byId = new Map<string, Feed>();
  private count = 0;
  private heardAt = 0;
  private listeners = new Set<() => void>();
  connection: Connection = { state: "connecting", node: null, problem: null };

  start(): void {
    this.connect();
    window.setInterval(() => this.look(), LOOK_MS);
  }

  /** Follow a feed; equal asks share one subscription, and its last state comes at once. */
  subscribe(ask: Ask, listener: Listener): () => void {
    const key = JSON.stringify(ask);
    let feed = this.feeds.get(key);
    if (!feed) {
      feed = { id: `s${++this.count}`, ask, listeners: new Set(), last: null, isTold: false };
      this.feeds.set(key, feed);
      this.byId.set(feed.id, feed);
      this.tell(feed);
    } else if (feed.last) listener(feed.last);
    feed.listeners.add(listener);
    return () => this.leave(key, feed, listener);
  }

  /** Say something about a feed that runs: pause, resume, another filter. */
  send(ask: Ask, message: { type: string; [name: string]: unknown }): void {
    const feed = this.feeds.get(JSON.stringify(ask));
    if (feed) this.write({ ...message, id: feed.id });
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
    const socket = new WebSocket(`${currentBase().replace(/^http/, "ws")}/v1/stream`);
    this.socket = socket;
    this.heardAt = performance.now();
    socket.onmessage = (event) => {
      if (this.socket === socket) this.receive(parse(event.data as string) as FromNode);
    };
    socket.onclose = () => {
      if (this.socket === socket) this.lose();
    };
  }

  private lose(): void {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    for (const feed of this.feeds.values()) feed.isTold = false;
    this.become({ state: "lost", node: null, problem: this.connection.problem });
    nextBase();
    window.setTimeout(() => this.connect(), addresses().length > 1 ? RETRY_MS / 2 : RETRY_MS);
  }

  private look(): void {
    if (this.socket && performance.now() - this.heardAt > SILENCE_MS) this.lose();
  }

  private receive(message: FromNode): void {
    this.heardAt = performance.now();
    if (message.type === "hello") {
      this.become({ state: "open", node: message.served_by, problem: null });
      for (const feed of this.feeds.values()) this.tell(feed);
      return;
    }
    if (message.type === "error" && this.connection.state !== "open")
      this.become({ ...this.connection, problem: message.problem });
    const id = "id" in message ? message.id : null;
    const feed = id === null ? undefined : this.byId.get(id);
    if (!feed) return;
    if (message.type === "error") feed.isTold = false;
    if (["cluster", "answer", "partition", "group", "metrics", "error"].includes(message.type))
      feed.last = message;
    for (const listener of feed.listeners) listener(message);
  }

  private tell(feed: Feed): void {
    if (this.connection.state !== "open" || feed.isTold) return;
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

export function problemOf(message: FromNode): Problem | null {
  return message.type === "error" ? message.problem : null;
}
