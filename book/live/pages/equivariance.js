// The page of equivariance: an image is rotated by hand, and its map should follow.

import {
  bar, darken, drawWarped, extremes, OVERLAY, paint, resize, ring,
} from "./draw.js";
import { affine, equivarianceError, inFrame, warp } from "./geometry.js";
import { ReaderError } from "./model.js";
import {
  $, attempt, Choices, measureSpeed, open, openImage, openSound, ownImage, takeFiles,
} from "./page.js";

const PANEL = 400; // pixels a side of a map, at most
const RANGE = { low: 0.5, high: 2 }; // of the scale

async function start() {
  const opened = await open();
  if (!opened) return;
  const { model, samples, colours } = opened;
  const { size, cells, mean } = model.card.image;
  const now = { degrees: 0, scale: 1, flip: false };
  let image, sound, map; // map: Φ(I)
  let shown = {};

  // --- the maps ---------------------------------------------------------------

  let busy = false, waiting = false;

  /** Show what is set now. While one map is made, only the last of the others waits. */
  async function update() {
    controls();
    if (!map) return;
    stage();
    if (busy) {
      waiting = true;
      return;
    }
    busy = true;
    await attempt(async () => {
      do {
        waiting = false;
        await follow();
      } while (waiting);
    });
    busy = false;
  }

  async function follow() {
    const theta = affine(now), [height, width] = cells;
    const before = map, feature = sound.feature;
    const transformed = warp(image.image, [3, size, size], theta, mean);
    const found = model.respond(await model.embedImage(transformed), feature);
    if (before !== map) return; // another image or sound by now
    const expected = warp(before, [1, height, width], theta);
    const inside = inFrame(theta, height, width);
    const error = equivarianceError(before, expected, found, inside);
    shown = { theta, transformed, expected, found, inside, error };
    draw();
  }

  /** T(I) as it is dragged: at once, before the model has seen it, and in full detail. */
  function stage() {
    drawWarped(resize($("stage")), image.canvas, affine(now), mean);
  }

  function draw() {
    const { expected, found, inside, error } = shown;
    const { low, high, peak } = extremes(map);
    const lay = (name, base, values, scale, from, to) => {
      const context = resize($(name), 1, PANEL), { width, height } = context.canvas;
      if (base) context.drawImage(base, 0, 0, width, height);
      context.globalAlpha = base ? OVERLAY : 1;
      context.drawImage(paint(values, cells, scale, from, to), 0, 0, width, height);
      context.globalAlpha = 1;
      return context;
    };
    ring(lay("before", image.canvas, map, colours.map, low, high), peak, cells);
    for (const [name, values] of [["expected", expected], ["found", found]]) {
      const context = lay(name, $("stage"), values, colours.map, low, high);
      darken(context, inside, cells);
      const within = values.map((x, k) => (inside[k] ? x : -Infinity));
      if (inside.includes(1)) ring(context, extremes(within).peak, cells);
    }
    const difference = found.map((x, k) => (inside[k] ? x - expected[k] : 0));
    const half = Math.max((high - low) / 2, 1e-6);
    darken(lay("difference", null, difference, colours.signed, -half, half), inside, cells);

    const digits = (x) => x.toFixed(2);
    $("low").textContent = digits(low);
    $("high").textContent = digits(high);
    $("signed-low").textContent = `−${digits(half)}`;
    $("signed-high").textContent = `+${digits(half)}`;
    const out = 1 - inside.reduce((sum, x) => sum + x, 0) / inside.length;
    const number = Number.isNaN(error) ? "e: –" : `e = ${digits(error)}`;
    $("error-number").textContent = $("error-beside").textContent = number;
    settle(() => {
      $("status").textContent = `${describe()}: ${verdict(error)} ` +
        `${Math.round(100 * out)}\u00a0% of the cells are out of frame.`;
    });
    Object.assign($("stage"), { shown: { ...shown, map } }); // for tests
  }

  function describe() {
    const words = [
      now.degrees && `rotated by ${now.degrees}°`,
      now.scale !== 1 && `scaled to ${now.scale.toFixed(2)}`,
      now.flip && "flipped",
    ].filter(Boolean);
    const sentence = words.join(", ") || "as it is";
    return sentence[0].toUpperCase() + sentence.slice(1);
  }

  function verdict(error) {
    if (Number.isNaN(error)) return "nothing is left to compare.";
    if (error < 0.005) return "the map follows.";
    if (error < 0.15) return "the map follows, nearly.";
    if (error < 0.6) return "the map follows in part.";
    if (error < 1.2) return "the map hardly follows.";
    return "the map does not follow.";
  }

  let later;
  /** Words for screen readers, once the hand rests. */
  function settle(say) {
    clearTimeout(later);
    later = setTimeout(say, 150);
  }

  // --- the hand ----------------------------------------------------------------

  function controls() {
    $("degrees").value = now.degrees;
    $("degrees-value").textContent = `${now.degrees}°`;
    $("scale").value = now.scale;
    $("scale-value").textContent = `× ${now.scale.toFixed(2)}`;
    $("flip").setAttribute("aria-pressed", now.flip);
    $("stage").setAttribute("aria-label", `Transformed image. ${describe()}`);
  }

  function adjust(changes) {
    Object.assign(now, changes);
    now.degrees = Math.round(((((now.degrees + 180) % 360) + 360) % 360) - 180);
    now.scale = Math.min(Math.max(now.scale, RANGE.low), RANGE.high);
  }

  function set(changes) {
    adjust(changes);
    return update();
  }

  /** Clockwise on the screen by so many degrees, from an angle `from` at the start. */
  const turned = (from, clockwise) => from + (now.flip ? 1 : -1) * clockwise;

  const fingers = new Map();
  let grasp; // where the fingers and the image were when the last one came or went

  const seize = () => {
    grasp = { ...now, ...spread() };
  };

  /** Angle on the screen, in degrees, and distance: of one finger from the middle, or of two. */
  function spread() {
    const box = $("stage").getBoundingClientRect();
    const middle = { x: box.left + box.width / 2, y: box.top + box.height / 2 };
    const [one, two] = fingers.size > 1 ? [...fingers.values()] : [middle, ...fingers.values()];
    if (!two) return {};
    const x = two.x - one.x, y = two.y - one.y;
    return { angle: (Math.atan2(y, x) * 180) / Math.PI, distance: Math.hypot(x, y) };
  }

  const view = $("stage");
  view.addEventListener("pointerdown", (event) => {
    try {
      view.setPointerCapture(event.pointerId);
    } catch { /* it is gone already */ }
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    seize();
  });
  view.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const { angle, distance } = spread();
    const changes = { degrees: turned(grasp.degrees, angle - grasp.angle) };
    if (fingers.size > 1 && grasp.distance > 1) {
      changes.scale = (grasp.scale * distance) / grasp.distance;
    }
    set(changes);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    view.addEventListener(end, (event) => {
      fingers.delete(event.pointerId);
      seize();
    });
  }
  view.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // a pinch on a touchpad; else the page scrolls
    event.preventDefault();
    set({ scale: now.scale * Math.exp(-event.deltaY / 100) });
  }, { passive: false });
  view.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const much = event.shiftKey ? 10 : 1;
    const moves = {
      ArrowRight: () => ({ degrees: turned(now.degrees, 2 * much) }),
      ArrowLeft: () => ({ degrees: turned(now.degrees, -2 * much) }),
      ArrowUp: () => ({ scale: now.scale * 1.03 ** much }),
      ArrowDown: () => ({ scale: now.scale / 1.03 ** much }),
      f: () => ({ flip: !now.flip }),
      F: () => ({ flip: !now.flip }),
      0: () => ({ degrees: 0, scale: 1, flip: false }),
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    set(moves[event.key]());
  });
  for (const name of ["degrees", "scale"]) {
    $(name).addEventListener("input", ({ target }) => set({ [name]: Number(target.value) }));
  }
  $("flip").addEventListener("click", () => set({ flip: !now.flip }));
  $("reset").addEventListener("click", () => set({ degrees: 0, scale: 1, flip: false }));

  // --- image and sound -------------------------------------------------------------

  let turn = 0;

  function show(change) {
    const own = ++turn;
    return attempt(async () => {
      const next = await change();
      if (own !== turn) return;
      ({ image = image, sound = sound } = next);
      if (!image || !sound) return;
      image.features ??= await model.embedImage(image.image);
      if (own !== turn) return;
      map = model.respond(image.features, sound.feature);
      await update();
    });
  }

  const images = new Choices($("images"), "image", (item) => show(async () => {
    await openImage(item, size);
    const own = samples.sounds.findIndex(({ title }) => title === item.sound);
    if (own < 0) return { image: item };
    $("sound").value = own;
    return { image: item, sound: await openSound(sounds[own], model) };
  }));
  const sounds = samples.sounds.map(({ file, title }) => (
    { title, file: `samples/${file}` }));
  for (const { file, title, sound } of samples.images) {
    const address = `samples/${file}`;
    images.add({ title, sound, file: address, picture: address });
  }
  sounds.forEach(({ title }, k) => $("sound").add(new Option(title, k)));
  $("sound").addEventListener("change", ({ target }) => show(async () => (
    { sound: await openSound(sounds[target.value], model) })));

  const takeImage = async (file) => images.replaceOwn(await ownImage(file, size));
  takeFiles(takeImage);
  $("image-file").addEventListener("change", async ({ target }) => {
    await attempt(async () => {
      for (const file of target.files) await takeImage(file);
    });
    target.value = "";
  });

  addEventListener("resize", () => map && (stage(), draw()));
  bar($("bar"), colours.map);
  bar($("signed"), colours.signed);
  // not by `set`, which returns at once while the map of another angle is made
  measureSpeed(async () => {
    if (!map) throw new ReaderError("There is no map to measure yet: choose an image.");
    adjust({ degrees: now.degrees + 3 });
    controls();
    stage();
    await follow();
  });

  await images.choose(images.first());
  await set({ degrees: 20 });
  document.body.dataset.state = "ready";
}

start();
