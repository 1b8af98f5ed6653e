"""REST, WebSocket and the dashboard: loaded once the node is ready, needed by no other part."""
