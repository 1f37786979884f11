"""Pictures and sounds as inputs, against arithmetic done by hand."""

import av
import numpy as np
import pytest
import scipy.io.wavfile
import scipy.signal
import soundfile
import torch
import torch.nn.functional as F
import torchaudio
import torchvision.transforms.functional as TF
from PIL import Image

from sslnb.data import (
    LAPTOP_AUDIO,
    RELEASE_AUDIO,
    AudioConfig,
    fit_length,
    load_audio,
    load_image,
    media,
    normalise,
    spectrogram,
)
from tests.media_files import make_video, recording

CONFIGS = pytest.mark.parametrize(
    "config", [LAPTOP_AUDIO, RELEASE_AUDIO], ids=["laptop", "release"]
)


def noise(samples, seed=0, scale=0.1):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(1, samples, generator=generator)


def tone(hertz, rate, seconds, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


# --- the spectrogram ----------------------------------------------------------


def mel_filters(config):
    """(bins, bands): triangles with equal steps on mel = 2595 log10(1 + f / 700)."""
    bins = np.arange(config.n_fft // 2 + 1) * config.sample_rate / config.n_fft
    top = 2595 * np.log10(1 + config.f_max / 700)
    corners = 700 * (10 ** (np.linspace(0, top, config.n_mels + 2) / 2595) - 1)
    filters = np.zeros((len(bins), config.n_mels))
    for band in range(config.n_mels):
        low, middle, high = corners[band : band + 3]
        rising = (bins - low) / (middle - low)
        falling = (high - bins) / (high - middle)
        filters[:, band] = np.minimum(rising, falling).clip(0)
    return filters


def naive_frame(wave, config, frame):
    """One column: reflect, window, transform by the definition, filter, decibels."""
    half = config.n_fft // 2
    padded = np.pad(wave, half, mode="reflect")
    n = np.arange(config.n_fft)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / config.n_fft)
    piece = padded[frame * config.hop :][: config.n_fft] * window
    k = np.arange(half + 1)[:, None]
    transform = (piece * np.exp(-2j * np.pi * k * n / config.n_fft)).sum(1)
    power = np.abs(transform) ** 2 @ mel_filters(config)
    if config.normalized:
        power /= (window**2).sum()
    scaled = (10 * np.log10(np.maximum(power, 1e-10)) - config.floor) / config.span
    return np.maximum(scaled, 0) if config.clip else scaled


@CONFIGS
@pytest.mark.parametrize("frame", [0, 57, -1])
def test_a_frame_is_the_discrete_fourier_transform_by_its_definition(config, frame):
    waves = noise(config.samples)
    found = spectrogram(waves, config)[0, 0]
    index = frame % config.frames
    right = naive_frame(waves[0].numpy().astype(float), config, index)
    # float32 filters: decibels of nearly empty bands are the least exact
    assert np.allclose(found[:, index], right, atol=0.02 / config.span * 80)
    assert np.abs(found[:, index].numpy() - right).mean() < 1e-3 / config.span * 80


def test_the_whole_is_scipys_spectrogram_through_the_same_filters():
    config = LAPTOP_AUDIO
    wave = noise(config.samples)[0].numpy().astype(float)
    transform = scipy.signal.ShortTimeFFT(
        scipy.signal.get_window("hann", config.n_fft), config.hop, config.sample_rate
    )
    padded = np.pad(wave, config.n_fft // 2, mode="reflect")
    # scipy's frame p is centred at p · hop: ours, 512 later, begins with its second
    shifted = np.concatenate([np.zeros(2 * config.hop - config.n_fft // 2), padded])
    stft = transform.stft(shifted, p0=2, p1=2 + config.frames)
    power = (np.abs(stft) ** 2).T @ mel_filters(config)
    right = (10 * np.log10(power.T) - config.floor) / config.span
    found = spectrogram(torch.from_numpy(wave[None]).float(), config)[0, 0]
    assert np.allclose(found, right, atol=2e-3)


def test_shapes_are_those_of_the_laptop_and_of_the_release():
    assert spectrogram(noise(48_000)).shape == (1, 1, 64, 120)
    waves = noise(160_000).expand(2, -1)
    assert spectrogram(waves, RELEASE_AUDIO).shape == (2, 1, 257, 670)


@pytest.mark.parametrize(
    "config",
    [
        LAPTOP_AUDIO,
        RELEASE_AUDIO,
        AudioConfig(clip=False),
        AudioConfig(floor=-120.0, span=160.0),  # silence is above this floor
    ],
    ids=["laptop", "release", "unclipped", "low floor"],
)
def test_no_sound_at_all_reads_silence_everywhere(config):
    found = spectrogram(torch.zeros(1, config.samples), config)
    assert torch.allclose(found, torch.tensor(config.silence))


def test_silence_is_zero_for_the_laptop_and_minus_100_decibels_for_the_release():
    assert LAPTOP_AUDIO.silence == 0 and RELEASE_AUDIO.silence == -100


def test_bands_that_no_bin_falls_into_are_28_in_the_release_and_none_here():
    for config, empty in ((RELEASE_AUDIO, 28), (LAPTOP_AUDIO, 0)):
        found = spectrogram(noise(config.samples), config)[0, 0]
        assert (found == config.silence).all(1).sum() == empty


@CONFIGS
@pytest.mark.parametrize("hertz", [300, 1_000, 3_000])
def test_a_tone_is_brightest_in_the_band_of_its_pitch(config, hertz):
    wave = tone(hertz, config.sample_rate, config.seconds)
    column = spectrogram(torch.from_numpy(wave)[None], config)[0, 0, :, 60]
    top = 2595 * np.log10(1 + config.f_max / 700)
    band = 2595 * np.log10(1 + hertz / 700) / top * (config.n_mels + 1) - 1
    assert abs(column.argmax() - band) <= 2  # the release's bands are finer than bins


@CONFIGS
def test_ten_times_the_power_is_ten_decibels_more(config):
    waves = noise(config.samples)
    soft = spectrogram(waves, config)
    loud = spectrogram(waves * 10**0.5, config)
    sounding = soft > config.silence
    gain = (loud - soft)[sounding] * config.span
    assert gain.numel() > 5_000
    assert torch.allclose(gain, torch.tensor(10.0), atol=0.01)


def test_a_click_is_where_it_was():
    wave = torch.zeros(1, 48_000)
    wave[0, 30_000] = 1
    loudness = spectrogram(wave)[0, 0].sum(0)
    assert abs(loudness.argmax() - 30_000 / LAPTOP_AUDIO.hop) <= 1
    frames = loudness.nonzero().flatten() * LAPTOP_AUDIO.hop
    assert (frames - 30_000).abs().max() <= LAPTOP_AUDIO.n_fft // 2


def test_int16_is_read_as_shares_of_full_scale():
    waves = (noise(48_000) * 32_767).to(torch.int16)
    assert torch.equal(spectrogram(waves), spectrogram(waves / 32_768))


def test_each_wave_of_a_batch_is_alone():
    waves = torch.cat([noise(48_000, seed) for seed in range(3)])
    together = spectrogram(waves)
    alone = torch.cat([spectrogram(wave[None]) for wave in waves])
    assert torch.allclose(together, alone, atol=1e-6)


def test_full_scale_reads_about_one_and_the_quietest_bits_about_zero():
    loud = spectrogram(torch.from_numpy(tone(500, 16_000, 3, 1.0))[None])
    assert 1 < loud.max() < 1.4  # a pure tone is the loudest that there is
    quiet = spectrogram(noise(48_000, scale=1e-6))
    assert quiet.max() < 0.1


@pytest.mark.parametrize("shape", [(48_000,), (2, 47_999), (1, 1, 48_000), (2, 0)])
def test_waves_of_another_shape_are_refused_with_the_right_one(shape):
    with pytest.raises(
        ValueError, match=r"waves have shape .*need \(B, 48000\): 3 s at"
    ):
        spectrogram(torch.zeros(shape))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_waves_that_are_not_finite_are_refused(value):
    waves = torch.zeros(1, 48_000)
    waves[0, 7] = value
    with pytest.raises(ValueError, match="not finite"):
        spectrogram(waves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_samples_of_int16_as_floats_are_refused_with_their_range(dtype):
    waves = (32_767 * tone(440, 16_000, 3)).astype(np.int16)[None]
    waves = torch.from_numpy(waves)
    assert spectrogram(waves).isfinite().all()
    said = r"waves run from -163\d+ to 163\d+; need floats in \[-1, 1\], or int16"
    with pytest.raises(ValueError, match=said):
        spectrogram(waves.to(dtype))


def test_loud_waves_and_noise_of_deviation_one_are_taken():
    """A full-scale square wave, resampled, overshoots; so does white noise."""
    square = torch.from_numpy(np.sign(tone(443, 44_100, 3.1)).astype(np.float32))
    resampled = torchaudio.functional.resample(square, 441, 160)[None, :48_000]
    assert resampled.abs().max() > 1.1
    for waves in (resampled, 2 * resampled, noise(48_000, scale=1)):
        assert spectrogram(waves).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8, torch.bool])
def test_waves_of_another_dtype_are_refused(dtype):
    with pytest.raises(ValueError, match=f"waves are {dtype}; need floats or"):
        spectrogram(torch.zeros(1, 48_000, dtype=dtype))


@pytest.mark.parametrize("make", [lambda x: x.numpy(), list, lambda x: None])
def test_what_is_no_tensor_is_refused(make):
    with pytest.raises(TypeError, match=r"waves are a .*; need a torch.Tensor"):
        spectrogram(make(torch.zeros(1, 48_000)))
    with pytest.raises(TypeError, match=r"images are a .*; need a torch.Tensor"):
        normalise(make(torch.zeros(1, 3, 8, 8)))


# --- lengths ------------------------------------------------------------------


def test_a_long_wave_gives_its_middle_and_a_short_one_is_repeated():
    wave = torch.arange(10)
    assert fit_length(wave, 10).tolist() == list(range(10))
    assert fit_length(wave, 4).tolist() == [3, 4, 5, 6]
    assert fit_length(wave, 5).tolist() == [2, 3, 4, 5, 6]
    assert fit_length(wave[:3], 8).tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert fit_length(wave[:3].expand(2, 4, 3), 7).shape == (2, 4, 7)


def test_a_wave_without_samples_cannot_be_repeated():
    with pytest.raises(ValueError, match="no samples"):
        fit_length(torch.zeros(2, 0), 4)


def test_an_array_is_no_wave():
    """NumPy's repeat is another one: [0, 0, 0, 1, 1, …]."""
    with pytest.raises(TypeError, match=r"waves are a ndarray; need a torch.Tensor"):
        fit_length(np.arange(3), 8)


# --- sound files ----------------------------------------------------------------


def write(path, wave, rate=16_000, **options):
    soundfile.write(path, wave, rate, **options)
    return path


def test_a_file_of_the_right_rate_and_length_is_read_as_it_is(tmp_path):
    wave = noise(48_000)[0].numpy()
    found = load_audio(write(tmp_path / "a.wav", wave, subtype="FLOAT"))
    assert found.dtype == torch.float32
    assert np.array_equal(found, wave)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"])
def test_common_formats_are_read(name, tmp_path):
    wave = tone(440, 16_000, 3)
    found = load_audio(write(tmp_path / name, wave)).numpy()
    assert found.shape == (48_000,)
    heard = np.abs(np.fft.rfft(found * np.hanning(48_000)))
    assert abs(heard.argmax() / 3 - 440) < 1  # Hz
    assert np.abs(found[4_000:-4_000]).max() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    "name, audio, video",
    [
        ("a.m4a", "aac", None),
        ("a.mp4", "aac", "h264"),
        ("a.webm", "opus", "vp9"),
        ("a.mka", "aac", None),
    ],
)
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_sound_that_libsndfile_cannot_read_is_read_by_ffmpeg(
    name, audio, video, rate, tmp_path
):
    wave = recording(3, rate)
    path = make_video(
        tmp_path / name, 3, video=video, audio=audio, rate=rate, wave=wave
    )
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(path)
    wave = scipy.signal.resample_poly(wave.mean(0), 16_000, rate)
    lag = np.arange(-200, 201)
    found = load_audio(path).numpy()
    assert found.shape == (48_000,)
    inner = found[2_000:-2_000]
    close = [np.corrcoef(inner, np.roll(wave, n)[2_000:-2_000])[0, 1] for n in lag]
    # AAC's last frame makes the file longer: its middle begins 64 samples later
    assert max(close) > 0.99 and lag[np.argmax(close)] in (0, -64)
    assert inner.std() == pytest.approx(wave[2_000:-2_000].std(), rel=0.05)


def test_a_video_without_sound_and_one_cut_short_are_named(tmp_path):
    mute = make_video(tmp_path / "mute.mp4", 1, audio=None)
    with pytest.raises(OSError, match=r"mute\.mp4 is missing, .*no audio track"):
        load_audio(mute)
    cut = make_video(
        tmp_path / "cut.m4a", 3, video=None, container_options={"movflags": "faststart"}
    )
    cut.write_bytes(cut.read_bytes()[:-9_000])
    with pytest.raises(OSError, match=r"cut\.m4a is missing, .*truncated"):
        load_audio(cut)


def test_a_playlist_does_not_make_the_sound_of_another_file_ours(tmp_path):
    """Else whoever uploads one to a server would hear what lies there."""
    other = make_video(tmp_path / "other.ts", 3, video=None)
    with av.open(str(other)) as container:
        seconds = container.duration / av.time_base
    entries = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:{seconds},\n{other}\n"
    playlist = tmp_path / "mine.m3u8"
    playlist.write_text(f"{entries}#EXT-X-ENDLIST\n", encoding="utf-8")
    assert len(load_audio(other)) == 48_000
    with pytest.raises(OSError, match=r"mine\.m3u8 .*is a playlist; need a file"):
        load_audio(playlist)


def test_stereo_becomes_the_mean_of_its_channels(tmp_path):
    left, right = noise(48_000)[0].numpy(), noise(48_000, seed=1)[0].numpy()
    path = write(tmp_path / "a.wav", np.stack([left, right], 1), subtype="FLOAT")
    assert np.allclose(load_audio(path), (left + right) / 2, atol=1e-7)
    six = write(tmp_path / "b.wav", np.stack([left] * 6, 1), subtype="FLOAT")
    assert np.allclose(load_audio(six), left, atol=1e-6)


@pytest.mark.parametrize(
    "rate", [8_000, 11_127, 22_050, 44_100, 44_117, 48_000, 96_000]
)
def test_another_sample_rate_keeps_pitch_and_duration(rate, tmp_path):
    path = write(tmp_path / "a.wav", tone(1_000, rate, 3.0), rate)
    found = load_audio(path).numpy()
    assert found.shape == (48_000,)
    heard = np.abs(np.fft.rfft(found * np.hanning(48_000)))
    assert abs(heard.argmax() / 3 - 1_000) < 1  # Hz
    inner = found[1_000:-1_000]
    assert inner.std() == pytest.approx(0.5 / 2**0.5, rel=0.01)


def test_what_is_above_the_new_nyquist_frequency_is_removed(tmp_path):
    found = load_audio(write(tmp_path / "a.wav", tone(10_000, 44_100, 3), 44_100))
    assert found[1_000:-1_000].abs().max() < 0.01


def test_a_short_file_is_repeated_and_a_long_one_gives_its_middle(tmp_path):
    wave = noise(64_000)[0].numpy()
    short = load_audio(write(tmp_path / "a.wav", wave[:16_000], subtype="FLOAT"))
    assert np.array_equal(short, np.tile(wave[:16_000], 3))
    long = load_audio(write(tmp_path / "b.wav", wave, subtype="FLOAT"))
    assert np.array_equal(long, wave[8_000:56_000])
    one = load_audio(write(tmp_path / "c.wav", wave[:1], subtype="FLOAT"))
    assert np.array_equal(one, np.full(48_000, wave[0]))


def test_silence_stays_silence(tmp_path):
    path = write(tmp_path / "a.wav", np.zeros((7_000, 2)), 44_100)
    assert not load_audio(path).any()
    assert spectrogram(load_audio(path)[None]).eq(LAPTOP_AUDIO.silence).all()


def test_the_config_says_rate_and_length(tmp_path):
    path = write(tmp_path / "a.wav", tone(440, 16_000, 3))
    assert load_audio(path, RELEASE_AUDIO).shape == (160_000,)


@pytest.mark.parametrize(
    "content", [None, b"", b"no sound at all", b"RIFF\0\0\0\0WAVE"]
)
def test_a_sound_that_cannot_be_read_is_named(content, tmp_path):
    path = tmp_path / "cow.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OSError, match=r"cow\.wav is missing, damaged or not a sound"):
        load_audio(path)


def test_a_truncated_sound_is_named(tmp_path):
    path = write(tmp_path / "cow.flac", noise(48_000)[0].numpy())
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(OSError, match=r"cow\.flac is missing, damaged or not a sound"):
        load_audio(path)


def test_a_sound_without_samples_is_named(tmp_path):
    path = write(tmp_path / "cow.wav", np.zeros(0))
    with pytest.raises(ValueError, match=r"cow\.wav holds no samples"):
        load_audio(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sound_that_holds_no_numbers_is_named(value, tmp_path):
    wave = np.zeros(1_000, np.float32)
    wave[500] = value
    path = write(tmp_path / "cow.wav", wave, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"cow\.wav holds samples that are not finite"):
        load_audio(path)


def test_a_file_of_integers_stored_as_floats_is_named(tmp_path):
    """scipy writes int16 that was turned to float32 as it is: 32,767 times too loud."""
    wave = (32_767 * tone(440, 16_000, 3)).astype(np.float32)
    scipy.io.wavfile.write(tmp_path / "cow.wav", 16_000, wave)
    with pytest.raises(ValueError, match=r"cow\.wav run from -163[\d.]+ to 163"):
        load_audio(tmp_path / "cow.wav")


def test_a_sample_rate_that_cannot_be_meant_is_named(tmp_path):
    path = write(tmp_path / "cow.wav", np.zeros(100), 16)
    with pytest.raises(ValueError, match=r"cow\.wav has a sample rate of 16 Hz"):
        load_audio(path)


# --- picture files ----------------------------------------------------------------


def save(path, pixels, mode=None, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels, mode)
    image.save(path, **options)
    return path


def colours(size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def test_a_picture_of_the_right_size_is_read_pixel_by_pixel(tmp_path):
    pixels = colours()
    found = load_image(save(tmp_path / "a.png", pixels), 8)
    assert found.shape == (3, 8, 8) and found.dtype == torch.float32
    assert np.array_equal((found * 255).round().permute(1, 2, 0), pixels)


def test_a_wide_picture_is_squashed_so_that_shares_of_the_frame_stay(tmp_path):
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[10:30, 60:90] = 255  # box (0.5, 0.25, 0.75, 0.75)
    found = load_image(save(tmp_path / "a.png", pixels), 16)[0]
    assert found[4:12, 8:12].mean() > 0.9
    assert found.mean() == pytest.approx(1 / 8, abs=0.005)
    assert found[:3].max() == found[13:].max() == found[:, :7].max() == 0


def test_shrinking_averages_and_does_not_skip_pixels(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    found = load_image(save(tmp_path / "a.png", stripes), 8)
    assert (found[:, :, 1:-1] - 0.5).abs().max() < 0.02


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "RGBA"])
def test_every_mode_gives_three_channels(mode, tmp_path):
    grey = Image.fromarray(np.full((8, 8), 255, np.uint8))
    name = "a.tif" if mode == "CMYK" else "a.png"
    found = load_image(save(tmp_path / name, grey.convert(mode)), 4)
    assert found.shape == (3, 4, 4)
    assert torch.allclose(found, torch.ones(3, 4, 4), atol=0.01)


def test_greyscale_is_the_same_in_all_channels(tmp_path):
    grey = colours()[:, :, 0].copy()
    found = load_image(save(tmp_path / "a.png", grey), 8)
    assert np.array_equal((found[0] * 255).round(), grey)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    "name, order", [("a.png", "<u2"), ("a.tif", "<u2"), ("b.tif", ">u2")]
)
def test_sixteen_bit_greyscale_keeps_its_range(name, order, tmp_path):
    ramp = np.linspace(0, 65_535, 64).astype(order).reshape(8, 8)
    mode = "I;16B" if order == ">u2" else "I;16"
    image = Image.frombytes(mode, (8, 8), ramp.tobytes())
    found = load_image(save(tmp_path / name, image), 8)
    assert np.allclose(found[0], ramp / 65_535, atol=1 / 255)


@pytest.mark.parametrize("alpha, red", [(0, 1.0), (128, 0.5), (255, 0.0)])
def test_transparency_is_laid_on_white(alpha, red, tmp_path):
    image = Image.new("RGBA", (8, 8), (0, 0, 0, alpha))
    found = load_image(save(tmp_path / "a.png", image), 4)
    assert torch.allclose(found, torch.full((3, 4, 4), red), atol=0.005)


def test_a_transparent_colour_of_a_palette_is_laid_on_white(tmp_path):
    image = Image.new("P", (8, 8), 3)
    image.putpalette([0, 0, 0] * 256)
    found = load_image(save(tmp_path / "a.gif", image, transparency=3), 4)
    assert found.min() == 1


def corner_after(turn):
    """Where a picture's dark corner is shown with each camera rotation tag."""
    pixels = np.full((8, 8), 255, np.uint8)
    pixels[:4, :4] = 0
    return (
        np.array(Image.fromarray(pixels).transpose(turn))
        if turn is not None
        else pixels
    )


@pytest.mark.parametrize(
    "tag, turn",
    [
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_270),  # of the camera: turn by 90° clockwise
        (8, Image.Transpose.ROTATE_90),
    ],
)
def test_the_rotation_tag_of_a_camera_is_obeyed(tag, turn, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = tag
    path = save(tmp_path / "a.png", corner_after(None), exif=exif)
    found = load_image(path, 8)[0]
    assert np.array_equal((found * 255).round(), corner_after(turn))


def test_the_paper_and_the_laptop_get_their_sizes(tmp_path):
    path = save(tmp_path / "a.jpg", colours(50))
    for size in (96, 224):
        found = load_image(path, size)
        assert found.shape == (3, size, size) and 0 <= found.min() < found.max() <= 1


def test_a_missing_picture_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no image at .*cow\.png"):
        load_image(tmp_path / "cow.png", 8)


@pytest.mark.parametrize(
    "name, content",
    [
        ("cow.png", b""),
        ("cow.png", b"no picture"),
        ("cow.ppm", b"P6 4x 4 255 "),
        ("cow.gif", b"GIF89a"),
    ],
)
def test_a_picture_that_cannot_be_read_is_named(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OSError, match=rf"{name} is damaged or not an image"):
        load_image(tmp_path / name, 8)


@pytest.mark.parametrize("name", ["cow.png", "cow.jpg", "cow.webp", "cow.gif"])
def test_a_truncated_picture_is_named(name, tmp_path):
    path = save(tmp_path / name, colours(64))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(OSError, match=rf"{name} is damaged or not an image"):
        load_image(path, 8)


def test_one_wrong_bit_in_a_png_is_found(tmp_path):
    path = save(tmp_path / "cow.png", colours(64))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"cow\.png is damaged"):
        load_image(path, 8)


def test_a_folder_is_no_picture(tmp_path):
    with pytest.raises(OSError, match="is damaged or not an image"):
        load_image(tmp_path, 8)


def test_pixels_of_unknown_range_are_refused(tmp_path):
    path = save(tmp_path / "cow.tif", np.full((8, 8), 0.5, np.float32))
    with pytest.raises(OSError, match=r"cow\.tif .*pixels are floats"):
        load_image(path, 8)


def test_a_picture_beyond_all_measure_is_named(tmp_path, monkeypatch):
    path = save(tmp_path / "cow.png", colours(64))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(OSError, match=r"cow\.png is damaged or not an image"):
        load_image(path, 8)


@pytest.mark.parametrize(
    "size, resample, message",
    [
        (0, "bilinear", "size is 0; need a whole number of pixels, 1 or more"),
        (8.0, "bilinear", "size is 8.0; need a whole number of pixels"),
        (8, "cubic", "resample is 'cubic'; known are .*bilinear.*bicubic"),
    ],
)
def test_a_wrong_setting_is_not_said_of_the_file(size, resample, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_image(save(tmp_path / "a.png", colours()), size, resample)


# --- normalisation ------------------------------------------------------------------


def test_normalising_is_torchvisions_and_can_be_undone():
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    found = normalise(images)
    assert torch.allclose(found, TF.normalize(images, media.MEAN, media.STD))
    back = torch.stack(
        [found[:, c] * media.STD[c] + media.MEAN[c] for c in range(3)], 1
    )
    assert torch.allclose(back, images, atol=1e-6)


def test_bytes_are_normalised_as_shares_of_255():
    images = torch.from_numpy(colours()).permute(2, 0, 1)[None]
    assert torch.equal(normalise(images), normalise(images / 255))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_normalised_images_are_float32(dtype):
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    found = normalise(images.to(dtype))
    assert found.dtype == torch.float32
    assert torch.equal(found, normalise(images.to(dtype).float()))


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("antialias", [True, False])
def test_resized_images_are_taken_with_their_overshoot(mode, antialias):
    """The worst of resizing: black and white pixels in a pattern, of any kind."""
    generator = torch.Generator().manual_seed(0)
    board = (torch.arange(24)[:, None] // 3 + torch.arange(24) // 3) % 2
    square = torch.zeros(24, 24)
    square[8:16, 8:16] = 1
    chance = torch.randint(2, (24, 24), generator=generator)
    images = torch.stack([board, square, chance]).float()[:, None].expand(-1, 3, -1, -1)
    highest = []
    for size in (17, 96, 224):
        resized = F.interpolate(images, (size, size), mode=mode, antialias=antialias)
        highest.append(resized.max())
        media.check_images(resized)
    assert mode == "bilinear" or max(highest) > 1.2


@pytest.mark.parametrize(
    "change, said",
    [
        (
            lambda x: 255 * x,
            r"images run from 0 to 255; need floats in \[0, 1\], or uint8",
        ),
        (lambda x: 2 * x - 1, "images run from -1 to 1; need"),
        (normalise, r"images run from -2\.1\d+ to 2\.6"),
        (
            lambda x: (255 * x).long(),
            "images are torch.int64; need floats or torch.uint8",
        ),
        (lambda x: x > 0.5, "images are torch.bool"),
        (
            lambda x: x.where(x > 0.01, torch.nan),
            "images hold values that are not finite",
        ),
        (
            lambda x: x.where(x < 0.99, torch.inf),
            "images hold values that are not finite",
        ),
        (lambda x: x[0], "images have shape"),
    ],
)
def test_images_of_another_range_or_dtype_are_refused(change, said):
    images = torch.from_numpy(colours()).permute(2, 0, 1)[None] / 255
    images[0, :, 0, 0], images[0, :, 0, 1] = 0, 1
    media.check_images(images)
    with pytest.raises(ValueError, match=said):
        media.check_images(change(images))


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 1, 8, 8), (2, 8, 8, 3)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"images have shape .*need \(B, 3, H, W\)"):
        normalise(torch.zeros(shape))
