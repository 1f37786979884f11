"""`python -m sslnb` is the command `sslnb`."""

import sys

if __name__ == "__main__":
    from sslnb.cli import main

    sys.exit(main())
