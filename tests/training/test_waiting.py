"""A training whose GPU waits for batches says so once, by the times that the loop measures."""

import logging

import pytest
import torch

from lemore.training import loop
from lemore.training.loop import LOG_EVERY, WAITING_ROWS, RunningMeans


def warnings(monkeypatch, caplog, rows, data: float, step: float, device: float) -> list[str]:
    """The warnings of rows of steps that take so long: to wait for a batch, to be given to the
    device, and for the device to finish at the end of a row."""
    now = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    means = RunningMeans(warns=True)
    caplog.set_level(logging.WARNING)
    for _ in range(rows):
        for _ in range(LOG_EVERY):
            now[0] += data
            means.end_data()
            now[0] += step
            means.end_step(torch.ones(()))
        now[0] += device
        assert means.take_row()["train/data_share"] >= 0
        means.watch_waiting("lemore on ade20k")
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("rows", "data", "step", "device", "told"),
    [
        (WAITING_ROWS, 0.5, 0.5, 0.0, True),
        (5 * WAITING_ROWS, 0.5, 0.5, 0.0, True),  # once
        (WAITING_ROWS - 1, 0.5, 0.5, 0.0, False),  # loader processes are starting
        (5 * WAITING_ROWS, 0.05, 0.95, 0.0, False),
        (5 * WAITING_ROWS, 0.5, 0.1, 4.0, False),  # the device had work meanwhile
    ],
)
def test_a_gpu_that_waits_is_told_of_once(monkeypatch, caplog, rows, data, step, device, told):
    found = warnings(monkeypatch, caplog, rows, data, step, device)
    assert len(found) == told
    if told:
        assert "lemore on ade20k: the GPU waits for batches" in found[0]
        assert "data 50% of the time" in found[0] and "loader_workers" in found[0]


def test_rows_between_which_it_does_not_wait_are_not_added_up(monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    means = RunningMeans(warns=True)
    for row in range(4 * WAITING_ROWS):
        now[0] += 0.0 if row % WAITING_ROWS == 0 else 1.0
        means.end_data()
        now[0] += 1.0
        means.end_step(torch.ones(()))
        means.take_row()
        means.watch_waiting("x")
    assert not caplog.records
