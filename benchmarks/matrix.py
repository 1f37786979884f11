"""Videos of many kinds, read right or refused for the right reason.

    sslnb bench matrix
    sslnb bench matrix -- --files 200 --seed 1

Containers, codecs, rotations, sizes, frame rates, offsets, tracks and damages in all
combinations that can be written (over 50,000), of which some are drawn at random; see
tests/media_matrix.py for how each is made and what is right.
"""

import argparse
import tempfile

from tests.media_matrix import DAMAGE, check, draw, every_case


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    right, refused, wrong = 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(draw(options.files, options.seed), 1):
            try:
                check(case, folder)
            except AssertionError as error:
                wrong.append(str(error))
                print(f"wrong: {error}", flush=True)
            else:
                right += DAMAGE[case.damage] is None
                refused += DAMAGE[case.damage] is not None
            if number % 100 == 0:
                print(f"{number} of {options.files}", flush=True)
    from benchmarks.ledger import record

    total = sum(1 for _ in every_case())
    record(
        {
            "matrix_files": options.files,
            "matrix_right": right,
            "matrix_refused_rightly": refused,
            "matrix_wrong": len(wrong),
        },
        f"videos drawn with seed {options.seed} of the {total:,} kinds in "
        "tests/media_matrix.py, each made, read and compared with what was encoded",
    )


if __name__ == "__main__":
    main()
