"""Processes are told apart by when they started; zombies and strangers are not alive."""

import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from lemore.runtime.process import OWNER, Process, StopSignals, find_owner, leave_with_owner


def test_a_process_lives_until_it_ends_and_not_as_a_zombie():
    pid = os.fork()
    if not pid:
        time.sleep(600)
    child = Process(pid, start_of(pid), Process.find_own().host)
    assert child.is_alive() and Process.parse(str(child)) == child
    os.kill(pid, signal.SIGKILL)
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT) is None:
        time.sleep(0.01)
    assert not child.is_alive()  # nobody has waited for it yet
    os.waitpid(pid, 0)
    assert not child.is_alive()


def start_of(pid: int) -> str:
    """As the kernel has it: clock ticks since boot."""
    with open(f"/proc/{pid}/stat") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    return f"{ticks / os.sysconf('SC_CLK_TCK'):.2f}"


def test_a_later_process_with_the_same_number_is_another():
    own = Process.find_own()
    assert own.started == start_of(os.getpid()) and own.is_alive() and own.is_here()
    assert not replace(own, started="1.00").is_alive()
    assert not replace(own, host="elsewhere").is_here()
    assert Process.parse("no process") is None


def test_only_a_pipeline_of_this_host_owns_a_job(monkeypatch):
    own = Process.find_own()
    for text, owner in ((str(own), own), (str(replace(own, host="elsewhere")), None), ("", None)):
        monkeypatch.setenv(OWNER, text)
        assert find_owner() == owner


def test_a_job_leaves_when_its_owner_is_gone(monkeypatch):
    job = os.fork()
    if not job:
        os.environ[OWNER] = str(replace(Process.find_own(), started="1.00"))
        leave_with_owner()
        time.sleep(600)
    assert os.waitstatus_to_exitcode(os.waitpid(job, 0)[1]) == -signal.SIGTERM


def test_a_job_that_stops_is_not_interrupted_when_its_owner_goes_too(monkeypatch):
    """As when both get the same SIGTERM, and the owner ends first."""
    job = os.fork()
    if not job:
        stop = StopSignals()
        os.kill(os.getpid(), signal.SIGTERM)
        os.environ[OWNER] = str(replace(Process.find_own(), started="1.00"))
        leave_with_owner()
        for thread in threading.enumerate():
            if thread.name == "owner-watch":
                thread.join()
        os._exit(stop() and 7)
    assert os.waitstatus_to_exitcode(os.waitpid(job, 0)[1]) == 7


def test_a_second_interrupt_ends_the_waiting():
    stop = StopSignals()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop() == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
