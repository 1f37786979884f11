// A wave as the model's spectrogram: sslnb.data.media in JavaScript (notebook 01).
//
//   const heard = fitLength(wave, audio.samples);     // Float32Array
//   const values = spectrogram(heard, audio);         // (n_mels, frames), row by row
//
// `audio` is that of encoders.json: settings and mel filters come from Python, so that
// nothing here can drift from them. tests/live compares both to 1e-3 on recordings.

/** The middle `samples` of a wave, which is repeated first if it is shorter. */
export function fitLength(wave, samples) {
  if (wave.length === 0) throw new RangeError("the wave holds no samples");
  if (wave.length >= samples) {
    const start = Math.floor((wave.length - samples) / 2);
    return wave.slice(start, start + samples);
  }
  return Float32Array.from({ length: samples }, (_, n) => wave[n % wave.length]);
}

/** Decibels of the mel power spectrum, scaled: Float32Array (n_mels, frames). */
export function spectrogram(wave, audio) {
  const { n_fft: size, hop, frames, bands, floor, span, clip } = audio;
  if (wave.length !== audio.samples) {
    throw new RangeError(`a wave of ${wave.length} samples; need ${audio.samples}`);
  }
  // Hann's window, periodic as torch.hann_window's
  const window = Float64Array.from(
    { length: size },
    (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size),
  );
  const energy = audio.normalized ? window.reduce((sum, w) => sum + w * w, 0) : 1;
  const transform = fourier(size);
  const power = new Float64Array(size / 2 + 1);
  const real = new Float64Array(size), imaginary = new Float64Array(size);
  const values = new Float32Array(bands.length * frames);
  for (let frame = 0; frame < frames; frame++) {
    for (let n = 0; n < size; n++) {
      // frames are centred: the first one around sample 0, the ends reflected
      let at = Math.abs(frame * hop + n - size / 2);
      if (at >= wave.length) at = 2 * (wave.length - 1) - at;
      real[n] = window[n] * wave[at];
    }
    imaginary.fill(0);
    transform(real, imaginary);
    for (let bin = 0; bin < power.length; bin++) {
      power[bin] = (real[bin] ** 2 + imaginary[bin] ** 2) / energy;
    }
    bands.forEach(({ first, weights }, band) => {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * power[first + k];
      const scaled = (10 * Math.log10(Math.max(sum, 1e-10)) - floor) / span;
      values[band * frames + frame] = clip ? Math.max(scaled, 0) : scaled;
    });
  }
  return values;
}

/** The discrete Fourier transform of `size` complex numbers, in place: Cooley and Tukey. */
function fourier(size) {
  if (size < 2 || size & (size - 1)) {
    throw new RangeError(`n_fft is ${size}; need a power of two`);
  }
  const cos = new Float64Array(size / 2), sin = new Float64Array(size / 2);
  for (let k = 0; k < size / 2; k++) {
    cos[k] = Math.cos((2 * Math.PI * k) / size);
    sin[k] = -Math.sin((2 * Math.PI * k) / size);
  }
  return (real, imaginary) => {
    for (let n = 1, back = 0; n < size; n++) { // bits in reverse order
      let bit = size >> 1;
      for (; back & bit; bit >>= 1) back ^= bit;
      back ^= bit;
      if (n < back) {
        [real[n], real[back]] = [real[back], real[n]];
        [imaginary[n], imaginary[back]] = [imaginary[back], imaginary[n]];
      }
    }
    for (let half = 1; half < size; half *= 2) {
      const step = size / (2 * half);
      for (let start = 0; start < size; start += 2 * half) {
        for (let k = 0; k < half; k++) {
          const a = start + k, b = a + half, c = cos[k * step], s = sin[k * step];
          const re = real[b] * c - imaginary[b] * s;
          const im = real[b] * s + imaginary[b] * c;
          real[b] = real[a] - re;
          imaginary[b] = imaginary[a] - im;
          real[a] += re;
          imaginary[a] += im;
        }
      }
    }
  };
}
