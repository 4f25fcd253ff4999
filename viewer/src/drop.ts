/** Files and folders dropped on the page; what sends them is fetched when there are some. */
import type { Chosen } from "./uploads.js";

/** Let files be dropped on `target`; they are sent, and the page that shows it is opened. */
export function dropTarget(target: HTMLElement): HTMLElement {
  const over = (event: DragEvent, isOver: boolean): void => {
    event.preventDefault();
    target.classList.toggle("dropping", isOver);
  };
  target.addEventListener("dragover", (event) => over(event, true));
  target.addEventListener("dragleave", (event) => over(event, false));
  target.addEventListener("drop", (event) => {
    over(event, false);
    const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry());
    location.hash = "#/upload";
    void Promise.all([import("./uploads.js"), ...entries.map(filesIn)]).then(([{ uploads }, ...found]) =>
      uploads.add(found.flat().filter(isWanted)),
    );
  });
  return target;
}

/** Whether a file is worth its way: what operating systems leave in folders is not. */
export function isWanted({ path }: { readonly path: string }): boolean {
  const name = path.split("/").at(-1) ?? "";
  return !name.startsWith(".") && !/^(thumbs\.db|desktop\.ini|dicomdir)$/i.test(name);
}

/** All files under a dropped entry, folders included. */
async function filesIn(entry: FileSystemEntry | null): Promise<Chosen[]> {
  if (entry?.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    return [{ path: entry.fullPath.replace(/^\//, ""), file }];
  }
  if (!entry?.isDirectory) return [];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: Chosen[] = [];
  for (;;) {
    // a reader gives its entries in portions and an empty one at the end
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) return found;
    for (const child of some) found.push(...(await filesIn(child)));
  }
}
