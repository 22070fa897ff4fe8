#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`./dev demo`: a real node_exporter is found, walled off, filtered and released again.

Exit status 0 only when every step was observed, from outside, as it happened.
"""
import json
import signal
import subprocess
import sys
import time

from lab import Lab, wait_until

ENDPOINT = f"{Lab.TARGET}:9100"

CONFIG = """\
mode: enforce
scan:
  targets: ["{endpoint}"]
  interval: 2s
  timeout: 3s
breakers:
  - name: default
    trip_after: 3
    confirm_interval: 200ms
    open_for: 30s
    close_after: 2
    action: drop
    allow_from: ["{allowed}"]
protect:
  ports: [22]
alerts:
  - name: hook
    type: webhook
    url: "http://127.0.0.1:9999/"
metrics:
  listen: "127.0.0.1:9464"
on_stop: keep
control:
  socket: "{directory}/run/control.sock"
state:
  directory: "{directory}/state"
# The demo makes no users: uids that nobody else has.
users: {{agent: "64101", prober: "64102", firewall: "64103", sender: "64104",
        inventory: "64106", runner: "64107", filter: "64108"}}
"""


class NotObserved(Exception):
    """A step's observation did not come true."""


class Story:
    """Prints steps and what was seen, each when it happens."""

    def __init__(self):
        self.begin = time.monotonic()
        self.colour = sys.stdout.isatty()
        self.step_name = "the beginning"
        self.steps = 0

    def _paint(self, code, text):
        return f"\033[{code}m{text}\033[0m" if self.colour else text

    def title(self, text):
        print(self._paint("1", text), flush=True)

    def step(self, name):
        self.steps += 1
        self.step_name = name
        print(f"\n{self._paint('1;34', f'{self.steps}. {name}')}", flush=True)

    def shell(self, who, command):
        print(f"   {self._paint('2', who + ' $')} {command}", flush=True)

    def seen(self, text):
        at = time.monotonic() - self.begin
        print(f"   {self._paint('32', '✓')} {text} {self._paint('2', f'(+{at:.2f} s)')}",
              flush=True)

    def show(self, text):
        for line in text.splitlines():
            print(f"     {line}", flush=True)

    def failed(self, why):
        print(f"   {self._paint('31', '✗')} not observed: {why}", flush=True)


def expect(condition, why):
    if not condition:
        raise NotObserved(why)


def observe(condition, what, timeout=10):
    try:
        return wait_until(condition, timeout, what)
    except TimeoutError as err:
        raise NotObserved(str(err)) from None


def reach(lab, path, source):
    """What a client sees: (status, text), or None for a refused connection."""
    try:
        return lab.get(Lab.TARGET, 9100, path, source=source)
    except ConnectionRefusedError:
        return None


def step_readable(story, lab):
    story.step("/debug/pprof/ is readable for everybody")
    story.shell("stranger", f"curl http://{ENDPOINT}/debug/pprof/goroutine?debug=2")
    status, text = reach(lab, "/debug/pprof/goroutine?debug=2", Lab.STRANGER)
    expect(status == 200 and text.startswith("goroutine "), f"stacks; got {status}")
    story.show("\n".join(text.splitlines()[:4]))
    status, text = reach(lab, "/debug/pprof/", Lab.STRANGER)
    expect(status == 200 and "heap" in text, f"the index; got {status}")
    story.seen(f"{text.count('?debug=1')} profiles, and every goroutine's stack")


def step_probes(story, daemon):
    story.step("three exposed probes")
    story.shell("target", "pprofwalld --config pprofwall.yaml --foreground")
    daemon.start(ready=False)
    daemon.lab.wait_port("127.0.0.1", 9464, process=daemon.process)
    seen = 0
    while seen < 3:
        now = observe(lambda: (daemon.metric("pprofwall_probes_total", verdict="confirmed") or 0)
                      > seen and daemon.metric("pprofwall_probes_total", verdict="confirmed"),
                      f"probe {seen + 1} finds it")
        while seen < min(int(now), 3):
            seen += 1
            story.seen(f"probe {seen}: confirmed")


def step_open(story, daemon):
    story.step("the breaker opens")
    observe(lambda: daemon.metric("pprofwall_breaker_state", endpoint=ENDPOINT, state="open")
            == 1, "pprofwall_breaker_state{state=\"open\"} is 1")
    observe(lambda: daemon.metric("pprofwall_blocks") == 1, "pprofwall_blocks is 1")
    story.seen("open: one block in the kernel")
    story.shell("target", "pprofwall blocks")
    story.show(daemon.ctl("blocks").stdout)


def step_wall(story, lab):
    story.step("the port is refused to a stranger, and metrics still flow")
    story.shell("stranger", f"curl http://{ENDPOINT}/debug/pprof/")
    begin = time.monotonic()
    expect(reach(lab, "/debug/pprof/", Lab.STRANGER) is None, "a refused connection")
    story.seen(f"connection refused, after {(time.monotonic() - begin) * 1000:.1f} ms")
    story.shell("prometheus", f"curl http://{ENDPOINT}/metrics")
    answer = reach(lab, "/metrics", Lab.ALLOWED)
    expect(answer and answer[0] == 200 and "node_cpu_seconds_total" in answer[1],
           f"metrics for {Lab.ALLOWED}, which is in allow_from")
    story.seen(f"200, {len(answer[1].splitlines())} lines for {Lab.ALLOWED} (allow_from)")


def layout(event):
    """All of it, as it came; lists and small objects on one line."""
    text = json.dumps(event, ensure_ascii=False)
    if not isinstance(event, dict) or len(text) < 100:
        return text
    parts = [f"{json.dumps(key)}: {layout(value)}" for key, value in event.items()]
    return "{" + ",\n".join(parts).replace("\n", "\n ") + "}"


def step_alert(story, hook):
    story.step("the alert, as its webhook received it")
    try:
        event = hook.wait_event("opened")
    except TimeoutError as err:
        raise NotObserved(str(err)) from None
    story.show(layout(event))
    story.seen("opened")


def step_risk(story, daemon):
    story.step("the risk label in the daemon's /metrics")
    story.shell("target", "curl -s http://127.0.0.1:9464/metrics | grep endpoint_risk")
    observe(lambda: daemon.metric("pprofwall_endpoint_risk", endpoint=ENDPOINT,
                                  risk="HIGH_RISK") == 1, "risk=\"HIGH_RISK\" is 1")
    for line in daemon.http("/metrics")[1].splitlines():
        if line.startswith("pprofwall_endpoint_risk{"):
            story.show(line)
    story.seen("HIGH_RISK")


def step_filter(story, lab, daemon):
    story.step("the same port, filtered: a stranger has metrics, and no profiles")
    story.shell("target", "sed -i 's/action: drop/action: filter/' pprofwall.yaml; "
                          "pprofwall reload")
    with open(daemon.config_path, encoding="utf-8") as file:
        text = file.read()
    daemon.write_config(text.replace("action: drop", "action: filter"))
    done = daemon.ctl("reload", check=False)
    expect(done.returncode == 0, f"status 0; got {done.returncode}: {done.stderr}")
    observe(lambda: reach(lab, "/metrics", Lab.STRANGER), "the port is open again")
    for path, wanted in (("/metrics", 200), ("/debug/pprof/", 403),
                         ("/debug/pprof/profile?seconds=1", 403)):
        story.shell("stranger", f"curl -i http://{ENDPOINT}{path}")
        status, text = reach(lab, path, Lab.STRANGER)
        expect(status == wanted, f"{wanted}; got {status}")
        if status == 200:
            expect("node_cpu_seconds_total" in text, "metrics")
            story.seen(f"200, {len(text.splitlines())} lines")
        else:
            story.show(text.strip())
            story.seen(f"{status}")
    status, text = reach(lab, "/debug/pprof/", Lab.ALLOWED)
    expect(status == 200, f"200 for {Lab.ALLOWED}; got {status}")
    story.seen(f"{Lab.ALLOWED}, which is in allow_from, has them still")


def step_unblock(story, lab, daemon):
    story.step("pprofwall unblock takes it back")
    story.shell("target", f"pprofwall unblock {ENDPOINT} --reason demo")
    done = daemon.ctl("unblock", ENDPOINT, "--reason", "demo", check=False)
    expect(done.returncode == 0, f"status 0; got {done.returncode}: {done.stderr}")
    story.show(done.stdout)
    answer = reach(lab, "/metrics", Lab.STRANGER)
    expect(answer and answer[0] == 200, "the stranger is let in again")
    story.seen("the stranger is let in again")
    probes = daemon.metric("pprofwall_probes_total", verdict="confirmed")
    observe(lambda: daemon.metric("pprofwall_probes_total", verdict="confirmed") > probes,
            "another probe finds it exposed")
    expect(daemon.metric("pprofwall_blocks") == 0 and reach(lab, "/metrics", Lab.STRANGER),
           "the decision holds")
    story.seen("probed again, still exposed, and the decision holds")


def step_stop(story, daemon):
    story.step("the daemon ends when asked to")
    status = daemon.stop()
    expect(status == 0, f"status 0; got {status}")
    story.seen("exit status 0")


def main():
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    story = Story()
    daemon = None
    with Lab() as lab:
        try:
            story.title("pprofwall demo: two network namespaces, a real node_exporter")
            lab.serve_node_exporter()
            hook = lab.webhook()
            daemon = lab.daemon(CONFIG.format(endpoint=ENDPOINT, allowed=Lab.ALLOWED,
                                              directory=lab.directory))
            step_readable(story, lab)
            step_probes(story, daemon)
            step_open(story, daemon)
            step_wall(story, lab)
            step_alert(story, hook)
            step_risk(story, daemon)
            step_filter(story, lab, daemon)
            step_unblock(story, lab, daemon)
            step_stop(story, daemon)
        except (NotObserved, OSError, RuntimeError, subprocess.SubprocessError) as err:
            story.failed(err)
            print(f"\ndemo: failed at step {story.steps}, \"{story.step_name}\"")
            if daemon and daemon.process:
                print("the daemon's last lines:")
                story.show("\n".join(daemon.process.lines[-20:]))
            return 1
    story.title(f"\nall {story.steps} steps observed in "
                f"{time.monotonic() - story.begin:.1f} s; everything is cleaned up")
    return 0


if __name__ == "__main__":
    sys.exit(main())
