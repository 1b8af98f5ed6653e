// A mistake in a page is told in its place; the frame around it stays.
import { Component, type ReactNode } from "react";
import { Empty } from "./parts";

type BoundaryProps = { children: ReactNode };

export class Boundary extends Component<BoundaryProps, { error: Error | null }> {
  override state = { error: null as Error | null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    if (error === null) return this.props.children;
    return (
      <Empty title="This page made a mistake">
        {error.message}.{" "}
        <button type="button" className="button small" onClick={() => this.setState({ error: null })}>
          Try again
        </button>
      </Empty>
    );
  }
}
