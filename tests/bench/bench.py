#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`./dev bench`: pprofwall's sweeps against bare loops and other scanners, in one laboratory.

    bench.py [--quick | --full] [--rounds N] [--only PART]...

Everything runs in turns, several rounds, on one machine: sender, receiver and servers share its
processors, so only ratios mean something. They are printed, as Markdown, and never asserted. What
is missing (Go, a scanner) is said and left out.

Parts: sweep (the whole of it, and the bare loops and scanners beside it), recall (ten sweeps at
full speed, and ten through 2% loss; with --full), http (the stage that asks for profiles, alone), wall (100,000
blocks: restored, renewed, listed), idle (what it costs to do nothing, beside others), sender (what
an alert costs), filter (what a request through the filter costs, beside nginx).
"""
import argparse
import dataclasses
import ipaddress
import json
import os
import platform
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys

from measure import inherit_orphans, measure
from sweep_lab import PORTS, SweepLab, BUILD_DIR
from lab import program
from filter import measure_filter
from idle import measure_idle
from sender import measure_sender
from wall import measure_wall

HERE = os.path.dirname(os.path.abspath(__file__))
PORT_LIST = ",".join(map(str, PORTS))
WHOLE = ["10.77.0.0/16"]
ANSWERING = ["10.77.0.0/17"]
# A sixteenth of the whole, half of it silent as there.
PART = ["10.77.0.0/21", "10.77.128.0/21"]
HTTP_ENDPOINTS = 20_000
HTTP_PORT = 18080


def endpoints(ranges):
    return sum(1 << (32 - int(r.partition("/")[2])) for r in ranges) * len(PORTS)


def within(ranges, places):
    """Those of the places that lie in the ranges (all begin at a multiple of their size)."""
    nets = [ipaddress.ip_network(r) for r in ranges]
    return {p for p in places if any(ipaddress.ip_address(p[0]) in n for n in nets)}


def missing(what):
    print(f"left out: {what}", flush=True)


class Row:
    """A line of the sweep's table: the runs of one tool over one range."""

    def __init__(self, name, ranges, base=None):
        self.name, self.ranges, self.base = name, ranges, base
        self.runs, self.open, self.exposed, self.wrong, self.syns = [], [], [], [], []

    def add(self, run, opened=None, exposed=None, wrong=None, syns=None):
        self.runs.append(run)
        for values, value in ((self.open, opened), (self.exposed, exposed), (self.wrong, wrong),
                              (self.syns, syns)):
            if value is not None:
                values.append(value)

    def median(self, what):
        return statistics.median(getattr(run, what) for run in self.runs)

    def each(self, what):
        return self.median(what) / endpoints(self.ranges)


def span(values, of=None):
    """"997", "797 to 997", and of how many."""
    if not values:
        return "–"
    low, high = min(values), max(values)
    text = f"{low}" if low == high else f"{low} to {high}"
    return f"{text} of {of}" if of is not None else text


class Bench:
    def __init__(self, lab, options):
        self.lab, self.options = lab, options
        self.loops = self._build_loops()
        self.tracked = lab.tracked_file()
        self.syns = 0  # that the last sweep sent

    def close(self):
        self.tracked.close()

    @staticmethod
    def _build_loops():
        folder = os.path.join(BUILD_DIR, "bench")
        os.makedirs(folder, exist_ok=True)
        loops = {}
        for name in ("connect_loop", "syn_loop"):
            source = os.path.join(HERE, f"{name}.c")
            loops[name] = os.path.join(folder, name)
            subprocess.run(["gcc", "-O2", "-std=gnu17", "-D_GNU_SOURCE", "-o", loops[name],
                            source], check=True)
        return loops

    def run(self, *argv, **kwargs):
        self.lab.forget_connections()
        return measure(self.lab, *argv, tracked=self.tracked, **kwargs)

    # Ours

    def sweep(self, method, ranges, *more, ports=PORT_LIST):
        """(run, open ones, exposures found, false ones, SYNs sent)"""
        self.lab.count_syns()
        run = self.run(program("pprofwall"), "scan", *ranges, "--ports", ports, "--method", method,
                       "--rate", "0", "--format", "ndjson", "--trailer", *more, accept=(0, 1))
        self.syns = self.lab.count_syns()
        found, opened = set(), None
        for line in run.out.splitlines():
            value = json.loads(line)
            if value.get("type") == "sweep":
                opened = sum(n for verdict, n in value["verdicts"].items()
                             if verdict not in ("closed", "filtered", "error"))
            elif value["verdict"] in ("confirmed", "likely"):
                found.add((value["address"], value["port"]))
        exposed = within(ranges, self.lab.of_kind("pprof"))
        return run, opened, len(found & exposed), len(found - exposed), self.syns

    # The bare loops

    def connect_loop(self):
        run = self.run(self.loops["connect_loop"], "10.77.0.0", 32768, PORT_LIST)
        _, opened, seconds = run.out.split()
        return dataclasses.replace(run, seconds=float(seconds)), int(opened)

    def syn_loop(self, packets):
        """So many SYNs, over the whole range; its open ones count if that is one for each."""
        run = self.run(self.loops["syn_loop"], self.lab.ALLOWED, *WHOLE, *PORTS, "--packets",
                       packets)
        done = re.search(r"open (\d+) .*seconds ([\d.]+)", run.out)
        return (dataclasses.replace(run, seconds=float(done[2])),
                int(done[1]) if packets == endpoints(WHOLE) else None)

    # Other scanners

    def nmap(self, ranges):
        run = self.run("nmap", "-sS", "-Pn", "-n", "-T5", "--min-rate", "100000", "--max-retries",
                       "1", "-p", PORT_LIST, "--open", "-oG", "-", *ranges, timeout=3600)
        return run, run.out.count("/open/")

    def masscan(self, ranges):
        mac = json.loads(self.lab.run("target", "ip", "-j", "link", "show", "eth0").stdout)
        run = self.run("masscan", *ranges, "-p", PORT_LIST, "--rate", "1000000", "--adapter",
                       "eth0", "--adapter-ip", self.lab.ALLOWED, "--router-mac",
                       mac[0]["address"].replace(":", "-"), "--wait", "2", "-oL", "-",
                       timeout=3600)
        return run, len(set(re.findall(r"^open tcp (\d+ \S+)", run.out, re.MULTILINE)))


def sweep_table(bench, rows):
    lab = bench.lab
    print(f"\n| {'':34} | endpoints | wall, s | of the bare loop | CPU, s | "
          "SYNs | peak RSS, MB | PSS, MB | tracked | open found | exposures | false |")
    print(f"|{'-' * 36}|" + "---:|" * 11)
    for row in rows:
        if not row.runs:
            continue
        ratio = f"{row.each('seconds') / row.base.each('seconds'):.2f}" \
            if row.base and row.base.runs else "–"
        opened = len(within(row.ranges, lab.servers))
        exposed = len(within(row.ranges, lab.of_kind("pprof")))
        print(f"| {row.name:34} | {endpoints(row.ranges):,} | {row.median('seconds'):.2f} | "
              f"{ratio} | {row.median('cpu'):.2f} | "
              f"{f'{statistics.median(row.syns):,.0f}' if row.syns else '–'} | "
              f"{row.median('rss') / 2**20:.1f} | "
              f"{row.median('pss') / 2**20:.1f} | {max(r.tracked for r in row.runs):,} | "
              f"{span(row.open, opened)} | "
              f"{span(row.exposed, exposed) if row.exposed else '–'} | {span(row.wrong)} |")
    print(flush=True)


def sweep_part(bench, options, rounds):
    once = Row("bare SYN loop, one try each", WHOLE)
    syn = Row("bare SYN loop, as many as ours", WHOLE)
    once.base = syn.base = syn
    syn_part = Row("bare SYN loop, as many as ours", PART)
    syn_part.base = syn_part
    connect = Row("bare connect loop", ANSWERING)
    connect.base = connect
    ours = {
        "syn": Row("pprofwall, --method syn", WHOLE, syn),
        "syn, part": Row("pprofwall, --method syn", PART, syn_part),
        "connect": Row("pprofwall, --method connect", ANSWERING, connect),
    }
    scanners = PART if options.quick else WHOLE
    masscan = Row("masscan, rate 1,000,000", scanners, once)
    nmap = Row("nmap -sS -T5, discovery only", scanners, once)
    for turn in range(rounds):
        print(f"sweep: round {turn + 1} of {rounds}", flush=True)
        once.add(*bench.syn_loop(endpoints(WHOLE)))
        ours["syn"].add(*bench.sweep("syn", WHOLE))
        syn.add(*bench.syn_loop(bench.syns))
        ours["syn, part"].add(*bench.sweep("syn", PART))
        syn_part.add(*bench.syn_loop(bench.syns))
        connect.add(*bench.connect_loop())
        ours["connect"].add(*bench.sweep("connect", ANSWERING))
        # It mostly sleeps, for minutes: once is enough, unless everything is asked for.
        if turn == 0 or options.full:
            if shutil.which("masscan"):
                masscan.add(*bench.masscan(scanners))
            elif turn == 0:
                missing("masscan is not installed")
            if options.full or options.quick:
                if shutil.which("nmap"):
                    nmap.add(*bench.nmap(scanners))
                elif turn == 0:
                    missing("nmap is not installed")
            else:
                missing("nmap takes minutes: see --full, or --quick for a part of the range")
    rows = [once, syn, ours["syn"], syn_part, ours["syn, part"], connect, ours["connect"], masscan,
            nmap]
    sweep_table(bench, rows)
    constancy(bench, ours, syn, syn_part)


def constancy(bench, ours, syn, syn_part):
    """What must not grow with the range."""
    # Too short for samples; time(1) starts it from a process that is smaller than this one.
    planned = bench.run("time", "-f", "%M", program("pprofwall"), "scan", "10.0.0.0/8", "--ports",
                        "top30", "--dry-run")
    whole, part = ours["syn"], ours["syn, part"]
    print(f"Memory, RSS: {part.median('rss') / 2**20:.1f} MB for {endpoints(part.ranges):,} "
          f"endpoints, {whole.median('rss') / 2**20:.1f} MB for {endpoints(whole.ranges):,}; "
          f"dry run of a /8 on 30 ports: {int(planned.err.split()[-1]) / 2**10:.1f} MB in "
          f"{planned.seconds * 1000:.0f} ms.")
    grown = (whole.each("seconds") / syn.each("seconds")) / \
        (part.each("seconds") / syn_part.each("seconds"))
    print(f"Time per endpoint, of the bare loop's: {grown:.2f} times as much for the /16 as for "
          f"{' and '.join(PART)}.\n", flush=True)


def recall_part(bench, times):
    """Whether anything is missed, at full speed and through loss."""
    lab = bench.lab
    opened, exposed = len(lab.servers), len(lab.of_kind("pprof"))
    print(f"\n| {'recall, ' + str(times) + ' sweeps each':34} | open found | exposures | false | "
          "wall, s | SYNs |")
    print(f"|{'-' * 36}|" + "---:|" * 5)

    def sweeps(name):
        runs = [bench.sweep("syn", WHOLE) for _ in range(times)]
        print(f"| {name:34} | {span([r[1] for r in runs], opened)} | "
              f"{span([r[2] for r in runs], exposed)} | {span([r[3] for r in runs])} | "
              f"{statistics.median(r[0].seconds for r in runs):.1f} | "
              f"{statistics.median(r[4] for r in runs):,.0f} |", flush=True)
    sweeps("at full speed")
    with lab.loss(2) as means:
        sweeps(f"2% of packets lost ({means})")
    print()


class HttpStage:
    """The stage that asks for profiles, alone: 20,000 endpoints that are all one server."""

    def __init__(self, bench, kind):
        self.bench, self.lab = bench, bench.lab
        self.server = self.lab.serve({("0.0.0.0", HTTP_PORT): kind})
        self.lists = {}
        addresses = [f"10.77.{n // 250}.{n % 250 + 1}" for n in range(HTTP_ENDPOINTS)]
        for name, form in (("endpoints", "{}:" + str(HTTP_PORT)), ("hosts", "{}")):
            self.lists[name] = os.path.join(self.lab.directory, f"{name}-{kind}")
            with open(self.lists[name], "w", encoding="ascii") as file:
                file.writelines(form.format(address) + "\n" for address in addresses)
            os.chmod(self.lists[name], 0o644)

    def asked(self):
        """How many requests the server had since the last time."""
        seen = len(self.server.lines)
        self.server.signal(signal.SIGUSR1)
        while True:
            self.server.wait_line(r"^asked \d+$")
            for line in self.server.lines[seen:]:
                if match := re.fullmatch(r"asked (\d+)", line):
                    return int(match[1])

    def measure(self, cpus, *argv, accept=(0,)):
        """(requests, run)"""
        self.asked()
        run = self.bench.run("taskset", "-c", cpus, *argv, accept=accept)
        return self.asked(), run

    def scan(self, cpus, threads):
        requests, run = self.measure(
            cpus, program("pprofwall"), "scan", f"@{self.lists['endpoints']}", "--method",
            "direct", "--rate", "0", "--threads", threads, "--format", "ndjson", "--trailer",
            accept=(0,))
        trailer = json.loads(run.out.splitlines()[-1])
        if trailer["verdicts"].get("clear") != HTTP_ENDPOINTS:
            raise RuntimeError(f"not all are clear: {trailer['verdicts']}")
        return requests, run

    def wrk(self, cpus, threads):
        return self.measure(cpus, "wrk", f"-t{threads}", "-c256", "-d3s", "-H",
                            "Connection: close",
                            f"http://{self.lab.TARGET}:{HTTP_PORT}/debug/pprof/")

    def ffuf(self, cpus):
        return self.measure(cpus, "ffuf", "-s", "-t", "200", "-w", self.lists["hosts"], "-u",
                            f"http://FUZZ:{HTTP_PORT}/debug/pprof/", "-mc", "200", "-fs", "0")

    def end(self):
        self.server.end()


def http_part(bench, rounds):
    both = f"0-{os.cpu_count() - 1}" if os.cpu_count() > 1 else "0"
    print(f"\n| {'HTTP stage':44} | requests | per second | of wrk | CPU, µs each | wall, s | "
          "CPU, s | peak RSS, MB |")
    print(f"|{'-' * 46}|" + "---:|" * 7)
    for kind, name in (("other", "404"), ("clear", "Go's 404")):
        stage = HttpStage(bench, kind)
        tools = {f"wrk, no keep-alive, one core, {name}": lambda: stage.wrk("0", 1),
                 f"pprofwall, one core, {name}": lambda: stage.scan("0", 1)}
        if os.cpu_count() > 1:
            tools[f"wrk, no keep-alive, all cores, {name}"] = \
                lambda: stage.wrk(both, os.cpu_count())
            tools[f"pprofwall, all cores, {name}"] = lambda: stage.scan(both, os.cpu_count())
        if shutil.which("ffuf"):
            tools[f"ffuf -t 200, all cores, {name}"] = lambda: stage.ffuf(both)
        results = {tool: [] for tool in tools}
        for _ in range(rounds):
            for tool, run in tools.items():
                results[tool].append(run())
        stage.end()
        base = {}
        for tool, runs in results.items():
            rate = statistics.median(n / run.seconds for n, run in runs)
            cores = "one" if "one core" in tool else "all"
            base.setdefault(cores, rate)
            print(f"| {tool:44} | {statistics.median(n for n, _ in runs):,.0f} | {rate:,.0f} | "
                  f"{rate / base[cores]:.2f} | "
                  f"{statistics.median(run.cpu / n for n, run in runs) * 1e6:.0f} | "
                  f"{statistics.median(run.seconds for _, run in runs):.2f} | "
                  f"{statistics.median(run.cpu for _, run in runs):.2f} | "
                  f"{statistics.median(run.rss for _, run in runs) / 2**20:.1f} |", flush=True)
    print()


def read_options():
    parser = argparse.ArgumentParser(prog="dev bench", description="measurements, as Markdown")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true",
                      help="one round; other scanners on a sixteenth of the range")
    size.add_argument("--full", action="store_true",
                      help="nmap, masscan in every round, and the runs of recall, too")
    parser.add_argument("--rounds", type=int, help="instead of 3")
    parser.add_argument("--only", action="append", choices=("sweep", "recall", "http", "wall", "idle",
                                                         "sender", "filter"),
                        help="this part (may be repeated)")
    return parser.parse_args()


def main():
    options = read_options()
    rounds = options.rounds or (1 if options.quick else 3)
    parts = options.only or ["wall", "idle", "sender", "filter", "sweep", "http"] + (["recall"] if options.full else [])
    if "wall" in parts:
        measure_wall(rounds=rounds)
    if "idle" in parts:
        measure_idle()
    if "sender" in parts:
        measure_sender()
    if "filter" in parts:
        measure_filter(rounds)
    if not {"sweep", "recall", "http"} & set(parts):
        return 0
    resource.setrlimit(resource.RLIMIT_NOFILE,
                       (min(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    inherit_orphans()
    with SweepLab() as lab:
        bench = Bench(lab, options)
        try:
            if not lab.serve():
                missing("no Go is installed, so there are no servers: nothing to be measured")
                return 0
            print(f"{os.cpu_count()} CPUs, Linux {platform.release()}, median of {rounds} "
                  f"round{'s' if rounds > 1 else ''}", flush=True)
            if "sweep" in parts:
                sweep_part(bench, options, rounds)
            if "recall" in parts:
                recall_part(bench, 2 if options.quick else 10)
            if "http" in parts:
                http_part(bench, rounds)
        finally:
            bench.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
