// What both pages share: loading, messages, the pickers of images and sounds, speed.

import { kindOf, readImage, readSound } from "./media.js";
import { Model, ReaderError } from "./model.js";

export const $ = (name) => document.getElementById(name);

/** Say something that has gone wrong, or take it back. */
export function complain(error) {
  if (error && !(error instanceof ReaderError)) console.error(error);
  $("error").textContent = error instanceof ReaderError || !error
    ? (error?.message ?? "")
    : `Something went wrong that should not: ${error.message}`;
  $("error").hidden = !error;
}

/** Run a step of the page; what fails is said to the reader. Whether it succeeded. */
export async function attempt(step) {
  try {
    complain(null);
    await step();
    return true;
  } catch (error) {
    complain(error);
    return false;
  }
}

async function json(name) {
  try {
    const response = await fetch(new URL(name, import.meta.url));
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return await response.json();
  } catch (error) {
    throw new ReaderError(`The file ${name} did not come (${error.message}). Reload the page.`);
  }
}

/** The model, the samples and the colours; null, and a sentence, where one is missing. */
export async function open() {
  let opened = null;
  const succeeded = await attempt(async () => {
    const progress = (loaded) => {
      $("loading").textContent =
        `Loading the model and its runtime: ${(loaded / 1e6).toFixed(0)} MB …`;
    };
    const [model, samples, colours] = await Promise.all([
      Model.open(progress), json("samples/samples.json"), json("colours.json"),
    ]);
    opened = { model, samples, colours };
  });
  $("loading").hidden = true;
  if (!succeeded) return null;
  document.body.classList.add("ready");
  if (opened.samples.home) {
    const home = document.querySelector("nav .home");
    home.href = opened.samples.home;
    home.hidden = false;
  }
  credit(opened.samples);
  return opened;
}

/** The credits of the samples, as a table. */
function credit({ credits, classes }) {
  for (const place of document.querySelectorAll(".classes")) place.textContent = classes;
  for (const row of credits) {
    const line = $("credits").insertRow();
    for (const name of ["what", "licence", "source"]) {
      line.insertCell().textContent = row[name];
    }
  }
}

/**
 * A group of choices, each a radio button: `add` appends one, `choose` selects one.
 * `chosen(item)` is called whenever another one is selected, by hand or by program.
 */
export class Choices {
  #items = [];

  constructor(place, name, chosen) {
    Object.assign(this, { place, name, chosen });
  }

  add(item) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: this.name });
    label.className = item.picture ? "tile" : "chip";
    label.append(input);
    if (item.picture) {
      const picture = document.createElement("img");
      Object.assign(picture, { src: item.picture, alt: item.title, title: item.title });
      label.append(picture);
    } else {
      const words = document.createElement("span");
      words.textContent = item.title;
      label.append(words);
    }
    input.addEventListener("change", () => this.chosen(item));
    this.place.append(label);
    this.#items.push({ item, input, label });
    return item;
  }

  choose(item) {
    this.#items.find((entry) => entry.item === item).input.checked = true;
    return this.chosen(item);
  }

  /** Add an item in place of the one that `own` marks already: the reader's last. */
  replaceOwn(item) {
    const old = this.#items.findIndex((entry) => entry.item.own);
    if (old >= 0) this.#items.splice(old, 1)[0].label.remove();
    return this.choose(this.add({ ...item, own: true }));
  }

  find(title) {
    return this.#items.map((entry) => entry.item).find((item) => item.title === title);
  }

  first() {
    return this.#items[0].item;
  }
}

/** A sample image, or the reader's own: {title, picture, canvas, image, sound}. */
export async function openImage(item, size) {
  if (!item.image) Object.assign(item, await readImage(item.file, size));
  return item;
}

/** A reader's image file as an item of the choices. */
export async function ownImage(file, size) {
  const read = await readImage(file, size);
  const small = document.createElement("canvas"); // squashed, as the model sees it
  small.width = small.height = 160;
  small.getContext("2d").drawImage(read.canvas, 0, 0, 160, 160);
  return { title: file.name || "your image", picture: small.toDataURL(), ...read };
}

/** A sample sound, or the reader's own, with its wave and its feature. */
export async function openSound(item, model) {
  item.wave ??= await readSound(item.file, model.card.audio);
  item.feature ??= await model.embedSound(item.wave);
  return item;
}

/** Files that are dropped on the page, or pasted into it, go to image() or sound(). */
export function takeFiles(image, sound) {
  const take = (files) => attempt(async () => {
    for (const file of files) {
      const kind = kindOf(file);
      if (kind === "image") await image(file);
      else if (kind === "sound" && sound) await sound(file);
      else throw new ReaderError(`${file.name} is ${sound ? "neither an image nor a sound" :
        "no image"} that this page can read.`);
    }
  });
  let inside = 0;
  const mark = (change) => {
    inside = change === null ? 0 : inside + change;
    document.body.classList.toggle("dropping", inside > 0);
  };
  const dragsFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => dragsFiles(event) && mark(1));
  addEventListener("dragleave", (event) => dragsFiles(event) && mark(-1));
  addEventListener("dragover", (event) => dragsFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!dragsFiles(event)) return;
    event.preventDefault();
    mark(null);
    take([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => take([...(event.clipboardData?.files ?? [])]));
}

/** A button that measures how many maps a second are made and drawn here. */
export function measureSpeed(once, seconds = 2) {
  const button = $("measure"), words = $("speed");
  button.addEventListener("click", () => attempt(async () => {
    button.disabled = true;
    words.textContent = "Measuring …";
    try {
      await once();
      const start = performance.now();
      let maps = 0;
      for (; performance.now() - start < 1000 * seconds; maps++) await once();
      const rate = maps / ((performance.now() - start) / 1000);
      words.dataset.rate = rate;
      words.textContent = `${rate.toFixed(rate < 10 ? 1 : 0)} maps a second, from image ` +
        `to drawn map (${(1000 / rate).toFixed(0)} ms each), on one thread.`;
    } finally {
      button.disabled = false;
    }
  }));
}
