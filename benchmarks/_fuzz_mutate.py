"""How valid files become hostile ones, for fuzz: what has a checksum gets a right one.

Each function takes bytes, a `random.Random` and `mutate`, the fuzzer's own way of
changing bytes, and gives bytes. What it cannot take apart it leaves to `mutate`.
"""

import json
import re
import struct
import zipfile
import zlib
from io import BytesIO

PNG = b"\x89PNG\r\n\x1a\n"
HOSTILE = (
    *(None, True, 0, -1, 1, 3, 2**31, 2**63, -(2**63), 10**400, 10**9),
    *(0.5, -0.0, 1e308, float("nan"), float("inf"), -float("inf")),
    *(
        "",
        "a",
        "../../evil",
        "/etc/passwd",
        "a\0b",
        "a\nb",
        "a'b\"c",
        "\ud800",
        "é" * 999,
    ),
    *([], [[]], [[[]]], {}, {"a": 1}, [0] * 2_000, [0.1, 0.1, 0.9, 0.9], [-1, -1]),
)
TOML = (
    *(
        "nan",
        "-inf",
        "-1",
        "0",
        "1e400",
        "true",
        "''",
        "[]",
        "{}",
        "[[[]]]",
        "1979-05-27",
    ),
    *('"../../evil"', '"A"', '["A", "A"]', '"\\u0000"', "9" * 400, "[0.9, 0.1]", "2.5"),
)


def altered(value, rng):
    """A value of JSON's types with one node replaced, left out or repeated."""
    if not isinstance(value, (list, dict)) or not value or rng.random() < 0.1:
        return rng.choice(HOSTILE)
    key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
    copy, deed = value.copy(), rng.random()
    if deed < 0.08:
        del copy[key]
    elif deed < 0.16 and isinstance(copy, list):
        copy += copy[:2]
    else:
        copy[key] = altered(copy[key], rng)
    return copy


def in_json(data, rng, mutate):
    try:
        return json.dumps(altered(json.loads(data), rng)).encode()
    except (ValueError, RecursionError):
        return mutate(data)


def in_toml(data, rng, mutate):
    found = list(re.finditer(rb'(?<=[=,\[] )[^\s,\]}]+|"[^"]*"', data))
    if not found:
        return mutate(data)
    start, end = rng.choice(found).span()
    return data[:start] + rng.choice(TOML).encode() + data[end:]


def in_lines(data, rng, mutate):
    """In the index of a store, whose last line has the CRC-32 of those before."""
    try:
        lines = [json.loads(line) for line in data.splitlines()]
        at = rng.randrange(len(lines))
        lines[at] = altered(lines[at], rng)
        if (
            isinstance(lines[-1], dict)
            and "complete" in lines[-1]
            and at < len(lines) - 1
        ):
            text = b"".join(json.dumps(line).encode() + b"\n" for line in lines[:-1])
            lines[-1]["complete"] = zlib.crc32(text)
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    except (ValueError, RecursionError):
        return mutate(data)


def in_zip(data, rng, mutate):
    """In one entry of an archive, or in its name."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            entries = [
                (each.filename, archive.read(each)) for each in archive.infolist()
            ]
        at = rng.randrange(len(entries))
        name, content = entries[at]
        entries[at] = (name, mutate(content))
        if rng.random() < 0.05:
            entries[at] = (rng.choice(("../evil.npy", "a\nb.npy", "", "a/b")), content)
        target = BytesIO()
        how = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(target, "w", how) as archive:
            for name, content in entries:
                archive.writestr(name, content)
        return target.getvalue()
    except Exception:  # zipfile raises much on what is no archive
        return mutate(data)


def in_safetensors(data, rng, mutate):
    """In the header, whose length stands before it, in its JSON, or in the tensors."""
    try:
        (length,) = struct.unpack("<Q", data[:8])
        header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
        deed = rng.random()
        if deed < 0.3:
            return data[: 8 + length] + mutate(body)
        state = header.get("__metadata__", {}).get("state")
        if state and deed < 0.8:
            header["__metadata__"]["state"] = json.dumps(
                altered(json.loads(state), rng)
            )
        else:
            header = altered(header, rng)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + body
    except (ValueError, AttributeError, TypeError, struct.error, RecursionError):
        return mutate(data)


def in_png(data, rng, mutate):
    """In one chunk of a PNG, whose CRC-32 is made right again."""
    chunks, at = [], len(PNG)
    while data.startswith(PNG) and at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return mutate(data)
    which = rng.randrange(len(chunks))
    chunks[which] = (chunks[which][0], mutate(chunks[which][1]))
    parts = [
        struct.pack(">I", len(body))
        + kind
        + body
        + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    return PNG + b"".join(parts)
