"""The file picker of notebook 06: choose a video, and see the heatmap over it.

    >>> video_picker(model, folders=["."])

A path is chosen or typed, not uploaded: JupyterLab's server drops a connection that
sends it more than 10 MB at once, and a video is read here where it lies.
"""

import html
from pathlib import Path

import ipywidgets

from sslnb.localise.video import heat_video

SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"))
MADE = ".heat.mp4"  # how the name of a result ends
LARGEST = 50_000_000  # bytes of a video that is sent to the browser
WIDTH = 480  # pixels, of the video on the page


def videos_in(folders):
    """Videos in folders, by name; those that were made here are left out."""
    paths = (path for folder in folders for path in sorted(Path(folder).iterdir()))
    return [str(path) for path in paths
            if path.suffix.lower() in SUFFIXES and not path.name.endswith(MADE)]


def video_picker(model, folders=(".",), fps=5):
    """Choose a video, press the button: the model's heatmap over it, with its sound.

    folders: whose videos are offered; any other path may be typed. fps: frames a
    second that are kept, at most, unless another number is chosen. `name.mp4`
    becomes `name.heat.mp4` in the same folder, with its poster `name.heat.png`.

    Returns a box with `controls` (path, fps), `button`, `progress`, `view` (the
    video), `status` and `made`, the localise.video.Summary of what is shown or None.
    """
    controls = {
        "path": ipywidgets.Combobox(
            options=videos_in(folders), description="video", ensure_option=False,
            placeholder="choose one, or type a path", continuous_update=False,
            layout=ipywidgets.Layout(width="26rem")),
        "fps": ipywidgets.Dropdown(
            options=[("1", 1), ("2", 2), ("5", 5), ("10", 10), ("all", None)],
            value=fps, description="frames / s", layout=ipywidgets.Layout(width="11rem")),
    }
    button = ipywidgets.Button(description="Make the heatmap", button_style="primary")
    progress = ipywidgets.IntProgress(
        layout=ipywidgets.Layout(width="26rem", visibility="hidden"))
    status = ipywidgets.HTML()
    view = ipywidgets.Video(
        format="mp4", autoplay=False, loop=False, width=WIDTH,
        layout=ipywidgets.Layout(display="none"))
    box = ipywidgets.VBox([
        ipywidgets.HBox([*controls.values(), button]), progress, status, view,
    ])

    def count(frames, total, desc, unit):
        progress.value, progress.max, progress.description = 0, total, desc
        for frame in frames:
            yield frame
            progress.value += 1

    def tell(text):
        status.value = html.escape(text)

    def make(_=None):
        box.made, view.layout.display = None, "none"
        given = controls["path"].value.strip()
        if not given:
            return tell("Which video? Choose one above, or type its path.")
        path = Path(given).expanduser()
        if not path.is_file():
            return tell(f"✗ there is no video {path}")
        button.disabled, progress.layout.visibility = True, "visible"
        tell(f"Reading {path.name} …")
        try:
            found = heat_video(model, path, path.with_suffix(MADE),
                               controls["fps"].value, count)
        except (OSError, ValueError) as error:
            return tell(f"✗ {error}")
        except KeyboardInterrupt:
            return tell("Stopped: nothing is written.")
        finally:
            button.disabled, progress.layout.visibility = False, "hidden"
        box.made = found
        told = (f"{found.frames:,} frames, {found.seconds:.1f} s; dark is a cosine of "
                f"{found.low:.2f}, bright of {found.high:.2f}. It is in {found.out}")
        if found.out.stat().st_size > LARGEST:
            return tell(f"{told}; it is too large to be shown here")
        tell(told)
        view.value, view.layout.display = found.out.read_bytes(), ""

    button.on_click(make)
    box.controls, box.button, box.progress = controls, button, progress
    box.view, box.status, box.made = view, status, None
    return box
