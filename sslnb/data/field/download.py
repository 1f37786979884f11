"""Where annotations and lists of the field are published, and fetching them.

    sslnb download                                       # what is published where
    sslnb download vggss vggss-4911 --out benchmarks/field
    sslnb verify benchmarks/field/vggss.json

Files come from their authors, at one commit of theirs. What arrives is compared with the
SHA-256 that the file had when this project was made; where none is known, the size is
compared, and the result says so. Where a link is dead, the error says how to get the
file by hand.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pooch

TIMEOUT = 30  # seconds without a byte
CHANGED = "If its authors have changed it, scores may change with it"


@dataclass(frozen=True)
class Source:
    """One published file.

    file: its name here. page: where people find it. url: where it lies, or None where
    only a person can fetch it. size: bytes; sha256: hexadecimal; None: not known.
    """

    name: str
    what: str
    file: str
    page: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = None


def _github(repository, commit, path, name, what, size=None, sha256=None, file=None):
    return Source(
        name,
        what,
        file or path.rpartition("/")[2],
        f"https://github.com/{repository}",
        f"https://raw.githubusercontent.com/{repository}/{commit}/{path}",
        size,
        sha256,
    )


LVS = (
    "hche11/Localizing-Visual-Sounds-the-Hard-Way",
    "2dd2256ef6813e749e5d72dbae809aee1222aae8",
)
TIE = "jinxiang-liu/SSL-TIE", "7fc131954452be6ff32d3b6fd1b587d098200507"
EZVSL = "stoneMo/EZ-VSL", "24658cbb25889f873fd7707251cdcc70ef101bff"
FLICKR = (
    "ardasnck/learning_to_localize_sound_source",
    "89205e9b0af21be847d29deeaded140604e77229",
)

SOURCES = {
    source.name: source
    for source in (
        _github(
            *LVS,
            "metadata/vggss.json",
            "vggss",
            "the boxes of VGG-SS, 5,158 clips",
            620_306,
            "ae300b4a259267e6fe839970d495862edd70bfe3da63d925bcdb34054ed3b15e",
        ),
        _github(
            "hche11/VGGSound",
            "9bbc7491c054a203e53584c0065df336e1322bb7",
            "data/vggsound.csv",
            "vggsound",
            "the class of every clip of VGGSound",
        ),
        _github(
            "hche11/VGGSound",
            "1e75f4d30de3a99115ee9333464854c5e3d161a7",
            "data/test.csv",
            "vggsound-test",
            "VGGSound's 15,446 test clips",
            642_248,
            "0b2215dc3786fbb223aa06a2162491099d89cf080ac31b16bb3a72368fbaa24d",
            file="vggsound_test.csv",
        ),
        _github(
            *TIE,
            "metadata/test_vggss_4911.txt",
            "vggss-4911",
            "the 4,911 clips of VGG-SS that the paper scores",
            112_953,
            "6d60cdd17757a7e10537d4bff0e6a53833d88beccffa0e58755c5d10fc50aead",
        ),
        _github(
            *TIE,
            "metadata/train_vggss_train_144k.txt",
            "vggsound-144k",
            "the paper's VGGSound-144k",
            2_736_000,
            "703eca24ff71c1fcfbdcde06d49a246151838f4a03620104fa8dd3b00e977e46",
        ),
        _github(
            *TIE,
            "metadata/train_vggss_train_10k.txt",
            "vggsound-10k",
            "the paper's VGGSound-10k",
            190_000,
        ),
        _github(
            *TIE,
            "metadata/train_vggss_190228.txt",
            "vggsound-190k",
            "all clips that its authors had, test clips too",
            3_614_332,
        ),
        _github(
            *TIE,
            "metadata/train_seen_144k_list.txt",
            "retrieval-144k",
            "144k clips of the 274 classes of retrieval",
            2_736_000,
            "248babf9cd29cb1d9ab6574b938c46412aaea7366629839e6948f309f5b25954",
        ),
        _github(
            *TIE,
            "metadata/openset/openset_train_110_70k.txt",
            "openset-70k",
            "open set: training clips of 110 classes",
            1_330_000,
            "39304950ce89bf0b58b900fda463e06122a9db3422d8d10f1196d78dd72d1894",
        ),
        _github(
            *TIE,
            "metadata/openset/openset_test_110_heard_2425.txt",
            "openset-heard",
            "open set: test clips of these 110 classes",
            55_775,
            "3bad0ab8d27e2eea7f2b4b8992eae5d301a091c26c7fc89c46ab697f43b5ddcc",
        ),
        _github(
            *TIE,
            "metadata/openset/openset_test_110_unheard_2463.txt",
            "openset-unheard",
            "open set: test clips of 110 other classes",
            56_649,
            "1002bad83272bb6b7b7e1a26e8b3da07f2ce2fdfc2a4f694d442f0c53926be9f",
        ),
        _github(
            *TIE,
            "metadata/train_flickr_10k.txt",
            "flickr-10k",
            "the paper's Flickr-10k",
            355_531,
            "93f0e6c510a8eb3d090fbfdd91633071227a393168379e2b3aba9ae248774703",
        ),
        _github(
            *TIE,
            "metadata/test_flickr_250.txt",
            "flickr-test",
            "the Flickr-SoundNet test clips (249 are in it)",
            3_877,
            "d6e743caab0775b1136c388e0de3012d84ad3d85303e8ff95a2af71eb6b238d1",
        ),
        _github(
            *FLICKR,
            "Flickr_train_144k.txt",
            "flickr-144k",
            "Flickr-144k, of Attention [38]",
            2_192_840,
        ),
        _github(
            *EZVSL,
            "metadata/vggss_144k.txt",
            "ez-vsl-144k",
            "EZ-VSL's 144k, with 3,709 test clips of VGG-SS in it",
            2_736_000,
            "a9a02f704e8bb2d746c43860e5830e7589e9311de5bd067459484ec5bb4bd529",
        ),
        Source(
            "flickr-annotations",
            "Flickr-SoundNet: 5,000 frames, sounds and XML",
            "Annotations",
            f"https://github.com/{FLICKR[0]}",
        ),
        Source(
            "release-weights",
            "the paper's weights, and VGG-SS as XML",
            "*.pth.tar",
            f"https://github.com/{TIE[0]}",
        ),
    )
}


def fetch(
    source: Source, folder: str | Path, timeout: float = TIMEOUT, progress: bool = True
) -> tuple[Path, str]:
    """Fetch a Source into a folder, through pooch: its path, and how it was verified.

    A file that is there already is only checked. OSError where it cannot be fetched says
    how to get it by hand; ValueError where what arrived, or what was there, is not what
    was published: what arrived is then deleted.
    """
    path = Path(folder) / source.file
    if source.url is None:
        raise OSError(f"{source.name} has no link to fetch. {by_hand(source, path)}")
    if path.exists():
        return path, f"was there already, {verify(path, source)}"
    download = pooch.HTTPDownloader(progressbar=progress, timeout=timeout)
    try:
        pooch.retrieve(
            source.url, source.sha256, path.name, path.parent, downloader=download
        )
    except OSError as error:  # of requests too
        raise OSError(
            f"{source.name} could not be fetched from {source.url}: {error}. "
            f"{by_hand(source, path)}"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{source.url} does not send what was published: {error} {CHANGED}"
        ) from error
    try:
        return path, verify(path, source)
    except ValueError:
        path.unlink()
        raise


def by_hand(source: Source, path: Path) -> str:
    """How to get a file by hand."""
    if source.url is None:
        return f"By hand: open {source.page}, follow its links to {source.what}"
    return (
        f"By hand: open {source.page}, find {source.url.split('/', 6)[-1]} there or "
        f"in a copy of it, save it as {path}, then "
        f"`sslnb verify {path}`"
    )


def verify(path: str | Path, source: Source | None = None) -> str:
    """How a file was verified, as a sentence; ValueError where it is not as published.

    Without a Source the file is recognised by its content, or else by its name.
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    if source is None:
        known = SOURCES.values()
        matching = [found for found in known if found.sha256 == digest] or [
            found for found in known if found.file == Path(path).name
        ]
        if not matching:
            raise ValueError(
                f"{path} (SHA-256 {digest}) is none of the files known here by its "
                "content, nor by its name: `sslnb download` lists them"
            )
        source = matching[0]
    return _judge(str(path), size, digest, source)


def _judge(where, size, digest, source):
    wrong = [
        f"expected {what} {expected}, found {found}"
        for what, expected, found in (
            ("SHA-256", source.sha256, digest),
            ("size in bytes", source.size, size),
        )
        if expected not in (None, found)
    ]
    if wrong:
        raise ValueError(
            f"{where} is not {source.file} as it was published: {'; '.join(wrong)}. {CHANGED}"
        )
    if source.sha256:
        return f"{source.name} as published: its SHA-256 is right"
    told = "its size is right" if source.size else "nor is its size"
    return (
        f"taken for {source.name}, not verified: its published SHA-256 is not known, "
        f"{told}; this has {digest}"
    )


def table() -> str:
    """All sources as lines of text."""
    lines = []
    for source in SOURCES.values():
        size = f"{source.size:,} bytes" if source.size else "size not known"
        checked = "SHA-256 known" if source.sha256 else "SHA-256 not known"
        how = f"{size}, {checked}" if source.url else "by hand"
        lines += [
            f"{source.name:<19}{source.what}",
            f"{'':<19}{source.file}, {how}; {source.page}",
        ]
    return "\n".join(lines)
