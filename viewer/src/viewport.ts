/**
 * Where the image lies in the view: plain geometry in CSS pixels, y downwards.
 */

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** The image's top left corner in the view, and how many CSS pixels one column and one row take. */
export interface Placement {
  readonly x: number;
  readonly y: number;
  readonly columnPx: number;
  readonly rowPx: number;
}

const GREATEST_ZOOM = 32; // CSS pixels per image column

/**
 * The placement that shows the whole image, centred.
 *
 * @param image Columns and rows.
 * @param aspect Height of a pixel divided by its width (row spacing / column spacing).
 */
export function fitted(view: Size, image: Size, aspect: number): Placement {
  const columnPx = Math.min(view.width / image.width, view.height / (image.height * aspect));
  const rowPx = columnPx * aspect;
  return {
    x: (view.width - image.width * columnPx) / 2,
    y: (view.height - image.height * rowPx) / 2,
    columnPx,
    rowPx,
  };
}

/** `placement` enlarged by `factor`, the point under (`x`, `y`) staying where it is. */
export function zoomAbout(
  placement: Placement,
  factor: number,
  x: number,
  y: number,
  least: number,
): Placement {
  const columnPx = Math.min(Math.max(placement.columnPx * factor, least), Math.max(GREATEST_ZOOM, least));
  const applied = columnPx / placement.columnPx;
  return {
    x: x - (x - placement.x) * applied,
    y: y - (y - placement.y) * applied,
    columnPx,
    rowPx: placement.rowPx * applied,
  };
}

/** `placement` moved, but never so far that the image's edge leaves the middle of the view. */
export function panBy(placement: Placement, dx: number, dy: number, view: Size, image: Size): Placement {
  const keep = (start: number, length: number, extent: number): number =>
    Math.min(Math.max(start, extent / 2 - length), extent / 2);
  return {
    ...placement,
    x: keep(placement.x + dx, image.width * placement.columnPx, view.width),
    y: keep(placement.y + dy, image.height * placement.rowPx, view.height),
  };
}

/**
 * A round length for the scale bar.
 *
 * @param mmPerPx Millimetres in one CSS pixel.
 * @param longest Greatest length of the bar in CSS pixels.
 * @returns Length in millimetres (1, 2 or 5 times a power of ten) and in CSS pixels.
 */
export function scaleBar(mmPerPx: number, longest: number): { readonly mm: number; readonly px: number } {
  const most = mmPerPx * longest;
  const power = 10 ** Math.floor(Math.log10(most));
  const mm = power * (most / power >= 5 ? 5 : most / power >= 2 ? 2 : 1);
  return { mm, px: mm / mmPerPx };
}
