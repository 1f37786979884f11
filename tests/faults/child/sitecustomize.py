"""What happens to a command while it runs: in every Python process that it starts.

The environment says what, as JSON in SSLNB_FAULT:

    under, at, mark   hold still before operation number `at` on a file under the folder
                      `under`, counted over all processes, until the file `mark` is gone
    clock             let the wall clock jump back and forth by hours, from call to call

Python imports this file by itself where its folder is in PYTHONPATH.
"""

import itertools
import json
import os
import sys
import time

# A file is opened, renamed, deleted, cut; a folder is made
OPERATIONS = ("open", "os.rename", "os.remove", "os.truncate", "os.mkdir")


def hold(under, at, mark):
    def count():
        """The number of this operation; the size of a file, which all processes share."""
        file = os.open(f"{mark}.count", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.write(file, b".")
        number = os.lseek(file, 0, os.SEEK_CUR)
        os.close(file)
        return number

    def strike(event, arguments):
        if event not in OPERATIONS or isinstance(arguments[0], int):
            return
        if os.fsdecode(arguments[0]).startswith(under) and count() == at:
            with open(f"{mark}.part", "w") as file:
                file.write(str(os.getpid()))
            os.rename(f"{mark}.part", mark)
            while os.path.exists(mark):
                time.sleep(0.002)

    sys.addaudithook(strike)


def jump():
    right, hours = time.time, itertools.cycle([0, 5, -7, 9_000, -20, 1])
    time.time = lambda: right() + 3_600 * next(hours)
    time.time_ns = lambda: int(1e9 * time.time())


fault = json.loads(os.environ.get("SSLNB_FAULT", "{}"))
if fault.pop("clock", False):
    jump()
if fault:
    hold(**fault)
