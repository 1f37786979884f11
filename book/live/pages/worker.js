// The two encoders, off the page's own thread, so that dragging stays smooth.
//
// Messages in: {id, task: "load" | "image" | "audio", values}. Out: {id, result} or
// {id, error: {reason, file, text}}, and {progress} while the runtime is downloaded.

import * as ort from "./ort/ort.js";

const RUNTIME = new URL("./ort/runtime.wasm", import.meta.url);
const MODEL = new URL("./model/", import.meta.url);
let card, encoders;

class Failure extends Error {
  constructor(reason, file, text) {
    super(text);
    Object.assign(this, { reason, file });
  }
}

/** The bytes of a file; a Failure says which one did not come. */
async function bytes(address, progress) {
  const file = address.pathname.split("/").pop();
  let response;
  try {
    response = await fetch(address);
  } catch (error) {
    throw new Failure("missing", file, error.message);
  }
  if (!response.ok) throw new Failure("missing", file, `HTTP ${response.status}`);
  const parts = [];
  let total = 0;
  try {
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      total += value.length;
      progress?.(total);
    }
  } catch (error) {
    throw new Failure("missing", file, error.message);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function open(kind) {
  const { file } = card[kind];
  const content = await bytes(new URL(file, MODEL));
  try {
    return await ort.InferenceSession.create(content, { executionProviders: ["wasm"] });
  } catch (error) {
    throw new Failure("damaged", file, error.message);
  }
}

async function load() {
  const text = new TextDecoder().decode(await bytes(new URL("encoders.json", MODEL)));
  try {
    card = JSON.parse(text);
  } catch (error) {
    throw new Failure("damaged", "encoders.json", error.message);
  }
  Object.assign(ort.env.wasm, {
    numThreads: 1, // more would need headers that plain file servers do not send
    wasmPaths: { mjs: new URL("./ort/runtime.js", import.meta.url).href },
    wasmBinary: await bytes(RUNTIME, (loaded) => postMessage({ progress: loaded })),
  });
  encoders = { image: await open("image"), audio: await open("audio") };
  return card;
}

async function embed(kind, values) {
  const { image, audio } = card;
  const shape = kind === "image"
    ? [1, 3, image.size, image.size]
    : [1, 1, audio.n_mels, audio.frames];
  const [source] = encoders[kind].inputNames, [result] = encoders[kind].outputNames;
  const given = { [source]: new ort.Tensor("float32", values, shape) };
  return (await encoders[kind].run(given))[result].data;
}

let last = Promise.resolve(); // one after the other: a session runs one input at a time

onmessage = ({ data: { id, task, values } }) => {
  last = last.then(async () => {
    try {
      const result = await (task === "load" ? load() : embed(task, values));
      postMessage({ id, result });
    } catch (error) {
      const { reason = "failed", file, message } = error;
      postMessage({ id, error: { reason, file, text: message } });
    }
  });
};
