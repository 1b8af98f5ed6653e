// The frame: where one is, how the cluster is, which node answers; and the page itself.
import { useEffect } from "react";
import { learn } from "./api/bases";
import { useConnection, useFeed, useStale } from "./api/hooks";
import type { ClusterNews } from "./api/types";
import { clock, day, zone } from "./lib/format";
import { toggleTheme, useTheme } from "./lib/theme";
import { useUrl } from "./lib/url";
import { ClusterPage } from "./pages/cluster/page";
import { FailoversPage } from "./pages/failovers/page";
import { DedupPage } from "./pages/dedup/page";
import { GroupPage } from "./pages/groups/group";
import { GroupsPage } from "./pages/groups/page";
import { LogPage } from "./pages/log/page";
import { TopicPage } from "./pages/topic/page";
import { TopicsPage } from "./pages/topics/page";
import { Boundary } from "./ui/boundary";
import { Icon, type IconName, Logo } from "./ui/icons";
import { Chip, Empty, Link, ProblemNote, type Tone } from "./ui/parts";

const PAGES: readonly (readonly [string, string, IconName])[] = [
  ["", "Cluster", "cluster"],
  ["failovers", "Failovers", "failovers"],
  ["log", "Log", "log"],
  ["topics", "Topics", "topics"],
  ["groups", "Groups", "groups"],
  ["dedup", "Dedup", "dedup"],
];

const TONES: Record<string, Tone> = { ok: "good", degraded: "warn", down: "bad" };

export function App() {
  const { parts } = useUrl();
  const first = parts[0] ?? "";
  const name = parts[1];
  const staleAtMs = useStale();
  const title = PAGES.find(([path]) => path === first)?.[1];
  useEffect(() => {
    document.title = [...(name === undefined ? [] : [name]), title ?? "Not found", "Trimaran"].join(" · ");
  }, [title, name]);
  return (
    <div className="shell">
      <a className="skip" href="#main">
        Skip to the page
      </a>
      <div className="rail">
        <div className="brand">
          <Logo /> Trimaran
        </div>
        <nav aria-label="Pages">
          {PAGES.map(([path, name, icon]) => (
            <Link key={path} to={`/${path}`} aria-current={path === first ? "page" : undefined}>
              <Icon name={icon} />
              {name}
            </Link>
          ))}
        </nav>
        <Foot />
      </div>
      <main id="main" tabIndex={-1} className={staleAtMs === null ? undefined : "stale"}>
        <Refused />
        {staleAtMs !== null && (
          <p className="problem" role="status" data-fact="as-of" data-value={staleAtMs} title={day(staleAtMs)}>No node answers; this is as of {clock(staleAtMs)}.</p>
        )}
        <Boundary key={parts.join("/")}>
          <Page first={first} second={name} />
        </Boundary>
        <p className="zone dim">Times are those of {zone()}.</p>
      </main>
    </div>
  );
}

/** Why nothing comes, where a node says so: such as when it does not know this address as its own. */
function Refused() {
  return <ProblemNote problem={useConnection().problem} />;
}

function Page({ first, second }: { first: string; second: string | undefined }) {
  switch (first) {
    case "":
      return <ClusterPage />;
    case "failovers":
      return <FailoversPage />;
    case "log":
      return <LogPage />;
    case "groups":
      return second === undefined ? <GroupsPage /> : <GroupPage key={second} groupId={second} />;
    case "dedup":
      return <DedupPage />;
    case "topics":
      return second === undefined ? <TopicsPage /> : <TopicPage key={second} name={second} />;
    default:
      return (
        <Empty title="There is no such page">
          <Link to="/" className="text">
            Go to the cluster
          </Link>
        </Empty>
      );
  }
}

function Foot() {
  const connection = useConnection();
  const { data } = useFeed<ClusterNews>({ feed: "cluster", interval_ms: 500 });
  const theme = useTheme();
  useEffect(() => {
    if (data) learn(data.nodes);
  }, [data]);
  const health = data?.health;
  const isOpen = connection.state === "open";
  const tone: Tone = !isOpen ? "bad" : (TONES[health?.status ?? ""] ?? "plain");
  const text = !isOpen ? (connection.state === "lost" ? "reconnecting" : "connecting") : (health?.status ?? "…");
  return (
    <div className="rail-foot">
      <div className="row">
        <span className="desk">Cluster</span>
        <span role="status" data-fact="connection" data-value={connection.state}>
          <Chip tone={tone}>{text}</Chip>
        </span>
      </div>
      <div className="row desk">
        <span>Seen by</span>
        <span data-fact="served-by" data-value={connection.node ?? ""}>
          {connection.node === null ? "–" : `node ${connection.node}`}
        </span>
      </div>
      <div className="row">
        <a className="text desk" href="/docs">
          REST API
        </a>
        <button type="button" className="button quiet" onClick={toggleTheme}
          aria-label={`Switch to ${theme === "dark" ? "light" : "dark"} colours`}>
          <Icon name={theme === "dark" ? "sun" : "moon"} size={16} />
        </button>
      </div>
    </div>
  );
}
