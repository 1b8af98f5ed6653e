import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/pages.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { keepToken } from "./api/rest";
import { live } from "./api/socket";
import { App } from "./app";
import { startTheme } from "./lib/theme";

keepToken();
startTheme();
live.start();
createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
