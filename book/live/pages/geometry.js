// Images and maps, resized and transformed: sslnb.augment and model.fit in JavaScript.
//
//   const theta = affine({ scale: 0.8, degrees: 20, flip: true });
//   const image2 = warp(image, [3, 96, 96], theta, mean);   // T(I)
//   const map2 = warp(map, [1, 12, 12], theta);             // T(Φ(I))
//
// Images and maps are Float32Arrays, (C, H, W) row by row.

/**
 * theta, six numbers row by row, from output to input coordinates: augment.fixed_affine.
 * scale: of the content; x, y: the centre of what is seen, from −1 to 1 over the frame.
 */
export function affine({ scale = 1, degrees = 0, flip = false, x = 0, y = 0 } = {}) {
  const angle = (degrees * Math.PI) / 180, mirror = flip ? -1 : 1;
  const cos = Math.cos(angle) / scale, sin = Math.sin(angle) / scale;
  return [cos * mirror, -sin, x, sin * mirror, cos, y];
}

/**
 * Transform an image or map by theta: augment.warp. Bilinear. Out of frame is `fill`, a
 * value a channel, by default 0; for an image in [0, 1] it is the colour that
 * normalisation takes to 0, since Python transforms images after it.
 */
export function warp(values, [channels, height, width], theta, fill = []) {
  const warped = new Float32Array(values.length), area = height * width;
  const level = Array.from({ length: channels }, (_, c) => fill[c] ?? 0);
  for (let row = 0, k = 0; row < height; row++) {
    const v = (2 * row + 1) / height - 1;
    for (let column = 0; column < width; column++, k++) {
      const u = (2 * column + 1) / width - 1;
      const x = ((theta[0] * u + theta[1] * v + theta[2] + 1) * width - 1) / 2;
      const y = ((theta[3] * u + theta[4] * v + theta[5] + 1) * height - 1) / 2;
      const left = Math.floor(x), top = Math.floor(y);
      for (let corner = 0; corner < 4; corner++) {
        const i = left + (corner & 1), j = top + (corner >> 1);
        const weight = (1 - Math.abs(x - i)) * (1 - Math.abs(y - j));
        const inside = i >= 0 && i < width && j >= 0 && j < height;
        for (let c = 0, from = j * width + i, to = k; c < channels; c++) {
          warped[to] += weight * (inside ? values[from] : level[c]);
          from += area;
          to += area;
        }
      }
    }
  }
  return warped;
}

/** Which cells `warp` by theta fills entirely, 1 or 0 each: augment.in_frame. */
export function inFrame(theta, height, width) {
  const ones = new Float32Array(height * width).fill(1);
  return warp(ones, [1, height, width], theta).map((x) => (x > 1 - 1e-3 ? 1 : 0));
}

/**
 * How far Φ(T(I)) is from T(Φ(I)), as sslnb.consistency measures it: the mean squared
 * difference over the cells in the frame, over the variance of Φ(I). 0 is perfect. NaN
 * where no cell is in the frame, or the map is constant.
 */
export function equivarianceError(map, expected, found, inside) {
  const mean = map.reduce((sum, x) => sum + x, 0) / map.length;
  const variance = map.reduce((sum, x) => sum + (x - mean) ** 2, 0) / map.length;
  let squares = 0, cells = 0;
  inside.forEach((counts, k) => {
    squares += counts * (expected[k] - found[k]) ** 2;
    cells += counts;
  });
  return variance > 0 ? squares / cells / variance : NaN;
}

/**
 * RGBA pixels (height, width) to an image (3, size, size) in [0, 1]: model.fit, that is
 * bilinear with anti-aliasing, and squashed to a square.
 */
export function fit(pixels, height, width, size) {
  const across = triangle(width, size), down = triangle(height, size);
  const rows = new Float32Array(3 * height * size);
  for (let c = 0; c < 3; c++) {
    for (let row = 0; row < height; row++) {
      across.forEach(({ first, weights }, column) => {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) {
          sum += weights[k] * pixels[4 * (row * width + first + k) + c];
        }
        rows[(c * height + row) * size + column] = sum / 255;
      });
    }
  }
  const image = new Float32Array(3 * size * size);
  for (let c = 0; c < 3; c++) {
    down.forEach(({ first, weights }, row) => {
      for (let column = 0; column < size; column++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) {
          sum += weights[k] * rows[(c * height + first + k) * size + column];
        }
        image[(c * size + row) * size + column] = sum;
      }
    });
  }
  return image;
}

/** For each of `to` pixels, which of `from` pixels it averages, and with what weights. */
function triangle(from, to) {
  const scale = from / to, support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, n) => {
    const centre = (n + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - support + 0.5));
    const end = Math.min(from, Math.floor(centre + support + 0.5));
    const weights = Float64Array.from({ length: end - first }, (_, k) =>
      Math.max(0, 1 - Math.abs(first + k + 0.5 - centre) / support));
    const total = weights.reduce((sum, w) => sum + w, 0);
    return { first, weights: weights.map((w) => w / total) };
  });
}

/** A map (height, width) at size × size, bilinear, the border repeated outwards. */
export function enlarge(map, height, width, size) {
  const large = new Float32Array(size * size);
  const place = (n, cells) => {
    const at = Math.min(Math.max(((n + 0.5) * cells) / size - 0.5, 0), cells - 1);
    const low = Math.min(Math.floor(at), Math.max(cells - 2, 0));
    return [low, Math.min(low + 1, cells - 1), at - low];
  };
  for (let row = 0; row < size; row++) {
    const [top, bottom, v] = place(row, height);
    for (let column = 0; column < size; column++) {
      const [left, right, u] = place(column, width);
      const above = map[top * width + left] * (1 - u) + map[top * width + right] * u;
      const below =
        map[bottom * width + left] * (1 - u) + map[bottom * width + right] * u;
      large[row * size + column] = above * (1 - v) + below * v;
    }
  }
  return large;
}
