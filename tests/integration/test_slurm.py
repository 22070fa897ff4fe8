#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""deploy/slurm/sweep.sbatch under a real Slurm of one node: what its shards find together is what
one scan finds. Slurm is the one that `./dev servers` has unpacked; nothing is installed, and it
runs in a namespace of its own, with its own key and its own configuration."""
import contextlib
import glob
import json
import pathlib
import secrets
import socket
import tempfile
import unittest

import lab

SBATCH = pathlib.Path(lab.SOURCE_DIR, "deploy", "slurm", "sweep.sbatch")
PORTS = "8001-8040"
EXPOSED, PLAIN = (8003, 8017, 8018, 8040), (8001, 8011, 8029)


class Slurm:
    """munged, slurmctld and slurmd, in the lab's namespace `client`."""

    def __init__(self, the_lab, directory):
        self.lab, self.directory = the_lab, pathlib.Path(directory)
        self.root, self.processes = pathlib.Path(lab.SERVERS_DIR), []
        plugins = glob.glob(str(self.root / "usr/lib/*/slurm-wlm"))
        for name in ("usr/sbin/munged", "usr/sbin/slurmctld-wlm", "usr/sbin/slurmd-wlm",
                     "usr/sbin/slurmstepd-wlm", "usr/bin/sbatch"):
            if not (self.root / name).exists() or not plugins:
                raise unittest.SkipTest(f"Slurm is not there ({name}): run `./dev servers` once")
        self.plugins = pathlib.Path(plugins[0])
        libraries = [*glob.glob(str(self.root / "lib/*-linux-gnu*")), self.plugins.parent,
                     self.plugins]
        self.environment = {"LD_LIBRARY_PATH": ":".join(map(str, libraries)),
                            "SLURM_CONF": str(self.directory / "slurm.conf"),
                            "PATH": f"{self.root}/usr/bin:/usr/bin:/bin:/usr/sbin:/sbin"}

    def configure(self):
        node = socket.gethostname().split(".")[0]
        for name in ("state", "spool"):
            (self.directory / name).mkdir()
        key = self.directory / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        # The default is what is mounted, and fails where nothing is; no task uses it.
        (self.directory / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n", encoding="ascii")
        # A task that is queued again waits until the old one's credential has expired.
        (self.directory / "slurm.conf").write_text(f"""
ClusterName=pprofwall
SlurmctldHost={node}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={self.directory}/munge.sock,cred_expire=5
CredType=cred/munge
PluginDir={self.plugins}
StateSaveLocation={self.directory}/state
SlurmdSpoolDir={self.directory}/spool
SlurmctldPidFile={self.directory}/slurmctld.pid
SlurmdPidFile={self.directory}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
NodeName={node} NodeAddr=127.0.0.1 CPUs=8 RealMemory=4096 State=UNKNOWN
PartitionName=sweep Nodes=ALL Default=YES MaxTime=INFINITE State=UP
""", encoding="ascii")

    def words(self, *argv, **more):
        pairs = [f"{key}={value}" for key, value in {**self.environment, **more}.items()]
        return ["env", *pairs, *map(str, argv)]

    def start(self):
        d, sbin = self.directory, self.root / "usr/sbin"
        self.configure()
        self.process(sbin / "munged", "--foreground", "--force", f"--key-file={d}/munge.key",
                     f"--socket={d}/munge.sock", f"--pid-file={d}/munged.pid",
                     f"--log-file={d}/munged.log", f"--seed-file={d}/munge.seed")
        lab.wait_until((d / "munge.sock").exists, 20, "munged listens")
        self.process(sbin / "slurmctld-wlm", "-D", "-c", "-f", d / "slurm.conf")
        self.process(sbin / "slurmd-wlm", "-D", "-f", d / "slurm.conf",
                     "-d", sbin / "slurmstepd-wlm")
        try:
            lab.wait_until(self.is_idle, 20, "the node is idle", interval=0.3)
        except TimeoutError as late:
            said = "".join(process.output for process in self.processes)
            raise TimeoutError(f"{late}\n{self.run('sinfo', check=False)}\n{said}") from late

    def is_idle(self):
        return self.run("sinfo", "-h", "-o", "%T", check=False).stdout.strip() == "idle"

    def process(self, *argv):
        self.processes.append(self.lab.process("client", *self.words(*argv)))

    def run(self, program, *argv, check=True, **environment):
        return self.lab.run("client", *self.words(self.root / "usr/bin" / program, *argv,
                                                  **environment), check=check)

    def submit(self, *argv, **environment):
        done = self.run("sbatch", "--parsable", f"--output={self.directory}/%A_%a.log", *argv,
                        SBATCH, **environment)
        return done.stdout.strip()

    def jobs(self, array):
        """State of each task, by its index."""
        done = self.run("scontrol", "show", "job", "-o", array)
        rows = [dict(word.split("=", 1) for word in line.split() if "=" in word)
                for line in done.stdout.splitlines() if line.strip()]
        return {row["ArrayTaskId"]: row for row in rows}

    def wait(self, array, timeout=120):
        def ended():
            rows = self.jobs(array)
            return rows if all(row["JobState"] not in ("PENDING", "RUNNING", "COMPLETING",
                                                       "CONFIGURING", "REQUEUED")
                               for row in rows.values()) else None
        rows = lab.wait_until(ended, timeout, f"job {array} ends", interval=0.3)
        bad = {task: row["JobState"] + " " + row["ExitCode"] for task, row in rows.items()
               if row["JobState"] != "COMPLETED"}
        if bad:
            raise AssertionError(f"{bad}\n{self.logs(array)}")
        return rows

    def logs(self, array):
        return "".join(f"{path.name}: {path.read_text()}"
                       for path in sorted(self.directory.glob(f"{array}_*.log")))


def facts(lines):
    """Findings as what they say, without when and by whom."""
    rows = [json.loads(line) for line in lines]
    return sorted((r["endpoint"], r["host"] or "", r["path"] or "", r["verdict"], r["severity"],
                   r["kind"] or "") for r in rows if "type" not in r)


class Arrays(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        cls.lab = stack.enter_context(lab.Lab())
        cls.folder = pathlib.Path(stack.enter_context(
            tempfile.TemporaryDirectory(prefix="pprofwall-slurm-")))
        cls.slurm = Slurm(cls.lab, cls.folder)
        for address in ("10.91.0.20/24", "10.91.0.21/24"):
            cls.lab.run("target", "ip", "address", "add", address, "dev", "eth0")
        for port in EXPOSED:
            cls.lab.serve_node_exporter(port, address="10.91.0.20")
        for port in PLAIN:
            cls.lab.serve_plain(port, address="10.91.0.21")
        cls.slurm.start()

    def setUp(self):
        self.results = pathlib.Path(tempfile.mkdtemp(dir=self.folder))

    def sweep(self, tasks, options="", **environment):
        return self.slurm.submit(
            f"--array=1-{tasks}", SWEEP_TARGETS="10.91.0.20/31", SWEEP_RESULTS=self.results,
            SWEEP_OPTIONS=f"--ports {PORTS} --all --timeout 2s {options}",
            PPROFWALL=lab.program("pprofwall"), **environment)

    def alone(self):
        done = self.lab.run("client", lab.program("pprofwall"), "scan", "--ports", PORTS, "--all",
                            "--timeout", "2s", "--format", "ndjson", "10.91.0.20/31", check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        rows = facts(done.stdout.splitlines())
        self.assertEqual(len(rows), 80)
        self.assertEqual({row[0] for row in rows if row[3] == "confirmed"},
                         {f"10.91.0.20:{port}" for port in EXPOSED})
        return rows

    def merged(self, status, *files):
        done = lab.run(lab.program("pprofwall"), "merge", "--format", "ndjson",
                       *(files or sorted(self.results.glob("*.ndjson"))), check=False)
        self.assertEqual(done.returncode, status, done.stdout[:2000] + done.stderr)
        return facts(done.stdout.splitlines()), done.stderr

    def test_eight_shards_find_what_one_scan_finds(self):
        array = self.sweep(8)
        self.slurm.wait(array)
        files = sorted(self.results.glob("*.ndjson"))
        self.assertEqual(len(files), 8, self.slurm.logs(array))
        rows, said = self.merged(1)
        self.assertEqual(rows, self.alone())
        self.assertNotIn("missing", said)
        # Disjoint, and each has its part.
        each = [facts(file.read_text().splitlines()) for file in files]
        self.assertEqual(sum(map(len, each)), 80)
        self.assertEqual([len(part) for part in each], [10] * 8)
        _, said = self.merged(3, *files[:2], *files[3:])
        self.assertIn("of 8 shards these are missing: 3", said)

    def begin_slow_sweep(self):
        """At its rate a shard takes some seconds. Returns the array, and the job of task 1."""
        array = self.sweep(2, "--method connect --rate 8")
        first = lab.wait_until(lambda: self.jobs_running(array).get("1"), 30, "task 1 runs")
        lab.wait_until((self.results / "shard-1-of-2.state").exists, 30,
                       "it keeps how far it is")
        return array, first["JobId"]

    def test_a_task_that_runs_out_of_time_goes_on(self):
        array, first = self.begin_slow_sweep()
        # What --signal=B:TERM@60 does, without the wait of a minute.
        self.slurm.run("scancel", "--batch", "--signal=TERM", first)
        rows = self.slurm.wait(array, timeout=180)
        self.assertEqual(rows["1"]["Restarts"], "1")
        files = self.results.glob("shard-1-of-2.*.ndjson")
        runs = [json.loads(file.read_text().splitlines()[-1]) for file in files]
        self.assertEqual(sorted(run["complete"] for run in runs), [False, True])
        self.assertEqual(len({run["sweep_id"] for run in runs}), 1)
        self.assertEqual(len({run["scan_id"] for run in runs}), 2)
        merged, said = self.merged(1)
        self.assertEqual(merged, self.alone())
        self.assertNotIn("missing", said)

    def test_a_task_that_is_cancelled_stays_so(self):
        array, first = self.begin_slow_sweep()
        self.slurm.run("scancel", array)

        def ended():
            return all(row["JobState"] == "CANCELLED" and "EndTime" in row
                       for row in self.slurm.jobs(array).values()) and not self.slurm.run(
                           "squeue", "-h").stdout.strip()
        lab.wait_until(ended, 60, "the array ends", interval=0.3)
        self.assertEqual(self.slurm.jobs(array)["1"]["Restarts"], "0", first)
        # What it had until then is there, and says that it is not all.
        _, said = self.merged(3)
        self.assertIn("of 2 shards these are incomplete: 1", said)

    def jobs_running(self, array):
        return {task: row for task, row in self.slurm.jobs(array).items()
                if row["JobState"] == "RUNNING"}

    def test_an_array_with_gaps_must_say_how_many_shards_there_are(self):
        array = self.slurm.submit("--array=2,4", SWEEP_TARGETS="10.91.0.20",
                                  SWEEP_RESULTS=self.results,
                                  PPROFWALL=lab.program("pprofwall"))
        with self.assertRaisesRegex(AssertionError, "FAILED 2:0"):
            self.slurm.wait(array)
        self.assertIn("SWEEP_SHARDS", self.slurm.logs(array))
        self.assertEqual(list(self.results.iterdir()), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
