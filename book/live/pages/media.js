// The reader's own images and sounds: files and the microphone.
//
//   const { canvas, image } = await readImage(file, 96);   // image (3, 96, 96) in [0, 1]
//   const wave = await readSound(file, audio);             // mono, at the model's rate
//   const wave = await record(audio, onLevel);             // from the microphone
//
// Whatever goes wrong is a ReaderError: a sentence for the reader of the page.

import { fit } from "./geometry.js";
import { ReaderError } from "./model.js";

const LARGEST = 1024; // pixels of the longer side that are kept
const HEAVIEST = 100e6; // bytes of a file: a sound is held in memory, uncompressed

/**
 * An image as a canvas, to show, and as the model takes it.
 *
 * What differs from `load_image` in Python: the browser decodes, obeying colour profiles,
 * which Pillow ignores; images of more than 1024 pixels pass through that size; and
 * Pillow rounds to whole numbers. Like `model.fit`, it is bilinear whatever the model was
 * trained on. As in Python, transparency is laid on white, a camera's rotation tag is
 * obeyed, and the image is squashed to a square.
 */
export async function readImage(file, size) {
  const picture = new Image();
  picture.src = typeof file === "string" ? file : URL.createObjectURL(file);
  try {
    await picture.decode();
    if (!picture.naturalWidth) throw new Error("it has no size");
  } catch {
    throw new ReaderError(`${nameOf(file)} is damaged, or no image that this browser can read.`);
  } finally {
    if (typeof file !== "string") URL.revokeObjectURL(picture.src);
  }
  const { naturalWidth, naturalHeight } = picture;
  const scale = Math.min(1, LARGEST / Math.max(naturalWidth, naturalHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(scale * naturalWidth));
  canvas.height = Math.max(1, Math.round(scale * naturalHeight));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return { canvas, image: fit(data, canvas.height, canvas.width, size) };
}

/** A sound, or the sound of a video, as a mono wave at the model's sample rate. */
export async function readSound(file, audio) {
  if (file.size > HEAVIEST) {
    throw new ReaderError(
      `${nameOf(file)} has ${Math.round(file.size / 1e6)} MB; please take one of at ` +
      `most ${HEAVIEST / 1e6} MB. The model hears ${audio.seconds} seconds.`,
    );
  }
  let decoded;
  try {
    const content = typeof file === "string"
      ? await (await fetch(file)).arrayBuffer()
      : await file.arrayBuffer();
    // decodeAudioData resamples to the rate of its context
    const context = new OfflineAudioContext(1, 1, audio.sample_rate);
    decoded = await context.decodeAudioData(content);
  } catch {
    throw new ReaderError(`${nameOf(file)} is damaged, or no sound that this browser can read.`);
  }
  if (!decoded.length) throw new ReaderError(`${nameOf(file)} holds no sound.`);
  const wave = new Float32Array(decoded.length);
  for (let channel = 0; channel < decoded.numberOfChannels; channel++) {
    const samples = decoded.getChannelData(channel);
    for (let n = 0; n < wave.length; n++) {
      wave[n] += samples[n] / decoded.numberOfChannels;
    }
  }
  return wave;
}

/** A few seconds from the microphone; `tick` is called with the seconds that remain. */
export async function record(audio, tick) {
  if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) {
    throw new ReaderError(
      window.isSecureContext
        ? "This browser cannot record sound. Choose a file instead."
        : "Browsers give the microphone only to pages from https or from localhost. " +
          "Choose a file instead.",
    );
  }
  let stream;
  try {
    // what a call would clean away may be what the model should hear
    const plain = { echoCancellation: false, noiseSuppression: false,
      autoGainControl: false };
    stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
  } catch (error) {
    throw new ReaderError({
      NotAllowedError: "The microphone was refused. Allow it in the browser's settings " +
        "of this page, or choose a file instead.",
      NotFoundError: "No microphone was found. Connect one, or choose a file instead.",
      NotReadableError: "Another program is using the microphone. Close it, or choose a " +
        "file instead.",
    }[error.name] ?? `The microphone did not start (${error.message}).`);
  }
  try {
    const recorder = new MediaRecorder(stream), parts = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    const stopped = new Promise((done, fail) => {
      recorder.onstop = done;
      recorder.onerror = () => fail(new ReaderError("The recording broke off. Try again."));
    });
    recorder.start();
    const end = performance.now() + 1000 * (audio.seconds + 0.3); // codecs drop the ends
    for (let left; (left = end - performance.now()) > 0; ) {
      tick(left / 1000);
      await new Promise((done) => setTimeout(done, Math.min(100, left)));
    }
    recorder.stop();
    await stopped;
    return await readSound(new File(parts, "The recording"), audio);
  } finally {
    for (const track of stream.getTracks()) track.stop();
  }
}

/** A wave as a WAV file of 16 bits, for the player: what is played is what is heard. */
export function toWav(wave, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * wave.length));
  const text = (at, word) =>
    [...word].forEach((letter, k) => view.setUint8(at + k, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * wave.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * wave.length, true);
  wave.forEach((x, n) => {
    const level = Math.round(32768 * x);
    view.setInt16(44 + 2 * n, Math.min(Math.max(level, -32768), 32767), true);
  });
  return new Blob([view], { type: "audio/wav" });
}

/** "image", "sound" or null: what a file is, by its type and its name. */
export function kindOf(file) {
  if (file.type.startsWith("image/")) return "image";
  if (/^(audio|video)\//.test(file.type)) return "sound";
  if (/\.(jpe?g|png|gif|webp|avif|bmp|svg)$/i.test(file.name)) return "image";
  return /\.(wav|flac|ogg|oga|opus|mp3|m4a|aac|mp4|webm|mov)$/i.test(file.name)
    ? "sound"
    : null;
}

function nameOf(file) {
  return typeof file === "string" ? file.split("/").pop() : file.name || "The file";
}
