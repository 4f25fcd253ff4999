/** Builds the web app into the Python package, which serves it under `/app/`. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  base: "/app/",
  build: {
    outDir: "../radloop/viewer/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // a data: URL would need a wider content security policy
    modulePreload: { polyfill: false },
  },
  worker: { format: "es" },
  server: { proxy: { "/api": "http://127.0.0.1:8042" } },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
});
