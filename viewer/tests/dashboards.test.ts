import { describe, expect, test } from "vitest";
import { figure, latest, spoken } from "../src/figures.js";

describe("figures of dashboards", () => {
  test("are short and carry their unit", () => {
    expect(figure(0.0386, "seconds")).toBe("38.6 ms");
    expect(figure(0.00025, "seconds")).toBe("250 µs");
    expect(figure(75, "seconds")).toBe("1.25 min");
    expect(figure(0, "seconds")).toBe("0 µs");
    expect(figure(1_080_000_000, "bytes")).toBe("1.08 GB");
    expect(figure(512, "bytes")).toBe("512 B");
    expect(figure(90, "percent")).toBe("90 %");
    expect(figure(0.5, "dollars")).toBe("$0.5");
    expect(figure(12_345, "calls")).toBe("12,345");
    expect(figure(2_500_000, "calls")).toBe("2.5 M");
    expect(figure(Number.NaN, "calls")).toBe("–");
  });

  test("the latest is the last that is known", () => {
    expect(latest([1, 2, null])).toBe(2);
    expect(latest([null, null])).toBeNull();
    expect(latest([0])).toBe(0);
  });

  test("a drawing is told in words", () => {
    expect(spoken("Latency", [0.01, null, 0.02], "seconds")).toBe(
      "Latency: latest 20 ms, between 10 ms and 20 ms",
    );
    expect(spoken("Latency", [0.01, 0.01], "seconds")).toBe("Latency: latest 10 ms");
    expect(spoken("Latency", [null], "seconds")).toBe("Latency: nothing measured");
  });
});
