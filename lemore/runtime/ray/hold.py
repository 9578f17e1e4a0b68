"""Holds the pipeline's local Ray cluster; started by the first job, leaves with the pipeline.

Afterwards it delivers what jobs that were killed with the pipeline had to tell the tracking store.
"""

import signal
import sys

from lemore.runtime.ray.cluster import serve


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    serve()
    from lemore.runtime.tracking.run import deliver_waiting

    deliver_waiting()
    return 0


if __name__ == "__main__":
    sys.exit(main())
