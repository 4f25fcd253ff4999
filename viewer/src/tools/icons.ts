/** Line drawings on a field of 24 by 24, for buttons that also have a name. */

const PATHS = {
  window: "M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18M12 3v18M12 7h5M12 12h8M12 17h5",
  invert: "M4 4h16v16H4zM4 20L20 4M20 4v16H4z",
  "rotate-right": "M19 12a7 7 0 1 1-3-5.7M17 2v5h-5",
  "rotate-left": "M5 12a7 7 0 1 0 3-5.7M7 2v5h5",
  "flip-horizontal": "M12 3v18M9 7L3 17h6zM15 7l6 10h-6z",
  "flip-vertical": "M3 12h18M7 9L17 3v6zM7 15l10 6v-6z",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  reset: "M5 12a7 7 0 1 0 2-4.9M4 4v5h5",
  overlays: "M4 6h9M4 10h6M4 18h5M15 18h5M17 14v4",
  play: "M7 4l13 8l-13 8z",
  pause: "M7 4v16M17 4v16",
  length: "M4 20L20 4M2 18l4 4M18 2l4 4",
  angle: "M20 20H4L16 5M11 20a8 8 0 0 0-3-5",
  ellipse: "M12 5c5.500 0 9.500 3 9.500 7s-4 7-9.500 7s-9.500-3-9.500-7s4-7 9.500-7",
  probe: "M12 2v7M12 15v7M2 12h7M15 12h7",
  undo: "M9 5L4 10l5 5M4 10h10a6 6 0 0 1 0 12h-3",
  redo: "M15 5l5 5l-5 5M20 10H10a6 6 0 0 0 0 12h3",
  delete: "M4 7h16M9 7V4h6v3M6 7l1 14h10l1-14M10 11v6M14 11v6",
  series: "M3 4h8v7H3zM13 4h8v7h-8zM3 13h8v7H3zM13 13h8v7h-8z",
  more: "M4 7h16M4 12h16M4 17h16",
  mpr: "M3 8l9-5l9 5v8l-9 5l-9-5zM3 8l9 5l9-5M12 13v8",
  compare: "M3 5h8v14H3zM13 5h8v14h-8z",
  help: "M9 9a3 3 0 1 1 4 2.800c-1 .5-1 1.200-1 2.200M12 17.500v.5",
} as const;

export type IconName = keyof typeof PATHS;

const SVG = "http://www.w3.org/2000/svg";

export function icon(name: IconName): SVGSVGElement {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  drawing.append(path);
  return drawing;
}

/** Give a drawing another subject. */
export function changeIcon(drawing: SVGSVGElement, name: IconName): void {
  const path = drawing.firstElementChild;
  if (path?.getAttribute("d") !== PATHS[name]) path?.setAttribute("d", PATHS[name]);
}
