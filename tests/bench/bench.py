#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`./dev bench`: pprofwall scan against a bare loop of requests, on one machine, in one run.

4,000 addresses in a network namespace lead to one server (etcd without pprof: 404 for every
path), or to nothing at all. The bare loop is wrk, one connection for each request, as a scan has
one for each endpoint. Client and server share the machine, so only ratios mean something; they
are printed, never asserted.
"""
import os
import re
import resource
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from lab import Lab, environment, program  # noqa: E402

ENDPOINTS = 4_000
ROUNDS = 3
PORT, CLOSED_PORT = 2379, 2380


def measure(lab, *argv, accept=(0,)):
    """(seconds, CPU seconds of the client, its output)"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    done = subprocess.run(["ip", "netns", "exec", lab.name_of("target"), *argv],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env=environment(), check=False)
    seconds = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in accept:
        raise RuntimeError(f"{argv[0]}: status {done.returncode}\n{done.stdout}{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, done.stdout


def scan(lab, targets, sign):
    seconds, cpu, out = measure(lab, program("pprofwall"), "scan", f"@{targets}", "--all",
                                "--format", "ndjson", "--concurrency", "256", accept=(0, 1))
    found = out.count(sign)
    if found != ENDPOINTS:
        raise RuntimeError(f"{found} of {ENDPOINTS} endpoints show {sign}")
    return ENDPOINTS / seconds, cpu / ENDPOINTS * 1e6


def bare(lab):
    _, cpu, out = measure(lab, "wrk", "-t1", "-c256", "-d3s", "-H", "Connection: close",
                          f"http://10.93.0.1:{PORT}/debug/pprof/")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    return rate, cpu / (rate * 3) * 1e6


def main():
    # The daemon's own limit in its unit, too: a scan of 256 at once needs more than 1,024.
    resource.setrlimit(resource.RLIMIT_NOFILE, (16384, 16384))
    with Lab() as lab:
        lab.run("target", "ip", "route", "add", "local", "10.93.0.0/16", "dev", "lo")
        # Not from the ports that are scanned, or a socket may connect to itself.
        lab.run("target", "sysctl", "-qw", "net.ipv4.ip_local_port_range=10000 65535")
        lists = {}
        for name, port in (("clear", PORT), ("closed", CLOSED_PORT)):
            lists[name] = os.path.join(lab.directory, name)
            with open(lists[name], "w", encoding="ascii") as file:
                for n in range(ENDPOINTS):
                    file.write(f"10.93.{n // 250}.{n % 250 + 1}:{port}\n")
            os.chmod(lists[name], 0o644)
        lab.serve("etcd", "--name", "a", "--data-dir", os.path.join(lab.directory, "etcd"),
                  "--listen-client-urls", f"http://0.0.0.0:{PORT}",
                  "--advertise-client-urls", f"http://{Lab.TARGET}:{PORT}",
                  "--listen-peer-urls", "http://127.0.0.1:12380", port=PORT)
        rows = {"wrk, a connection each": [], "pprofwall scan, Go's 404": [],
                "pprofwall scan, closed": []}
        for turn in range(ROUNDS):
            print(f"round {turn + 1} of {ROUNDS}", flush=True)
            rows["wrk, a connection each"].append(bare(lab))
            rows["pprofwall scan, Go's 404"].append(scan(lab, lists["clear"], '"status":404'))
            rows["pprofwall scan, closed"].append(scan(lab, lists["closed"], '"verdict":"closed"'))
    base = statistics.median(rate for rate, _ in rows["wrk, a connection each"])
    print(f"\n{os.cpu_count()} CPUs, {ENDPOINTS} endpoints, median of {ROUNDS} rounds\n")
    print(f"| {'':24} | per second | of wrk | CPU of the client, µs each |")
    print(f"|{'-' * 26}|-----------:|-------:|---------------------------:|")
    for name, results in rows.items():
        rate = statistics.median(r for r, _ in results)
        cpu = statistics.median(c for _, c in results)
        print(f"| {name:24} | {rate:10.0f} | {rate / base:6.2f} | {cpu:26.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
