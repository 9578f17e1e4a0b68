"""Send to the tracking store what jobs could not send while it was away.

Jobs keep that in files (in mlflow_outbox in the current folder, or LEMORE_OUTBOX). It goes to the
store at MLFLOW_TRACKING_URI, each metric once and in order.

Example:
  MLFLOW_TRACKING_URI=http://tracking:5000 lemore sync
"""

import argparse

from lemore.runtime.tracking.tracked_run import send_pending


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # the environment has all settings


def run(args: argparse.Namespace) -> int:
    sent, left = send_pending()
    print(f"{sent} delivered, {left} left")
    return int(left > 0)
