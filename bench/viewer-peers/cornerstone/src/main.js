/**
 * One series in Cornerstone3D, configured as its documents say for HTJ2K and a slow link.
 *
 * `?mode=stack`: a stack viewport, two stages of byte ranges (a quarter of the resolution, then the rest), and
 * the prefetching that OHIF uses, which follows the reader.
 * `?mode=volume`: a volume viewport, interleaved, the first stage by byte ranges.
 *
 * `window.bench` is how the benchmark drives it and sees what is on the screen.
 */
import {
  cache,
  Enums,
  eventTarget,
  init as initCore,
  ProgressiveRetrieveImages,
  RenderingEngine,
  setVolumesForViewports,
  utilities,
  volumeLoader,
} from "@cornerstonejs/core";
import { init as initLoader, wadors } from "@cornerstonejs/dicom-image-loader";
import { init as initTools, utilities as toolUtilities } from "@cornerstonejs/tools";

const asked = new URLSearchParams(location.search);
const mode = asked.get("mode");
const root = `${location.origin}/dicomweb/studies/${asked.get("study")}/series/${asked.get("series")}`;
const element = document.getElementById("view");
const FIRST_RANGE = 16_384; // holds a quarter of the resolution of a 512 x 512 CT
const FULL = Enums.ImageQualityStatus.FULL_RESOLUTION;

const fast = { rangeIndex: 0, initialChunkSize: FIRST_RANGE, decodeLevel: 2 };
const rest = { rangeIndex: 1, initialChunkSize: FIRST_RANGE };

/** What the benchmark sees: `shown` is the slice on the screen, -1 before there is one. */
const bench = { count: 0, shown: -1, errors: 0, go: null, isFull: null };
window.bench = bench;

async function imageIds() {
  const answer = await fetch(`${root}/metadata`, { headers: { Accept: "application/dicom+json" } });
  const instances = await answer.json();
  const numberOf = (instance) => Number(instance["00200013"].Value[0]);
  instances.sort((one, other) => numberOf(one) - numberOf(other));
  return instances.map((instance) => {
    const id = `wadors:${root}/instances/${instance["00080018"].Value[0]}/frames/1`;
    wadors.metaDataManager.add(id, instance);
    return id;
  });
}

/**
 * Whether there is anything but one grey in the middle of the view: a volume whose texture does not fit is drawn as
 * an even area, and nothing tells so.
 */
const probe = new OffscreenCanvas(16, 16).getContext("2d", { willReadFrequently: true });
function isImage() {
  const canvas = element.querySelector("canvas");
  const { width, height } = canvas;
  probe.drawImage(canvas, width * 0.3, height * 0.4, width * 0.4, height * 0.2, 0, 0, 16, 16);
  const { data } = probe.getImageData(0, 0, 16, 16);
  let [least, most] = [255, 0];
  for (let at = 0; at < data.length; at += 4) {
    least = Math.min(least, data[at]);
    most = Math.max(most, data[at]);
  }
  return most - least > 8;
}

async function showStack(engine, ids) {
  utilities.imageRetrieveMetadataProvider.add("stack", {
    ...ProgressiveRetrieveImages.sequentialRetrieveStages,
    create: ProgressiveRetrieveImages.createProgressive,
    retrieveOptions: { singleFast: fast, singleFinal: rest },
  });
  engine.enableElement({ viewportId: "view", element, type: Enums.ViewportType.STACK });
  const viewport = engine.getViewport("view");
  const places = new Map(ids.map((id, place) => [id, place]));
  element.addEventListener(Enums.Events.IMAGE_RENDERED, () => {
    const image = viewport.getCornerstoneImage();
    if (image) bench.shown = places.get(image.imageId) ?? bench.shown;
  });
  bench.isFull = (place) => cache.getImageQuality(ids[place]) === FULL;
  bench.go = (place) => void viewport.setImageIdIndex(place).catch(() => bench.errors++);
  await viewport.setStack(ids, ids.length >> 1);
  viewport.render();
  toolUtilities.stackContextPrefetch.enable(element);
}

async function showVolume(engine, ids) {
  const volumeId = "cornerstoneStreamingImageVolume:series";
  utilities.imageRetrieveMetadataProvider.add("volume", {
    ...ProgressiveRetrieveImages.interleavedRetrieveStages,
    create: ProgressiveRetrieveImages.createProgressive,
    retrieveOptions: { multipleFast: fast, multipleFinal: rest },
  });
  engine.enableElement({
    viewportId: "view",
    element,
    type: Enums.ViewportType.ORTHOGRAPHIC,
    defaultOptions: { orientation: Enums.OrientationAxis.AXIAL },
  });
  const viewport = engine.getViewport("view");
  const volume = await volumeLoader.createAndCacheVolume(volumeId, { imageIds: ids });
  // The volume sorts its slices by place, so its own order counts.
  const order = volume.imageIds;
  const qualities = new Map();
  const modified = (event) => {
    const { imageId, imageQualityStatus } = event.detail ?? {};
    if (imageId) qualities.set(imageId, imageQualityStatus ?? FULL);
  };
  eventTarget.addEventListener(Enums.Events.IMAGE_VOLUME_MODIFIED, modified);
  const quality = (place) => cache.getImageQuality(order[place]) ?? qualities.get(order[place]);
  const has = (place) => quality(place) !== undefined;
  bench.isFull = (place) => quality(place) === FULL;
  let wanted = order.length >> 1;
  element.addEventListener(Enums.Events.IMAGE_RENDERED, () => {
    const place = viewport.getSliceIndex();
    if (has(place) && (bench.shown >= 0 || isImage())) bench.shown = place;
  });
  bench.go = (place) => {
    viewport.scroll(place - wanted);
    wanted = place;
  };
  void volume.load();
  await setVolumesForViewports(engine, [{ volumeId }], ["view"]);
  wanted = viewport.getSliceIndex();
  viewport.render();
}

await initCore();
await initTools();
initLoader({ maxWebWorkers: Math.max(1, Number(asked.get("workers")) || Math.min(4, navigator.hardwareConcurrency - 1)) });
const ids = await imageIds();
bench.count = ids.length;
const engine = new RenderingEngine("engine");
await (mode === "volume" ? showVolume : showStack)(engine, ids);
