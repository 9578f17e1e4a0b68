"""workflow/slurm.sh with stand-ins for srun, ray and snakemake, which note what they are given."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JOB_IDS = itertools.count(os.getpid())  # each its own port, since a head may outlive its test
NOTE = 'note() { echo "$*" >> "$EVENTS"; }\n'
SID = "$(ps -o sid= $$ | tr -d ' ')"
STANDS_FOR = {
    "scontrol": "#!/bin/bash\necho localhost\necho second\n",
    "srun": f"#!/bin/bash\n{NOTE}note srun {SID} $*\n"
    'while [ "$1" != ray ]; do shift; done\nexec "$@"\n',
    "ray": f"""#!{sys.executable}
import os, signal, socket, sys
head = "--head" in sys.argv
def note(text):
    with open(os.environ["EVENTS"], "a") as file:
        file.write(f"ray {{'head' if head else 'other'}} {{text}}\\n")
if head:
    server = socket.create_server(("localhost", int(sys.argv[sys.argv.index("--port") + 1])))
signal.signal(signal.SIGTERM, lambda *_: (note("stops"), sys.exit(143)))
note("runs with " + " ".join(sys.argv[1:]))
while True:
    signal.pause()
""",
    # Its job is a process of its own that takes a while to save, and outlives it.
    "snakemake": f"""#!/bin/bash
{NOTE}
bash -c 'note() {{ echo "$*" >> "$EVENTS"; }}
  trap "note job has SIGTERM; sleep 2; note job has saved; exit" TERM
  note job runs; while :; do sleep 0.1; done' &
trap 'note snakemake has SIGTERM; exit 1' TERM
note snakemake {SID} $RAY_ADDRESS $*
while [ ! -e "$EVENTS.done" ]; do sleep 0.1; done
kill %1; wait
exit 5
""",
}


@pytest.fixture
def events(tmp_path) -> Iterator[Path]:
    for name, text in STANDS_FOR.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    yield tmp_path / "events"


def start(events: Path, **allocation: str) -> subprocess.Popen:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "RAY"))}
    path = f"{events.parent / 'bin'}:{clean['PATH']}"
    job = {"SLURM_JOB_ID": str(next(JOB_IDS)), "SLURM_JOB_NODELIST": "nodes[1-2]"}
    job |= {"SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "40", "SLURM_GPUS_ON_NODE": "4"}
    return subprocess.Popen(
        ["bash", str(ROOT / "workflow/slurm.sh"), "--configfile", "mine.yaml"],
        env=clean | job | allocation | {"PATH": path, "EVENTS": str(events)},
        cwd=ROOT,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )


def read(events: Path, until: str, lines: int = 0) -> list[str]:
    """The events, once there is one that holds `until`, and at least so many in all."""
    for _ in range(600):
        found = events.read_text().splitlines() if events.exists() else []
        if len(found) >= lines and any(until in line for line in found):
            return found
        time.sleep(0.1)
    raise AssertionError(found)


def test_two_nodes_get_their_cores_and_gpus_and_their_jobs_the_signal(events):
    script = start(events)
    found = read(events, "job runs", 6)
    sruns = sorted(line for line in found if line.startswith("srun"))
    assert len(sruns) == 2
    for line in sruns:
        assert "--nodes=1 --ntasks=1" in line and "--cpus-per-task=40 --gres=gpu:4" in line
        assert "--num-cpus 40 --num-gpus 4 --block" in line
    port = 20000 + os.getpid() % 10000
    (head,) = [line for line in sruns if "--head" in line]
    (other,) = [line for line in sruns if "--address" in line]
    assert "--nodelist=localhost" in head and f"--head --port {port}" in head
    assert "--exclude=localhost" in other and f"--address localhost:{port}" in other
    (pipeline,) = [line for line in found if line.startswith("snakemake")]
    _, session, address, *options = pipeline.split()
    assert address == f"localhost:{port}"
    assert options == ["--profile", "profiles/ray", "--configfile", "mine.yaml"]
    sessions = {session, *(line.split()[1] for line in sruns), str(script.pid)}
    assert len(sessions) == 4  # of srun, srun, snakemake and the script

    script.send_signal(signal.SIGTERM)  # as Slurm does before the limit: to the script alone
    assert script.wait(60) == 143
    found = events.read_text().splitlines()
    ends = [found.index(line) for line in ("ray head stops", "ray other stops")]
    assert found.index("job has saved") < min(ends)
    for line in ("snakemake has SIGTERM", "job has SIGTERM"):
        assert found.index(line) < found.index("job has saved")


def test_a_pipeline_that_ends_takes_the_cluster_with_it(events):
    script = start(events, SLURM_GPUS_ON_NODE="0", SLURM_JOB_NUM_NODES="1")
    found = read(events, "job runs", 4)
    (srun,) = [line for line in found if line.startswith("srun")]
    assert "--gres=none" in srun and "--num-gpus 0" in srun
    Path(f"{events}.done").touch()
    assert script.wait(60) == 5
    assert events.read_text().splitlines()[-1] == "ray head stops"


def test_a_killed_pipeline_lets_its_jobs_end(events):
    script = start(events)
    found = read(events, "job runs", 6)
    (session,) = [line.split()[1] for line in found if line.startswith("snakemake")]
    os.kill(int(session), signal.SIGKILL)
    for line in subprocess.check_output(["ps", "-e", "-o", "pid=,pgid=,stat="], text=True).split(
        "\n"
    ):
        pid, group, state = [*line.split(), "", "", ""][:3]
        if group == session and pid != session and not state.startswith("Z"):
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)  # as the jobs do when their owner is gone
    assert script.wait(60) == 128 + signal.SIGKILL
    found = events.read_text().splitlines()
    assert found.index("job has saved") < found.index("ray head stops")


def test_without_cores_it_says_what_to_give(events):
    script = start(events, SLURM_CPUS_PER_TASK="")
    assert script.wait(60) and "--cpus-per-task" in script.communicate()[1]


def test_a_head_that_does_not_start_ends_the_job(events):
    (events.parent / "bin/ray").write_text("#!/bin/bash\nexit 1\n")
    script = start(events)
    assert script.wait(60) == 1 and "no head of a Ray cluster" in script.communicate()[1]
    assert "snakemake" not in events.read_text()
