"""Holds the pipeline's local Ray cluster; started by the first job, leaves with the pipeline.

Afterwards it closes the tracking runs of jobs that were killed with the pipeline.
"""

import signal
import sys

from lemore.training.distributed import serve


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    serve()
    from lemore.training.tracking import sweep

    sweep()
    return 0


if __name__ == "__main__":
    sys.exit(main())
