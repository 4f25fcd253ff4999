/** What the build adds to Vite: preloads in the page, and a decoder without what our workers never use. */
import type { HtmlTagDescriptor, Plugin } from "vite";

/** Have the worker and the decoder fetched beside the first script instead of after it. */
export function preloads(base: string): Plugin {
  return {
    name: "radloop-preloads",
    apply: "build",
    transformIndexHtml: {
      order: "post",
      handler(_, { bundle }): HtmlTagDescriptor[] {
        const names = Object.keys(bundle ?? {});
        const worker = names.find((name) => /decoder\.worker-[^/]*\.js$/.test(name));
        const wasm = names.find((name) => name.endsWith(".wasm"));
        if (!worker || !wasm) throw new Error("the build has no decoder to preload");
        const attrs = { rel: "preload", as: "fetch", type: "application/wasm", crossorigin: true };
        return [
          {
            tag: "link",
            attrs: { rel: "modulepreload", crossorigin: true, href: base + worker },
            injectTo: "head",
          },
          { tag: "link", attrs: { ...attrs, href: base + wasm }, injectTo: "head" },
        ];
      },
    },
  };
}

/** The OpenJPH script as our workers need it, which are given its wasm: the minifier cuts off what reads files. */
export function onlyForWorkers(): Plugin {
  return {
    name: "radloop-openjph",
    enforce: "pre",
    transform(code, id) {
      if (!id.includes("codec-openjph/dist/openjphjs.js")) return null;
      const trimmed = code.replace(/var (ENVIRONMENT_IS_(?:WEB|WORKER|NODE))=[^;]*;/g, "var $1=false;");
      if (trimmed.split("=false;var ENVIRONMENT_IS_").length !== 3) {
        throw new Error("the OpenJPH script is not as it was: see `onlyForWorkers`");
      }
      return { code: trimmed, map: null };
    },
  };
}
