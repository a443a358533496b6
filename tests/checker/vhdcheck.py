#!/usr/bin/env python3
"""Independent checker of VHD and VHDX images; README.md beside this file tells how to use it."""
import os
import sys
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from imagecheck import cli  # noqa: E402
from imagecheck.report import EXIT_INTERNAL, EXIT_UNREADABLE  # noqa: E402

if __name__ == "__main__":
    # Names come from images and from the host: none of them may break the printing of a verdict.
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = cli.main()
        sys.stdout.flush()
        sys.exit(code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_UNREADABLE)
    except Exception:  # A defect here must not look like a verdict on the image.
        traceback.print_exc()
        sys.exit(EXIT_INTERNAL)
