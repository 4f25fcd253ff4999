import { afterEach, describe, expect, it, vi } from "vitest";
import { ApiError } from "../src/protocol.js";
import { openSeries, prepareSeries, startOf } from "../src/series.js";
import { Heard, indexOf, preview, recordOf, responseOf } from "./wire.js";

describe("opening a series", () => {
  afterEach(() => void vi.unstubAllGlobals());
  const bytes = indexOf(Array.from({ length: 9 }, () => ({ kind: 0, full: 900, preview: 60, ends: [] })));

  /** A server whose index ends only when told to; remembers what was asked. */
  function serve(): { asked: string[]; finish: () => void } {
    const asked: string[] = [];
    let finish = (): void => {};
    vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
      asked.push(`${init.method ?? "GET"} ${url} ${init.body ?? ""}`.trim());
      if (!url.endsWith("/index")) return responseOf([recordOf(preview(4), [1])]);
      return new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(bytes.slice(0, 20));
            controller.enqueue(bytes.slice(20, 40));
            finish = () => {
              controller.enqueue(bytes.slice(40));
              controller.close();
            };
          },
        }),
      );
    });
    return { asked, finish: () => finish() };
  }

  it("asks for the start slice's preview before the index has ended, and for nothing twice", async () => {
    const { asked, finish } = serve();
    const opening = openSeries("abc", new AbortController().signal);
    await vi.waitFor(() => expect(asked).toHaveLength(2));
    expect(asked).toEqual(["GET /stream/v1/abc/index", "POST /stream/v1/abc/frames?v=7 p4:0:0"]);
    finish();
    const { set, source } = await opening;
    expect(set.frame_list).toHaveLength(9);
    expect(source.takeEarly?.()?.items).toEqual([preview(startOf(9))]);
    expect(asked).toHaveLength(2);
  });

  it("goes on with one that was prepared, and with no other", async () => {
    const { asked, finish } = serve();
    prepareSeries("abc");
    const opening = openSeries("abc", new AbortController().signal);
    await vi.waitFor(() => expect(asked).toHaveLength(2));
    finish();
    await opening;
    expect(asked.filter((line) => line.startsWith("GET"))).toHaveLength(1);
    void openSeries("abc", new AbortController().signal);
    await vi.waitFor(() => expect(asked.filter((line) => line.startsWith("GET"))).toHaveLength(2));
  });

  /** A server whose series has become another version, with so many frames, since it was opened. */
  function serveChanged(countNow: number): string[] {
    const asked: string[] = [];
    const now = indexOf(
      Array.from({ length: countNow }, () => ({ kind: 0, full: 900, preview: 60, ends: [] })),
    );
    new DataView(now.buffer).setUint32(12, 8, true);
    let opened = false;
    vi.stubGlobal("fetch", async (url: string) => {
      asked.push(url);
      if (url.endsWith("/index")) {
        const answer = responseOf([opened ? now : bytes]);
        opened = true;
        return answer;
      }
      if (url.endsWith("v=7")) return new Response("{}", { status: 409 });
      return responseOf([recordOf(preview(1), [1])]);
    });
    return asked;
  }

  it("goes on under the next version where its slices are the same", async () => {
    const asked = serveChanged(9);
    const { source } = await openSeries("abc", new AbortController().signal);
    const heard = new Heard();
    await source.ask([preview(1)], heard, new AbortController().signal);
    expect(heard.records).toHaveLength(1);
    expect(asked.at(-1)).toBe("/stream/v1/abc/frames?v=8");
    await source.ask([preview(1)], heard, new AbortController().signal);
    expect(asked.filter((url) => url.endsWith("/index"))).toHaveLength(2);
  });

  it("says so where a late slice has moved the others", async () => {
    serveChanged(10);
    const { source } = await openSeries("abc", new AbortController().signal);
    const asking = source.ask([preview(1)], new Heard(), new AbortController().signal);
    await expect(asking).rejects.toMatchObject({ kind: "conflict", code: "series-changed" });
  });

  it("tells why it cannot be opened", async () => {
    const body = JSON.stringify({ error: { code: "not-found", message: "image set abc does not exist" } });
    vi.stubGlobal("fetch", async () => new Response(body, { status: 404 }));
    prepareSeries("abc");
    await expect(openSeries("abc", new AbortController().signal)).rejects.toBeInstanceOf(ApiError);
  });
});
