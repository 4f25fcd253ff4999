/**
 * What the benchmark puts into a page before anything else: it drives the viewer there and notes what is on the screen.
 *
 * Callbacks of animation frames note what the frame before painted; what moves the reader is done between frames, as
 * a finger does.
 */
(() => {
  const long = [];
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) long.push({ at: startTime, ms: duration });
  }).observe({ type: "longtask", buffered: true });

  const told = () => document.body?.dataset ?? {};
  const slider = () => document.querySelector("input[type=range][aria-label=Slice], input.slider");
  const stackOf = () => window.cornerstone?.getRenderingEngines?.()?.[0]?.getViewports?.()?.[0];

  /** How each viewer is driven and read: the slice on screen or -1, how good it is, and where to go. */
  const viewers = {
    radloop: {
      shown: () => ("frameShown" in told() && told().quality !== "none" ? Number(told().frameShown) : -1),
      quality: () => told().quality ?? "none",
      isFull: () => told().quality === "lossless",
      count: () => Number(slider()?.max ?? 0),
      go: (index) => {
        const input = slider();
        input.value = String(index + 1);
        input.dispatchEvent(new Event("input", { bubbles: true }));
      },
    },
    cornerstone: {
      shown: () => window.bench?.shown ?? -1,
      quality: () => "other",
      isFull: (index) => window.bench.isFull(index),
      count: () => window.bench?.count ?? 0,
      go: (index) => window.bench.go(index),
    },
    ohif: {
      shown: () => {
        const view = stackOf();
        const id = view?.getCornerstoneImage?.()?.imageId;
        return id === undefined ? -1 : view.getImageIds().indexOf(id);
      },
      quality: () => "other",
      isFull: (index) => {
        const { cache } = window.cornerstone;
        return (cache.getImageQuality?.(stackOf().getImageIds()[index]) ?? 0) === 8;
      },
      count: () => stackOf()?.getImageIds?.()?.length ?? 0,
      go: (index) => void stackOf().setImageIdIndex(index)?.catch?.(() => {}),
    },
  };

  const between = new MessageChannel();
  let next = () => {};
  between.port1.onmessage = () => next();

  /** Call `work` after the frame that is being made. */
  function afterFrame(work) {
    next = work;
    between.port2.postMessage(0);
  }

  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const median = (values) => [...values].sort((one, other) => one - other)[values.length >> 1] ?? 0;

  /** The moment at which a first image is on the screen, by the clock of the page; null after `limit` ms. */
  async function first(kind, limit) {
    const until = performance.now() + limit;
    while (viewers[kind].shown() < 0) {
      if (performance.now() > until) return null;
      await frame();
    }
    return performance.now();
  }

  /** The same of the moment at which what is on the screen is at full quality. */
  async function full(kind, limit) {
    const until = performance.now() + limit;
    while (!viewers[kind].isFull(viewers[kind].shown())) {
      if (performance.now() > until) return null;
      await frame();
    }
    return performance.now();
  }

  /** The moment at which something of every slice is there; null after `limit` ms. */
  async function all(limit) {
    const until = performance.now() + limit;
    const isLoading = () => /\d of \d+ loaded/.test(document.querySelector(".bottom-left")?.textContent ?? "");
    for (let wasLoading = false; !wasLoading || isLoading(); ) {
      wasLoading ||= isLoading();
      if (performance.now() > until) return null;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return performance.now();
  }

  /** Open `#/view/<id>` in the page, as a touch of its row would; the milliseconds until its first image. */
  async function open(id, limit) {
    const begun = performance.now();
    const link = document.querySelector(`a[href="#/view/${id}"]`);
    if (link) link.click();
    else location.hash = `#/view/${id}`;
    const at = await first("radloop", limit);
    return at === null ? null : at - begun;
  }

  /** Scroll `perSecond` slices a second from `from` on; what was on the screen in each frame. */
  async function scroll(kind, { from, seconds, perSecond, isFar }) {
    const view = viewers[kind];
    const last = view.count() - 1;
    const found = { frames: 0, blank: 0, neighbour: 0, far: 0, exact: 0, full: 0, moved: 0 };
    const deltas = [];
    let [due, wanted, before, shown] = [from, from, 0, -1];
    view.go(from);
    await frame();
    await frame();
    const begun = await frame();
    const longBefore = long.length;
    for (let now = begun; now - begun < seconds * 1000; now = await frame()) {
      if (before) {
        deltas.push(now - before);
        const is = view.shown();
        found.frames++;
        if (is !== shown) found.moved++;
        shown = is;
        const off = Math.abs(is - due);
        if (is < 0 || view.quality() === "none" || view.quality() === "failed") found.blank++;
        else if (off > 0) found.neighbour++;
        else found.exact++;
        if (is < 0 || off > isFar) found.far++;
        if (off === 0 && view.isFull(is)) found.full++;
      }
      before = now;
      due = wanted;
      wanted = Math.min(from + Math.round(((now - begun) / 1000) * perSecond), last);
      const to = wanted;
      afterFrame(() => view.go(to));
    }
    const tasks = long.slice(longBefore);
    return {
      ...found,
      fps: 1000 / median(deltas),
      meanFps: (1000 * deltas.length) / deltas.reduce((sum, each) => sum + each, 0),
      slow: deltas.filter((each) => each > 20).length,
      long: tasks.length,
      longest: Math.max(0, ...tasks.map(({ ms }) => ms)),
    };
  }

  /** Milliseconds from a wish for slice `to` until it is on the screen at full quality; null after `limit` ms. */
  async function jump(kind, to, limit) {
    const view = viewers[kind];
    const begun = performance.now();
    view.go(to);
    while (view.shown() !== to || !view.isFull(to)) {
      if (performance.now() - begun > limit) return null;
      await frame();
    }
    return performance.now() - begun;
  }

  window.watch = { first, full, all, open, scroll, jump, long, viewers };
})();
