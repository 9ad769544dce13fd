"""``python -m avbench``: the same as the ``avbench`` script."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - a checkout starts with any Python; pip refuses older ones
    found = ".".join(map(str, sys.version_info[:2]))
    sys.stderr.write(f"avbench: error: found Python {found}, valid: 3.11 or newer; see the README.\n")
    sys.exit(2)

from avbench.cli import main

sys.exit(main())
