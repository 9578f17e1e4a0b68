"""A Ray cluster of several nodes on this machine, in a process of its own that obeys stdin.

    python tests/ray_nodes.py <cores of the head>

Prints the address, then one line for each command: `add <cores>`; `kill <pid of a worker>`, which
ends the node that the worker is on as a power cut would; `import <module>`, whether a worker can.
"""

import os
import sys

import psutil
import ray
from ray.cluster_utils import Cluster

SMALL = {"object_store_memory": 80_000_000, "include_dashboard": False}


def main() -> None:
    cluster = Cluster(True, head_node_args={"num_cpus": int(sys.argv[1]), **SMALL})
    nodes = []
    print(cluster.address, flush=True)
    for line in sys.stdin:
        command, value = line.split()
        answer = "done"
        if command == "add":
            nodes.append(cluster.add_node(num_cpus=int(value), **SMALL))
        elif command == "kill":
            above = {process.pid for process in psutil.Process(int(value)).parents()}
            (node,) = [n for n in nodes if raylet(n) in above]
            cluster.remove_node(node, allow_graceful=False)
            nodes.remove(node)
        elif command == "import":
            answer = try_import(cluster.address, value)
        print(answer, flush=True)
    cluster.shutdown()


def raylet(node) -> int:
    return node.all_processes["raylet"][0].process.pid


def try_import(address: str, module: str) -> str:
    ray.init(address, log_to_driver=False)

    @ray.remote(num_cpus=0)
    def look() -> str:
        try:
            __import__(module)
        except ModuleNotFoundError:
            return f"no {module} in {os.getcwd()}"
        return "imported"

    try:
        return ray.get(look.remote())
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
