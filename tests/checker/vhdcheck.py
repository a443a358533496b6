#!/usr/bin/env python3
"""Independent checker of VHD and VHDX images; README.md beside this file tells how to use it."""
import os
import sys
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from imagecheck import cli  # noqa: E402
from imagecheck.report import EXIT_INTERNAL  # noqa: E402

if __name__ == "__main__":
    try:
        sys.exit(cli.main())
    except Exception:  # A defect here must not look like a verdict on the image.
        traceback.print_exc()
        sys.exit(EXIT_INTERNAL)
