// The page as static files: hashed names, nothing from another host, packed ahead of time.
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const PACKED = /\.(html|js|css|svg|json)$/;

function packed(): Plugin {
  let outDir = "";
  return {
    name: "packed",
    apply: "build",
    configResolved(config) {
      outDir = config.build.outDir;
    },
    closeBundle() {
      for (const path of readdirSync(outDir, { recursive: true, encoding: "utf8" })) {
        const full = join(outDir, path);
        if (!PACKED.test(path) || !statSync(full).isFile()) continue;
        const content = readFileSync(full);
        const options = { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } };
        writeFileSync(`${full}.br`, brotliCompressSync(content, options));
        writeFileSync(`${full}.gz`, gzipSync(content, { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  base: "/",
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    emptyOutDir: true,
    reportCompressedSize: false,
  },
  plugins: [packed()],
});
