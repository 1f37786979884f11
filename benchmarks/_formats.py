"""Five libraries that pack the same clips and gather them, for store_formats.

Each works in the fastest way that its documentation gives. zarr and tensorstore have a
clip to a chunk, 64 to a shard, and CRC-32C of each chunk; zarr is read clip by clip, as
index arrays are slower on shards (its issue 3829). tensordict fills memmap_like and is
read by index_select. datasets writes binary columns by from_generator with num_proc=2,
which writes a file in each process (Array3D columns take many times as long), and is
read through Arrow.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader

from sslnb.data.store.clips import open_store, verify
from sslnb.data.store.packing import CHUNK, Job, pack

ROWS = {"frames": ("uint8", (3, 256, 256)), "waves": ("int16", (48_000,))}
BYTES, SPLIT = 3 * 256 * 256 + 96_000, 3 * 256 * 256  # of a clip, of its frame
READS = "SSLNB_BENCH_READS"  # names a file that grows by a byte with every clip read


def clip(index):
    """Clip number `index`, frame and wave: alike for all, made in 0.1 ms."""
    if READS in os.environ:
        with open(os.environ[READS], "ab") as file:
            file.write(b".")
    data = np.random.SFC64(index).random_raw(BYTES // 8).view("uint8")
    return data[:SPLIT].reshape(3, 256, 256), data[SPLIT:].view("int16")


def name(index):
    return f"clip-{index:06}"


def parts(count):
    return [range(k, min(k + CHUNK, count)) for k in range(0, count, CHUNK)]


class Reader:
    """Chunks of clips as tensors, which workers hand over in shared memory."""

    def __getitem__(self, part):
        return [torch.from_numpy(np.stack(a)) for a in zip(*map(clip, part))]


def same(value):
    return value


def chunks(count):
    """(slice, {array: rows}) of each chunk; two processes read, as in packing.pack."""
    loader = DataLoader(
        Reader(),
        batch_size=None,
        sampler=parts(count),
        num_workers=2,
        collate_fn=same,
        multiprocessing_context="spawn",
    )
    for part, rows in zip(parts(count), loader):
        yield slice(part.start, part.stop), dict(zip(ROWS, rows))


def known(index):
    return {"label": None, "boxes": None}, clip(index)


def pack_sslnb(folder, count):
    names = [name(index) for index in range(count)]
    pack(Job(known, range(count), names, ROWS, {}), folder, 2, progress=False)


def open_sslnb(folder):
    clips = open_store(folder)
    return len(clips), lambda rows: [
        tensor.index_select(0, torch.from_numpy(rows)).numpy()
        for tensor in (clips.images, clips.waves)
    ]


def pack_zarr(folder, count):
    import zarr

    group, arrays = zarr.open_group(folder, mode="w"), {}
    for key, (dtype, shape) in ROWS.items():
        arrays[key] = group.create_array(
            key,
            shape=(count, *shape),
            dtype=dtype,
            chunks=(1, *shape),
            shards=(CHUNK, *shape),
            compressors=[zarr.codecs.Crc32cCodec()],
        )
    for part, rows in chunks(count):
        for key, array in arrays.items():
            array[part] = rows[key].numpy()


def open_zarr(folder):
    import zarr

    group = zarr.open_group(folder, mode="r")
    arrays = [group[key] for key in ROWS]
    length = arrays[0].shape[0]
    return length, lambda rows: [np.stack([a[i] for i in rows]) for a in arrays]


def tensorstores(folder, **how):
    import tensorstore

    # without a cache, a shard's index would be read again for each clip
    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 100_000_000}})
    for key in ROWS:
        file = {"driver": "file", "path": f"{folder}/{key}/"}
        spec = {"driver": "zarr3", "kvstore": file, "recheck_cached_data": "open"}
        spec |= {what: each[key] for what, each in how.items()}
        yield key, tensorstore.open(spec, context=context).result()


def pack_tensorstore(folder, count):
    codecs = [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "crc32c"},
    ]
    metadata = {}
    for key, (dtype, shape) in ROWS.items():
        inner = {"chunk_shape": [1, *shape], "codecs": codecs}
        shard = {"chunk_shape": [CHUNK, *shape]}
        metadata[key] = {
            "shape": [count, *shape],
            "data_type": dtype,
            "chunk_grid": {"name": "regular", "configuration": shard},
            "codecs": [{"name": "sharding_indexed", "configuration": inner}],
        }
    yes, pending = dict.fromkeys(ROWS, True), []
    arrays = dict(
        tensorstores(folder, metadata=metadata, create=yes, delete_existing=yes)
    )
    for part, rows in chunks(count):
        pending += [array[part].write(rows[key]) for key, array in arrays.items()]
        while len(pending) > 2 * len(ROWS):  # two chunks under way
            pending.pop(0).result()
    for write in pending:
        write.result()


def open_tensorstore(folder):
    arrays = [array for _, array in tensorstores(folder)]

    def gather(rows):
        return [r.result() for r in [array[rows].read() for array in arrays]]

    return arrays[0].shape[0], gather


def pack_tensordict(folder, count):
    from tensordict import TensorDict

    empty = {
        key: torch.zeros((), dtype=getattr(torch, dtype)).expand(count, *shape)
        for key, (dtype, shape) in ROWS.items()
    }
    clips = TensorDict(empty, [count]).memmap_like(str(folder))
    for part, rows in chunks(count):
        clips[part] = TensorDict(rows, [part.stop - part.start])


def open_tensordict(folder):
    from tensordict import TensorDict

    clips = TensorDict.load_memmap(folder)
    return len(clips), lambda rows: [
        clips[key].index_select(0, torch.from_numpy(rows)).numpy() for key in ROWS
    ]


def examples(parts):
    for index in (index for part in parts for index in part):
        frame, wave = clip(index)
        yield {"name": name(index), "frames": frame.tobytes(), "waves": wave.tobytes()}


def absent():
    raise FileNotFoundError("no complete dataset in the cache")
    yield


def from_generator(folder, generator, **how):
    import datasets

    datasets.disable_progress_bars()
    kinds = {"name": "string"} | dict.fromkeys(ROWS, "binary")
    features = datasets.Features({k: datasets.Value(v) for k, v in kinds.items()})
    how |= {"cache_dir": str(folder), "features": features, "fingerprint": "clips"}
    return datasets.Dataset.from_generator(generator, **how)


def pack_datasets(folder, count):
    how = {"gen_kwargs": {"parts": parts(count)}, "num_proc": 2}
    from_generator(folder, examples, writer_batch_size=CHUNK, **how)


def open_datasets(folder):
    clips = from_generator(folder, absent).with_format("arrow", columns=list(ROWS))

    def gather(rows):
        table = clips[rows]
        return [
            np.stack([np.frombuffer(v.as_buffer(), dtype) for v in table[key]]).reshape(
                -1, *shape
            )
            for key, (dtype, shape) in ROWS.items()
        ]

    return len(clips), gather


@dataclass(frozen=True)
class Library:
    """pack(folder, count); open(folder) -> count and gather; check(folder)."""

    pack: Callable
    open: Callable
    check: Callable | None = None


LIBRARIES = {
    "sslnb": Library(pack_sslnb, open_sslnb, verify),
    "zarr": Library(pack_zarr, open_zarr),
    "tensorstore": Library(pack_tensorstore, open_tensorstore),
    "tensordict": Library(pack_tensordict, open_tensordict),
    "datasets": Library(pack_datasets, open_datasets),
}
