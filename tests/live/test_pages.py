"""A reader at the live pages: files, microphone, keyboard, phone, and what goes wrong."""

import io
import re
import shutil

import numpy as np
import pytest
import soundfile
from PIL import Image
from playwright.sync_api import expect

from tests.live.conftest import LIVE

pytestmark = pytest.mark.slow

PAGES = ["heatmap", "equivariance"]
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
DROP = """([name, type, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const event = new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
    document.body.dispatchEvent(event);
  }
}"""
PIXELS = "canvas => canvas.toDataURL()"


def drop(page, name, kind, content):
    page.evaluate(DROP, [name, kind, list(content)])


def picture(seed=0, size=(64, 48), form="png"):
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def tone(seconds=1.0, rate=44_100, form="WAV", channels=2):
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * 440 * time)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([wave] * channels, 1), rate, format=form)
    return buffer.getvalue()


def changed(locator, before):
    """The pixels of a canvas, once they are others."""
    for _ in range(200):
        now = locator.evaluate(PIXELS)
        if now != before:
            return now
        locator.page.wait_for_timeout(50)
    pytest.fail("the canvas did not change")


# --- the pages as they are -----------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("options", [{}, PHONE, {"color_scheme": "dark"}])
def test_a_page_is_complete_and_fits(visit, name, options):
    page = visit(name, **options)
    expect(page.locator("#error")).to_be_hidden()
    expect(page.locator("#loading")).to_be_hidden()
    wide, seen = page.evaluate(
        "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= seen
    for control in page.locator("button, input, select, canvas, audio, img").all():
        told = control.evaluate(
            "x => x.alt || x.ariaLabel || x.textContent || x.labels?.[0]?.textContent "
            "|| x.labels?.[0]?.querySelector('img')?.alt"
        )
        assert told and told.strip(), control.evaluate("x => x.outerHTML")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(20, 23, 27)") == ("color_scheme" in options)
    page.locator("details summary").click()
    assert page.locator("#credits tr").count() > 10
    home = page.get_by_role("link", name="The notebooks")
    expect(home).to_have_attribute("href", "../index.html")


def test_the_folder_has_only_relative_links(built):
    for path in built.glob("*.*"):
        if path.suffix in (".html", ".css", ".js"):
            text = path.read_text(encoding="utf-8")
            for address in re.findall(
                r"(?:src|href)=\"([^\"]*)\"|url\(([^)]*)\)", text
            ):
                assert not re.match(r"/|\w+:", "".join(address)), (path.name, address)
            outside = set(re.findall(r"https?://[\w./:-]*\w/?", text))
            assert outside <= {"http://localhost:8000/", "http://www.w3.org/2000/svg"}
    for path in built.rglob("*.js*"):  # also what is generated
        assert str(built.anchor + "tmp") not in path.read_text(encoding="utf-8")


def test_the_lock_names_no_registry():
    text = (LIVE / "package-lock.json").read_text()
    assert "http" not in text and "resolved" not in text
    assert '"version": "1.30.0"' in text and '"onnxruntime-web": "1.30.0"' in text


def test_the_map_follows_image_and_sound_by_keyboard(visit):
    page = visit("heatmap")
    view = page.locator("#view")
    first = view.evaluate(PIXELS)
    page.locator("#sounds input:checked").press("ArrowRight")
    second = changed(view, first)
    page.locator("#known input:checked").press("ArrowRight")
    changed(view, second)
    label = view.get_attribute("aria-label")
    assert "Response map of the sound “duck”" in label and "duck and dog" in label
    before = view.evaluate(PIXELS)
    page.locator("#overlay").press("ArrowLeft")
    changed(view, before)
    expect(page.locator("#overlay-value")).to_have_text("55 %")


def test_focus_can_be_seen(visit):
    for name in PAGES:
        page = visit(name)
        for _ in range(12):
            page.keyboard.press("Tab")
            assert page.evaluate(
                "() => { const at = document.activeElement; "
                "if (at.tagName === 'AUDIO') return true; "  # the browser's own
                "const styles = [at, ...at.parentElement.children, at.parentElement]"
                ".map((x) => getComputedStyle(x)); "
                "return styles.some((s) => s.outlineStyle === 'solid') }"
            ), page.evaluate("document.activeElement.outerHTML")


# --- the reader's own files ---------------------------------------------------------


def test_an_image_is_dropped(visit):
    page = visit("heatmap")
    before = page.locator("#view").evaluate(PIXELS)
    drop(page, "mine.png", "image/png", picture())
    expect(page.locator("#status")).to_contain_text("in “mine.png”")
    changed(page.locator("#view"), before)
    own = page.get_by_role("radio", name="mine.png")
    expect(own).to_be_checked()
    drop(page, "second.jpg", "image/jpeg", picture(1, form="jpeg"))  # takes its place
    expect(page.locator("#status")).to_contain_text("in “second.jpg”")
    expect(own).to_have_count(0)
    expect(page.locator("body")).not_to_have_class(re.compile("dropping"))


@pytest.mark.parametrize(
    "form, kind", [("WAV", "audio/wav"), ("FLAC", ""), ("OGG", "")]
)
def test_a_sound_is_dropped(visit, form, kind):
    page = visit("heatmap")
    before = page.locator("#view").evaluate(PIXELS)
    drop(page, f"mine.{form.lower()}", kind, tone(form=form))
    expect(page.locator("#status")).to_contain_text(f"“mine.{form.lower()}” in")
    changed(page.locator("#view"), before)
    # stereo at 44.1 kHz became 16 kHz; too short, so it is repeated, as in Python
    expect(page.locator("#heard")).to_contain_text("1.0 s of sound, repeated to 3 s")
    assert page.locator("#player").evaluate(
        "player => player.readyState ? player.duration : new Promise(done => "
        "{ player.onloadedmetadata = () => done(player.duration); player.load(); })"
    ) == pytest.approx(3, abs=0.01)


def test_files_are_chosen(visit, tmp_path):
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "b.wav").write_bytes(tone(5))
    page = visit("heatmap")
    page.locator("#image-file").set_input_files(tmp_path / "a.png")
    page.locator("#sound-file").set_input_files(tmp_path / "b.wav")
    expect(page.locator("#status")).to_contain_text("“b.wav” in “a.png”")
    expect(page.locator("#heard")).to_contain_text("3 s, the middle of 5.0 s")
    page = visit("equivariance")
    page.locator("#image-file").set_input_files(tmp_path / "a.png")
    expect(page.get_by_role("radio", name="a.png")).to_be_checked()


@pytest.mark.parametrize(
    "name, kind, content, said",
    [
        ("broken.png", "image/png", b"no image", "broken.png is damaged, or no image"),
        ("broken.wav", "audio/wav", b"no sound", "broken.wav is damaged, or no sound"),
        (
            "notes.txt",
            "text/plain",
            b"words",
            "notes.txt is neither an image nor a sound",
        ),
        ("empty.wav", "audio/wav", tone(0), "empty.wav"),
    ],
)
def test_a_file_that_is_something_else_is_told(visit, name, kind, content, said):
    page = visit("heatmap")
    before = page.locator("#status").inner_text()
    drop(page, name, kind, content)
    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(page.locator("#status")).to_have_text(before)  # what was there stays
    drop(page, "mine.png", "image/png", picture())
    expect(page.locator("#status")).to_contain_text("mine.png")
    expect(page.locator("#error")).to_be_hidden()


# --- the microphone --------------------------------------------------------------------


def test_the_microphone_is_recorded(visit):
    page = visit("heatmap", permissions=["microphone"])
    before = page.locator("#view").evaluate(PIXELS)
    page.get_by_role("button", name="Record").click()
    expect(page.locator("#recording")).to_contain_text("Recording:")
    expect(page.locator("#status")).to_contain_text(
        "“your recording” in", timeout=20_000
    )
    changed(page.locator("#view"), before)
    expect(page.get_by_role("button", name="Record")).to_be_enabled()
    # Chromium's fake microphone beeps
    expect(page.locator("#heard")).not_to_contain_text("quiet")
    expect(page.locator("#heard")).not_to_contain_text("silent")


def test_a_refused_microphone_is_told(visit):
    page = visit("heatmap", permissions=[])
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_role("alert")).to_contain_text("The microphone was refused")
    expect(page.get_by_role("button", name="Record")).to_be_enabled()


@pytest.mark.parametrize(
    "without, said",
    [
        (
            "navigator.mediaDevices.getUserMedia = async () => "
            "{ throw new DOMException('none', 'NotFoundError'); }",
            "No microphone was found",
        ),
        ("delete window.MediaRecorder", "cannot record sound"),
        (
            "Object.defineProperty(window, 'isSecureContext', { value: false }); "
            "Object.defineProperty(navigator, 'mediaDevices', { value: undefined })",
            "only to pages from https",
        ),
    ],
)
def test_no_microphone_is_told(visit, without, said):
    page = visit("heatmap", before=lambda page: page.add_init_script(without))
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_role("alert")).to_contain_text(said)


# --- what does not load ---------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(
    "file, content, said",
    [
        (
            "model/image_encoder.onnx",
            None,
            "image_encoder.onnx did not come (HTTP 404)",
        ),
        ("model/audio_encoder.onnx", b"damaged", "audio_encoder.onnx is damaged"),
        ("model/encoders.json", b"{", "encoders.json is damaged"),
        ("ort/runtime.wasm", None, "runtime.wasm did not come (HTTP 404)"),
        ("samples/samples.json", None, "samples/samples.json did not come (HTTP 404)"),
        ("ort/ort.js", None, "the model did not start"),
    ],
)
def test_a_file_that_does_not_load_is_told(
    visit, serve, built, tmp_path, name, file, content, said
):
    broken = tmp_path / "live"
    shutil.copytree(built, broken)
    (broken / file).unlink()
    if content is not None:
        (broken / file).write_bytes(content)
    visit.expected = ("404",)
    page = visit(name, wait=None, base=serve(broken))
    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(page.get_by_role("alert")).to_contain_text("Reload the page")
    expect(page.locator("#loading")).to_be_hidden()


def test_a_browser_without_webassembly_is_told(visit):
    page = visit(
        "heatmap",
        wait=None,
        before=lambda page: page.add_init_script("delete window.WebAssembly"),
    )
    expect(page.get_by_role("alert")).to_contain_text("has no WebAssembly")


def test_a_page_that_is_opened_without_a_server_is_told(browser, built):
    page = browser.new_page()
    page.goto((built / "heatmap.html").as_uri())
    expect(page.locator("#loading")).to_contain_text("python -m http.server")
    page.close()


# --- equivariance, by hand -------------------------------------------------------------------


def angle(page):
    return int(page.locator("#degrees").input_value())


@pytest.mark.parametrize("flip", [False, True])
def test_the_image_is_rotated_with_the_mouse(visit, flip):
    page = visit("equivariance")
    page.get_by_role("button", name="Reset").click()
    if flip:
        page.get_by_role("button", name="Flip").click()
    stage, found = page.locator("#stage"), page.locator("#found")
    before = found.evaluate(PIXELS)
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    x, y, far = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, 150
    page.mouse.move(x + far, y)  # from the right …
    page.mouse.down()
    page.mouse.move(
        x + far * np.cos(np.pi / 6), y + far / 2, steps=6
    )  # … 30° clockwise
    page.mouse.up()
    # Φ is of what is seen: positive degrees are anticlockwise, or clockwise if flipped
    assert angle(page) == (30 if flip else -30)
    changed(found, before)
    expect(page.locator("#status")).to_contain_text("Rotated by")


def test_what_is_seen_is_what_the_model_sees(visit):
    """The stage, drawn by the canvas, against the warped image that the model takes."""
    page = visit("equivariance", viewport={"width": 1280, "height": 900})
    page.locator("#scale").fill("0.7")
    page.locator("#flip").click()
    page.locator("#degrees").fill("35")
    page.get_by_text("Rotated by 35°, scaled to 0.70, flipped").wait_for()
    seen, taken = page.locator("#stage").evaluate(
        """stage => {
          const small = document.createElement("canvas");
          small.width = small.height = 96;
          const context = small.getContext("2d");
          context.imageSmoothingQuality = "high";
          context.drawImage(stage, 0, 0, 96, 96);
          return [Array.from(context.getImageData(0, 0, 96, 96).data),
            Array.from(stage.shown.transformed)];
        }"""
    )
    seen = np.array(seen).reshape(96, 96, 4)[..., :3] / 255
    taken = np.array(taken).reshape(3, 96, 96).transpose(1, 2, 0)
    assert abs(seen - taken).mean() < 0.02
    assert np.corrcoef(seen.ravel(), taken.ravel())[0, 1] > 0.98
    turned = np.rot90(seen, 2)  # any other transform is far off
    assert abs(turned - taken).mean() > 0.08


def test_keys_rotate_scale_flip_and_reset(visit):
    page = visit("equivariance")
    stage = page.locator("#stage")
    stage.press("0")
    assert angle(page) == 0
    expect(page.locator("#error-number")).to_have_text("e = 0.00")
    stage.press("ArrowLeft")
    assert angle(page) == 2
    stage.press("Shift+ArrowRight")
    assert angle(page) == -18
    stage.press("ArrowUp")
    expect(page.locator("#scale-value")).to_have_text("× 1.03")
    stage.press("f")
    expect(page.locator("#flip")).to_have_attribute("aria-pressed", "true")
    assert "Rotated by -18°, scaled to 1.03, flipped" in stage.get_attribute(
        "aria-label"
    )
    stage.press("0")
    assert angle(page) == 0
    expect(page.locator("#flip")).to_have_attribute("aria-pressed", "false")


def test_two_fingers_scale_and_rotate(visit):
    page = visit("equivariance", **PHONE)
    page.get_by_role("button", name="Reset").click()
    stage = page.locator("#stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    send = page.context.new_cdp_session(page).send

    def touch(kind, *places):
        points = [{"x": a, "y": b, "id": k} for k, (a, b) in enumerate(places)]
        send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (x - 40, y), (x + 40, y))
    for step in range(1, 6):  # apart, to half as far again, and 20° anticlockwise
        far, turn = 40 + 4 * step, np.radians(4 * step)
        a, b = far * np.cos(turn), -far * np.sin(turn)
        touch("touchMove", (x - a, y - b), (x + a, y + b))
    touch("touchEnd")
    assert angle(page) == pytest.approx(20, abs=1)
    scale = float(page.locator("#scale").input_value())
    assert scale == pytest.approx(1.5, abs=0.03)


def test_maps_follow_while_dragging_and_end_where_the_hand_does(visit):
    page = visit("equivariance")
    for degrees in range(-90, 91, 6):  # faster than maps can be made
        page.locator("#degrees").evaluate(
            "(slider, value) => { slider.value = value; "
            "slider.dispatchEvent(new Event('input')); }",
            degrees,
        )
    expect(page.locator("#status")).to_contain_text("Rotated by 90°")
    theta = page.locator("#stage").evaluate("stage => stage.shown.theta")
    assert theta == pytest.approx([0, -1, 0, 1, 0, 0], abs=1e-6)


# --- speed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_the_rate_is_measured(visit, name):
    """No test fails on a clock: that a number is there, and that maps were made."""
    page = visit(name)
    page.get_by_role("button", name="Measure").click()
    page.locator("#speed[data-rate]").wait_for()
    expect(page.locator("#speed")).to_contain_text("maps a second")
    expect(page.get_by_role("button", name="Measure")).to_be_enabled()


def test_a_map_that_is_counted_was_made_also_while_another_one_is_on_its_way(visit):
    count = """
    window.embedded = 0;
    const post = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (message, ...more) {
      if (message.task === "image") window.embedded++;
      return post.call(this, message, ...more);
    };
    """
    page = visit("equivariance", before=lambda page: page.add_init_script(count))
    page.evaluate("""() => {
      window.embedded = 0;
      const slider = document.getElementById("degrees");
      slider.value = 40;
      slider.dispatchEvent(new Event("input"));
      document.getElementById("measure").click();
    }""")
    page.locator("#speed[data-rate]").wait_for()
    rate = float(page.locator("#speed").get_attribute("data-rate"))
    assert page.evaluate("window.embedded") >= rate  # it measures for two seconds
