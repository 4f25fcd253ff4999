/** Builds the web app into the Python package, which serves it under `/app/`. */
import { defineConfig } from "vitest/config";
import { onlyForWorkers, preloads } from "./build.js";

const BASE = "/app/";

export default defineConfig({
  base: BASE,
  plugins: [preloads(BASE)],
  build: {
    outDir: "../radloop/viewer/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // a data: URL would need a wider content security policy
    modulePreload: { polyfill: false },
  },
  worker: { format: "es", plugins: () => [onlyForWorkers()] },
  server: { proxy: { "/api": "http://127.0.0.1:8042", "/stream": "http://127.0.0.1:8042" } },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
});
