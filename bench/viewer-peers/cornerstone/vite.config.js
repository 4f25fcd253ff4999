/** As Cornerstone3D's own notes on Vite say: workers as modules, its image loader left as it is. */
import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  build: { target: "es2022", assetsInlineLimit: 0, chunkSizeWarningLimit: 10_000 },
  worker: { format: "es" },
  assetsInclude: ["**/*.wasm"],
  optimizeDeps: { exclude: ["@cornerstonejs/dicom-image-loader"] },
});
