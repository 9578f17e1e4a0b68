"""Deliver to the tracking store what jobs could not tell it while it was away.

Jobs leave that in the outbox (mlflow_outbox in the current folder, or LEMORE_OUTBOX). It goes to
the store at MLFLOW_TRACKING_URI, each metric once and in order.

Example:
  MLFLOW_TRACKING_URI=http://tracking:5000 lemore sync
"""

import argparse

from lemore.runtime.tracking.run import deliver_waiting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # the environment says it all


def run(args: argparse.Namespace) -> int:
    delivered, left = deliver_waiting()
    print(f"{delivered} delivered, {left} left")
    return int(left > 0)
