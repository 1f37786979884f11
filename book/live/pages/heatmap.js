// The page of heatmaps: an image and a sound are chosen, and the map follows.

import { bar, extremes, OVERLAY, paint, resize, ring, whereabouts } from "./draw.js";
import { fit } from "./geometry.js";
import { record, readSound, toWav } from "./media.js";
import { fitLength } from "./mel.js";
import { ReaderError } from "./model.js";
import {
  $, attempt, Choices, measureSpeed, open, openImage, openSound, ownImage, takeFiles,
} from "./page.js";

const QUIET = 0.02; // of full scale, the loudest sample

async function start() {
  const opened = await open();
  if (!opened) return;
  const { model, samples, colours } = opened;
  const { size, cells } = model.card.image, { audio } = model.card;
  let image, sound, map; // what is shown
  let turn = 0; // of the choices, so that only the last one is shown

  /** The features of an image, and its map with the sound that is chosen. */
  async function see(item) {
    item.features ??= await model.embedImage(item.image);
    return model.respond(item.features, sound.feature);
  }

  async function show(change) {
    const own = ++turn;
    return attempt(async () => {
      const next = await change();
      if (own !== turn) return;
      ({ image = image, sound = sound } = next);
      if (next.sound) listen();
      if (!image || !sound) return;
      const found = await see(image);
      if (own !== turn) return;
      map = found;
      draw();
      say();
    });
  }

  function draw() {
    if (!map) return;
    const { low, high, peak } = extremes(map), view = $("view");
    const context = resize(view, image.canvas.width / image.canvas.height);
    context.globalAlpha = 1;
    context.drawImage(image.canvas, 0, 0, view.width, view.height);
    context.globalAlpha = $("overlay").value / 100;
    const heat = paint(map, cells, colours.map, low, high);
    context.drawImage(heat, 0, 0, view.width, view.height);
    context.globalAlpha = 1;
    ring(context, peak, cells);
  }

  function say() {
    const { low, high, peak } = extremes(map), where = whereabouts(peak, cells);
    $("low").textContent = low.toFixed(2);
    $("high").textContent = high.toFixed(2);
    $("status").textContent = `“${sound.title}” in “${image.title}”: the peak, a cosine ` +
      `of ${high.toFixed(2)}, is ${where}; the lowest is ${low.toFixed(2)}.`;
    $("view").setAttribute("aria-label", `Response map of the sound “${sound.title}” ` +
      `over the image “${image.title}”, with its peak ${where}`);
    Object.assign($("view"), { map: Array.from(map) }); // for tests
  }

  function listen() {
    const player = $("player");
    URL.revokeObjectURL(player.src);
    const heard = fitLength(sound.wave, audio.samples);
    player.src = URL.createObjectURL(toWav(heard, audio.sample_rate));
    const seconds = sound.wave.length / audio.sample_rate;
    const loudest = heard.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    $("heard").textContent = [
      seconds < audio.seconds - 0.01 &&
        `${seconds.toFixed(1)} s of sound, repeated to ${audio.seconds} s, as in training.`,
      seconds > audio.seconds + 0.01 &&
        `The model hears ${audio.seconds} s, the middle of ${seconds.toFixed(1)} s.`,
      loudest < QUIET && (loudest ? "It is very quiet." : "It is silent."),
    ].filter(Boolean).join(" ");
  }

  const chooseImage = (item) => show(async () => {
    await openImage(item, size);
    return { image: item };
  });
  const chooseSound = (item) => show(async () => {
    await openSound(item, model);
    return { sound: item };
  });
  const groups = {
    known: new Choices($("known"), "image", chooseImage),
    new: new Choices($("new"), "image", chooseImage),
  };
  const sounds = new Choices($("sounds"), "sound", chooseSound);

  for (const { file, title, group } of samples.images) {
    const address = `samples/${file}`;
    groups[group].add({ title, file: address, picture: address });
  }
  for (const { file, title } of samples.sounds) {
    sounds.add({ title, file: `samples/${file}` });
  }

  const takeImage = async (file) =>
    groups.new.replaceOwn(await ownImage(file, size));
  const takeSound = async (file) => sounds.replaceOwn({
    title: file.name || "your sound", wave: await readSound(file, audio),
  });
  takeFiles(takeImage, takeSound);
  for (const [name, kind] of [["image-file", takeImage], ["sound-file", takeSound]]) {
    $(name).addEventListener("change", async ({ target }) => {
      await attempt(async () => {
        for (const file of target.files) await kind(file);
      });
      target.value = ""; // so that the same file can be chosen again
    });
  }

  $("record").addEventListener("click", ({ target }) => attempt(async () => {
    target.disabled = true;
    $("recording").textContent = "Waiting for the microphone …";
    try {
      const wave = await record(audio, (left) => {
        target.classList.add("on");
        $("recording").textContent = `Recording: ${left.toFixed(0)} s …`;
      });
      await sounds.replaceOwn({ title: "your recording", wave });
    } finally {
      target.disabled = false;
      target.classList.remove("on");
      $("recording").textContent = "";
    }
  }));

  $("overlay").value = 100 * OVERLAY;
  const strength = () => {
    $("overlay-value").textContent = `${$("overlay").value} %`;
    draw();
  };
  $("overlay").addEventListener("input", strength);
  addEventListener("resize", draw);
  bar($("bar"), colours.map);

  // everything from the image to the drawn map; the sound is embedded once
  measureSpeed(async () => {
    if (!map) throw new ReaderError("There is no map to measure yet: choose an image.");
    const { canvas } = image, { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const features = await model.embedImage(fit(data, height, width, size));
    if (canvas !== image.canvas) return; // another image by now
    map = model.respond(features, sound.feature);
    draw();
  });

  await sounds.choose(sounds.find(samples.images[0].sound));
  await groups.known.choose(groups.known.first());
  strength();
  document.body.dataset.state = "ready";
}

start();
