"""The video widget of notebook 06: choose a video, and see its heatmap.

    >>> video_picker(model, folders=["."])

A path is chosen or typed, not uploaded: JupyterLab's server drops connections that
send it more than 10 MB at once.
"""

import html
from collections.abc import Iterable
from pathlib import Path

import ipywidgets

from sslnb.localise.video import heat_video
from sslnb.model import SoundLocaliser
from sslnb.teach.widgets.base import Status, row

SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"))
MADE = ".heat.mp4"  # suffix of the result
LARGEST = 50_000_000  # bytes of a video that is sent to the browser
WIDTH = 480  # pixels, of the video on the page


def videos_in(folders: Iterable[str | Path]) -> list[str]:
    """The videos in folders, sorted by name, without the results of this widget."""
    paths = (path for folder in folders for path in sorted(Path(folder).iterdir()))
    return [
        str(path)
        for path in paths
        if path.suffix.lower() in SUFFIXES and not path.name.endswith(MADE)
    ]


def video_picker(
    model: SoundLocaliser, folders: Iterable[str | Path] = (".",), fps: int | None = 5
) -> ipywidgets.VBox:
    """Choose a video and press the button to see the model's heatmap over it.

    folders: their videos are offered; any other path can be typed. fps: the first
    choice of how many frames per second to keep at most; None keeps all. `name.mp4`
    becomes `name.heat.mp4` in the same folder, with a poster `name.heat.png`.

    Returns a box with `controls` (path, fps), `button`, `progress`, `view` (the
    video), `status`, and `made`, the localise.video.Summary of the video or None.
    """
    controls = {
        "path": ipywidgets.Combobox(
            options=videos_in(folders),
            description="video",
            ensure_option=False,
            placeholder="choose a video, or type a path",
            continuous_update=False,
            layout=ipywidgets.Layout(width="26rem"),
        ),
        "fps": ipywidgets.Dropdown(
            options=[("1", 1), ("2", 2), ("5", 5), ("10", 10), ("all", None)],
            value=fps,
            description="frames / s",
            layout=ipywidgets.Layout(width="11rem"),
        ),
    }
    button = ipywidgets.Button(description="Make the heatmap", button_style="primary")
    progress = ipywidgets.IntProgress(
        layout=ipywidgets.Layout(width="26rem", visibility="hidden")
    )
    status = Status()
    view = ipywidgets.Video(
        format="mp4",
        autoplay=False,
        loop=False,
        width=WIDTH,
        layout=ipywidgets.Layout(display="none"),
    )
    box = ipywidgets.VBox([row(*controls.values(), button), progress, status, view])

    def count(frames, total, desc, unit):
        progress.value, progress.max, progress.description = 0, total, desc
        for frame in frames:
            yield frame
            progress.value += 1

    def report(text):
        status.say(html.escape(text))

    def make(_=None):
        box.made, view.layout.display = None, "none"
        typed = controls["path"].value.strip()
        if not typed:
            return report("Which video? Choose one above, or type its path.")
        path = Path(typed).expanduser()
        if not path.is_file():
            return report(f"✗ there is no video {path}")
        button.disabled, progress.layout.visibility = True, "visible"
        report(f"Reading {path.name} …")
        try:
            found = heat_video(
                model, path, path.with_suffix(MADE), controls["fps"].value, count
            )
        except (OSError, ValueError) as error:
            return report(f"✗ {error}")
        except KeyboardInterrupt:
            return report("Stopped; nothing was written.")
        finally:
            button.disabled, progress.layout.visibility = False, "hidden"
        box.made = found
        summary = (
            f"{found.frames:,} frames, {found.seconds:.1f} s; cosines from "
            f"{found.low:.2f} (dark) to {found.high:.2f} (bright). "
            f"Saved as {found.out}"
        )
        if found.out.stat().st_size > LARGEST:
            return report(f"{summary}; it is too large to show here")
        report(summary)
        view.value, view.layout.display = found.out.read_bytes(), ""

    button.on_click(make)
    box.controls, box.button, box.progress = controls, button, progress
    box.view, box.status, box.made = view, status, None
    return box
