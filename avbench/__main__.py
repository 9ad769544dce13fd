"""``python -m avbench``: the same as the ``avbench`` script."""

import sys

from avbench.cli import main

sys.exit(main())
