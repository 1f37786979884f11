"""Every reader of the package against hostile files, by a coverage-guided fuzzer.

    sslnb bench fuzz                                 # 5,000 inputs for each reader
    sslnb bench fuzz -- --inputs 300 --no-record
    sslnb bench fuzz -- --readers video maps --keep found

Valid files of each reader (_fuzz_readers.py) are mutated (_fuzz_mutate.py) by atheris,
which keeps what reaches new lines of sslnb. An input fails unless it gives the right
result, or an OSError or ValueError in at most LONGEST characters that name the file,
within SECONDS and MEMORY; or if a pickle in it was executed. A reader has a process of
its own, so that one that crashes or hangs fails alone.
"""

import argparse
import json
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import atheris

SECONDS = 5  # that an input may take, on one core of a busy machine
MEMORY = 3 * 2**29  # bytes that a process may grow by: an image of 89 megapixels
LONGEST = 2_000  # characters of an error
LARGEST = 2**16  # bytes of an input, at least
PLAIN = 0.4  # of the inputs are mutated without regard to their structure

HERE = str(Path(__file__).resolve().parent.parent)

with redirect_stderr(StringIO()), atheris.instrument_imports(include=["sslnb"]):
    from benchmarks._fuzz_readers import MARK, READERS


class Trial:
    """One reader's inputs: how many there were, the slowest, and what failed."""

    def __init__(self, name, folder, wanted, seed):
        self.reader, self.wanted, self.folder = (
            READERS[name],
            wanted,
            folder / "reading",
        )
        self.path = self.folder / self.reader.file
        self.report, self.failed = folder / "report.json", folder / "failed"
        self.corpus, self.seed = folder / "corpus", seed
        for each in (self.path.parent, self.failed, self.corpus):
            each.mkdir(parents=True)
        for number, content in enumerate(self.reader.seeds(self.path.parent)):
            (self.corpus / f"seed-{number}").write_bytes(content)
        self.words = folder / "words"
        self.words.write_text(
            "".join(f"{_quoted(word)}\n" for word in self.reader.words)
        )
        self.found = {"inputs": 0, "right": 0, "slowest_ms": 0.0, "megabytes": 0}
        self.failures = {}

    def read(self, data):
        """One input; the process ends after the last."""
        self.path.write_bytes(data)
        began, why = time.perf_counter(), None
        try:
            self.reader.read(self.path)
            self.found["right"] += 1
        except BaseException as error:
            why = self.refused(error)
        took = time.perf_counter() - began
        if why is None and took > SECONDS:
            why = "slow", f"{took:.1f} s"
        if (self.folder / MARK).exists() or (self.path.parent / MARK).exists():
            why = "a pickle was executed", ""
        kind = why and why[0]
        if kind and kind not in self.failures:
            number = f"{len(self.failures):03}"
            self.failures[kind] = f"{number}: {why[1][:300]}"
            (self.failed / number).write_bytes(data)
        self.found["inputs"] += 1
        self.found["slowest_ms"] = max(self.found["slowest_ms"], 1_000 * took)
        if self.found["inputs"] >= self.wanted or why is not None:
            self.write()
        if self.found["inputs"] >= self.wanted:
            os._exit(0)

    def refused(self, error):
        """Why an error is none of those that are documented, in general and in its words."""
        text, folder = str(error), str(self.path.parent)
        *_, ours = (
            f for f in traceback.extract_tb(error.__traceback__) if HERE in f.filename
        )
        at = f"{type(error).__name__} at {Path(ours.filename).name}:{ours.lineno}: {ours.line}"
        if not isinstance(error, (OSError, ValueError)):
            return at, text
        if len(text) > LONGEST:
            return f"{at} says too much", f"{len(text):,} characters: {text[:80]}"
        if folder not in text and not re.search(self.reader.named or "(?!)", text):
            return f"{at} does not say where", text
        return None

    def write(self):
        self.found["megabytes"] = (
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        )
        self.report.write_text(json.dumps({**self.found, "failures": self.failures}))

    def mutate(self, data, most, seed):
        rng = random.Random(seed)
        plain = self.reader.alter is None or rng.random() < PLAIN

        def by_fuzzer(content):
            return bytes(atheris.Mutate(bytes(content), max(most, 1)))

        return (
            by_fuzzer(data) if plain else self.reader.alter(data, rng, by_fuzzer)[:most]
        )

    def run(self):
        """Never returns."""
        warnings.simplefilter("ignore")
        self.write()
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        size = (
            int(Path("/proc/self/statm").read_text().split()[0])
            * resource.getpagesize()
        )
        resource.setrlimit(resource.RLIMIT_AS, (size + 2 * MEMORY,) * 2)
        longest = max(path.stat().st_size for path in self.corpus.iterdir())
        options = {
            "seed": self.seed,
            "timeout": 4 * SECONDS,
            "rss_limit_mb": (base + MEMORY) >> 20,
            "max_len": max(LARGEST, 2 * longest),
            "artifact_prefix": f"{self.failed}/",
            "verbosity": 0,
        }
        if self.reader.words:
            options["dict"] = self.words
        flags = [f"-{name}={value}" for name, value in options.items()]
        atheris.Setup(
            ["fuzz", str(self.corpus), *flags], self.read, custom_mutator=self.mutate
        )
        atheris.Fuzz()


def _quoted(word):
    """As libFuzzer's dictionaries have it."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"'


def attempt(name, folder, wanted, seed):
    """One reader in a process of its own: what it found, with {why: input} of failures."""
    folder.mkdir(parents=True)
    child = os.fork()
    if child == 0:
        with open(folder / "log", "w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        try:
            Trial(name, folder, wanted, seed).run()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    report = folder / "report.json"
    found = json.loads(report.read_text()) if report.exists() else {"failures": {}}
    if not status and not found["right"]:
        found["failures"]["none was read right"] = "not even the valid files"
    if status:
        last = (folder / "log").read_text(errors="replace")[-600:]
        found["failures"][
            f"its process ended with {os.waitstatus_to_exitcode(status)}"
        ] = last
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=5_000, help="for each reader")
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder to keep what failed in")
    parser.add_argument("--no-record", dest="record", action="store_false")
    options = parser.parse_args()
    memory = Path("/dev", "shm")  # a disk would be slower
    room = memory if os.access(memory, os.W_OK) else None
    found, began = {}, time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=room) as folder:
        for name in options.readers:
            began_reader = time.perf_counter()
            place = Path(folder, name.replace(" ", "-"))
            found[name] = one = attempt(name, place, options.inputs, options.seed)
            print(
                f"{name:18} {one.get('inputs', 0):6,} inputs, {one.get('right', 0):6,} right, "
                f"slowest {one.get('slowest_ms', 0):6.0f} ms, "
                f"{one.get('megabytes', 0):5,} MB, {len(one['failures'])} failures, "
                f"{time.perf_counter() - began_reader:.0f} s",
                flush=True,
            )
            for why, where in one["failures"].items():
                print(f"    {why}: {where}", flush=True)
            if options.keep and one["failures"]:
                shutil.copytree(
                    place / "failed", options.keep / place.name, dirs_exist_ok=True
                )
    failures = sum(len(one["failures"]) for one in found.values())
    if options.record:
        record_row(found, failures, options, time.perf_counter() - began)
    return 1 if failures else 0


def record_row(found, failures, options, seconds):
    from benchmarks.ledger import record

    each = ", ".join(f"{name} {one.get('inputs', 0):,}" for name, one in found.items())
    record(
        {
            "fuzz_inputs": sum(one.get("inputs", 0) for one in found.values()),
            "fuzz_readers": len(found),
            "fuzz_failures": failures,
            "fuzz_slowest_ms": max(one.get("slowest_ms", 0) for one in found.values()),
            "fuzz_memory_mb": max(one.get("megabytes", 0) for one in found.values()),
        },
        f"atheris {atheris.__version__ if hasattr(atheris, '__version__') else ''} on "
        f"mutated files from seed {options.seed}, in {seconds / 60:.0f} minutes; right "
        f"results {sum(one.get('right', 0) for one in found.values()):,}, documented errors "
        f"the others; limits: {SECONDS} s and {MEMORY >> 20:,} MB above the start. {each}",
    )


if __name__ == "__main__":
    sys.exit(main())
