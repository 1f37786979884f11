// Maps as colours. The colours are those of the notebooks' figures: colours.json holds
// viridis and the signed scale of sslnb.teach.plot.

import { enlarge } from "./geometry.js";

const FINE = 96; // pixels a side to which maps are interpolated before they are drawn
export const OVERLAY = 0.6; // opacity of a map over its image, as in the figures

/** Lowest and highest of a map, and the index of the highest. */
export function extremes(map) {
  let low = Infinity, high = -Infinity, peak = 0;
  map.forEach((x, k) => {
    if (x > high) [high, peak] = [x, k];
    low = Math.min(low, x);
  });
  return { low, high, peak };
}

/** A map (h, w) as a canvas; low, high: the ends of the colours, which are [R, G, B]. */
export function paint(map, [height, width], colours, low, high) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = FINE;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(FINE, FINE);
  const fine = enlarge(map, height, width, FINE);
  const table = packed(colours), step = (table.length - 1) / Math.max(high - low, 1e-6);
  const words = new Uint32Array(pixels.data.buffer);
  fine.forEach((x, k) => {
    const level = Math.round((x - low) * step);
    words[k] = table[Math.min(Math.max(level, 0), table.length - 1)];
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

const tables = new Map();

/** Colours as the words of an ImageData, in this machine's order of bytes. */
function packed(colours) {
  if (!tables.has(colours)) {
    const bytes = Uint8Array.from(colours.flatMap((colour) => [...colour, 255]));
    tables.set(colours, new Uint32Array(bytes.buffer));
  }
  return tables.get(colours);
}

/** Fill the cells that are not `inside` with the dark colour of an empty canvas. */
export function darken(context, inside, [height, width]) {
  const { canvas } = context;
  context.fillStyle = getComputedStyle(canvas).backgroundColor;
  inside.forEach((counts, k) => {
    if (counts) return;
    const [left, right] = [k % width, (k % width) + 1].map((n) =>
      Math.round((n * canvas.width) / width));
    const [top, bottom] = [Math.floor(k / width), Math.floor(k / width) + 1].map((n) =>
      Math.round((n * canvas.height) / height));
    context.fillRect(left, top, right - left, bottom - top);
  });
}

/** Draw an image, squashed to the square of a context, under T: what `warp` computes. */
export function drawWarped(context, picture, theta, [red, green, blue]) {
  const side = context.canvas.width, [a, b, x, c, d, y] = theta;
  const det = a * d - b * c, inverse = [d / det, -b / det, -c / det, a / det];
  const move = (one, two) =>
    (side / 2) * (1 - (inverse[one] * (1 + x) + inverse[two] * (1 + y)));
  const share = (value) => `${100 * value}%`;
  context.fillStyle = `rgb(${share(red)} ${share(green)} ${share(blue)})`;
  context.fillRect(0, 0, side, side);
  context.save();
  context.setTransform(
    inverse[0], inverse[2], inverse[1], inverse[3], move(0, 1), move(2, 3));
  context.drawImage(picture, 0, 0, side, side);
  context.restore();
}

/** Size a canvas for a ratio of width to height, at the screen's resolution or `most`. */
export function resize(canvas, ratio = 1, most = 1200) {
  const sharp = Math.min(window.devicePixelRatio || 1, 2);
  const width = Math.max(1, Math.min(Math.round(canvas.clientWidth * sharp), most));
  const height = Math.max(1, Math.round(width / ratio));
  if (canvas.width !== width || canvas.height !== height) {
    Object.assign(canvas, { width, height });
    canvas.style.aspectRatio = String(ratio);
  }
  return canvas.getContext("2d");
}

/** A ring around the middle of a cell. */
export function ring(context, peak, [height, width]) {
  const { canvas } = context;
  const x = (((peak % width) + 0.5) / width) * canvas.width;
  const y = ((Math.floor(peak / width) + 0.5) / height) * canvas.height;
  const radius = Math.max(7, canvas.width / 45);
  for (const [color, line] of [["#000", radius / 1.6], ["#fff", radius / 3.2]]) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.strokeStyle = color;
    context.lineWidth = line;
    context.stroke();
  }
}

/** A colour bar: fills a canvas from left to right. */
export function bar(canvas, colours) {
  [canvas.width, canvas.height] = [colours.length, 1];
  const context = canvas.getContext("2d");
  colours.forEach(([red, green, blue], k) => {
    context.fillStyle = `rgb(${red} ${green} ${blue})`;
    context.fillRect(k, 0, 1, 1);
  });
}

/** Where a cell is, in words: "upper left", "middle", … */
export function whereabouts(peak, [height, width]) {
  const third = (at, cells) => Math.floor((3 * (at + 0.5)) / cells);
  const rows = ["upper", "middle", "lower"], columns = ["left", "middle", "right"];
  const row = rows[third(Math.floor(peak / width), height)];
  const column = columns[third(peak % width, width)];
  if (row === column) return "in the middle";
  if (column === "middle") return `in the ${row} middle`;
  return row === "middle" ? `in the middle, ${column}` : `in the ${row} ${column}`;
}
