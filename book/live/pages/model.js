// The model: a sound and an image to a response map, like SoundLocaliser.predict.
//
//   const model = await Model.open();
//   const v = await model.embedImage(image);          // (C, h, w)
//   const a = await model.embedSound(wave);           // (C,)
//   const map = model.respond(v, a);                  // (h, w) cosines: eq. 3

import { fitLength, spectrogram } from "./mel.js";

/** An error whose message is for the reader of the page. */
export class ReaderError extends Error {}

const AGAIN = "Reload the page; if that does not help, the folder is not complete: " +
  "build it again.";

export class Model {
  #worker;
  #waiting = new Map();
  #count = 0;
  #progress;

  /** Load runtime and encoders; `progress` is called with the bytes that have come. */
  static async open(progress = () => {}) {
    if (typeof WebAssembly !== "object") {
      throw new ReaderError(
        "This browser has no WebAssembly, or it is switched off, and the model needs " +
        "it. A current Firefox, Chrome, Edge or Safari has it.",
      );
    }
    const model = new Model();
    model.#progress = progress;
    model.#worker = new Worker(new URL("./worker.js", import.meta.url), {
      type: "module",
    });
    model.#worker.onmessage = ({ data }) => model.#hear(data);
    model.#worker.onerror = (event) => {
      event.preventDefault();
      for (const { fail } of model.#waiting.values()) {
        fail(new ReaderError(`The part of the page that runs the model did not start. ${AGAIN}`));
      }
      model.#waiting.clear();
    };
    model.card = await model.#ask("load");
    return model;
  }

  /** Features (C, h, w) of an image (3, S, S) in [0, 1]. */
  embedImage(image) {
    return this.#ask("image", image);
  }

  /** The feature (C,) of a wave, which is cropped or repeated as in Python. */
  embedSound(wave) {
    const { audio } = this.card;
    return this.#ask("audio", spectrogram(fitLength(wave, audio.samples), audio));
  }

  /** The response map (h, w): the cosine of every cell with the sound. */
  respond(v, a) {
    const cells = v.length / a.length, map = new Float32Array(cells);
    a.forEach((weight, channel) => {
      for (let k = 0; k < cells; k++) map[k] += weight * v[channel * cells + k];
    });
    return map;
  }

  #ask(task, values) {
    const id = this.#count++;
    return new Promise((done, fail) => {
      this.#waiting.set(id, { done, fail });
      this.#worker.postMessage({ id, task, values });
    });
  }

  #hear({ id, result, error, progress }) {
    if (progress) return this.#progress(progress);
    const { done, fail } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (!error) return done(result);
    const { reason, file, text } = error;
    fail(new ReaderError({
      missing: `The file ${file} did not come (${text}). ${AGAIN}`,
      damaged: `The file ${file} is damaged (${text}). ${AGAIN}`,
      failed: `The model stopped: ${text}. ${AGAIN}`,
    }[reason]));
  }
}
