#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What it costs to know every listener: 200 network namespaces with ten listeners each.

    PW_BUILD_DIR=build/release python3 tests/bench/inventory_load.py [SECONDS]

Runs pprofwall-inventory alone: with events and by polling every second, while nothing changes and
while twenty sockets a second begin and cease to listen, and prints the share of one CPU that it
took, and how long after listen() each new one was told of. Events are those of the whole machine:
what else begins to listen meanwhile is counted, and costs, too. Needs root.
"""
import ctypes
import os
import signal
import socket
import statistics
import sys
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, "tests", "integration"))

from inventory_helper import ADDED, Inventory  # noqa: E402

NAMESPACES, LISTENERS, CHANGES_PER_SEC, WINDOW_SECONDS = 200, 10, 20, 5
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def serve(orders, answers):
    """In a namespace of its own: ten listeners, and one more for each order."""
    if libc.unshare(CLONE_NEWNET):
        os._exit(1)
    keep = []
    for i in range(LISTENERS):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("0.0.0.0", 8000 + i))
        sock.listen()
        keep.append(sock)
    os.write(answers, b"r")
    while os.read(orders, 1):
        with socket.socket() as sock:
            sock.bind(("0.0.0.0", 9000))
            sock.listen()
            os.read(orders, 1)
    os._exit(0)


def start_servers():
    servers = []
    for _ in range(NAMESPACES):
        orders, give = os.pipe()
        answer, answers = os.pipe()
        pid = os.fork()
        if pid == 0:
            for _, other in servers:  # each has its own descriptors, and no others
                os.close(other)
            os.close(give)
            serve(orders, answers)
        os.close(orders)
        os.close(answers)
        if os.read(answer, 1) != b"r":
            raise RuntimeError("no namespace can be made; root?")
        os.close(answer)
        servers.append((pid, give))
    return servers


def cpu_seconds(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        total = int(file.read().split()[0])
    for task in os.listdir(f"/proc/{pid}/task"):
        if int(task) != pid:
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
    return total / 1e9


def take_until(inventory, deadline):
    while time.monotonic() < deadline:
        frame = inventory.pump(deadline - time.monotonic())
        if frame:
            before = len(inventory.told)
            inventory._take(frame)
            for told in inventory.told[before:]:
                if told.change == ADDED and told.port == 9000:
                    yield time.monotonic_ns()


def measure(name, servers, seconds, events, changes):
    with Inventory(events=events) as inventory:
        inventory.watch(poll_ms=1000)
        assert inventory.statuses[-1].listeners >= NAMESPACES * LISTENERS
        first = inventory.statuses[-1].poll_cpu_ns / 1e6
        inventory.watch(poll_ms=1000)
        begun, cpu, latencies = time.monotonic(), cpu_seconds(inventory.process.pid), []
        since, shares = (begun, cpu), []
        for step in range(seconds * CHANGES_PER_SEC):
            if time.monotonic() - since[0] >= WINDOW_SECONDS:
                now = (time.monotonic(), cpu_seconds(inventory.process.pid))
                shares.append((now[1] - since[1]) / (now[0] - since[0]))
                since = now
            give = servers[step % len(servers)][1]
            told_before = time.monotonic_ns()
            if changes:
                os.write(give, b"o")
            for told in take_until(inventory, begun + (step + 1) / CHANGES_PER_SEC):
                latencies.append((told - told_before) / 1e6)
            if changes:
                os.write(give, b"c")
        share = (cpu_seconds(inventory.process.pid) - cpu) / (time.monotonic() - begun)
        inventory.watch(poll_ms=1000)  # for the count of events
        last = inventory.statuses[-1]
        print(f"{name}: {share * 100:.2f} % of a CPU, least in {WINDOW_SECONDS} s "
              f"{min(shares) * 100:.2f} %, {last.polls} polls, {last.events} events, "
              f"the first poll took {first:.0f} ms of CPU"
              + (f"; {len(latencies)} of {seconds * CHANGES_PER_SEC} new listeners told within "
                 f"the 50 ms that they lived, median {statistics.median(latencies):.1f} ms, "
                 f"longest {max(latencies):.1f} ms" if latencies else ""))


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    servers = start_servers()
    try:
        measure("events, nothing changes", servers, seconds, True, False)
        measure(f"events, {CHANGES_PER_SEC} changes a second", servers, seconds, True, True)
        measure("polling every second", servers, seconds, False, False)
    finally:
        for pid, give in servers:
            os.close(give)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
