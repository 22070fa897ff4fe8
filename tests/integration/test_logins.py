#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Nobody's way in is closed: a real sshd on port 2222, and what else is found on that port."""
import glob
import os
import shutil
import subprocess
import unittest

import inventory_helper as wire
from inventory_helper import Inventory, request
from lab import IS_ASAN, Lab, SERVERS_DIR, run, wait_until

SSHD = os.path.join(SERVERS_DIR, "usr", "sbin", "sshd")
PORT = 2222
ENDPOINT = f"{Lab.TARGET}:{PORT}"
REASON = "people log in by this port"
SLOW = 4 if IS_ASAN else 1
# sshd wants its own user and directory, and root a shell: in a mount namespace they are there.
PASSWD = ("root:*:0:0::/:/bin/sh\nsshd:*:65533:65533::/run/sshd:/usr/sbin/nologin\n"
          "nobody:*:65534:65534::/nonexistent:/usr/sbin/nologin\n")
LISTEN = ("import socket, sys, time\n"
          "s = socket.create_server((sys.argv[1], int(sys.argv[2])))\n"
          "print('ready', flush=True)\ntime.sleep(1000)\n")


class Sshd:
    """sshd in the target's namespace, and root's way in."""

    def __init__(self, lab, address=Lab.TARGET, program=SSHD):
        self.lab, self.address = lab, address
        self.key = os.path.join(lab.directory, "key")
        passwd = os.path.join(lab.directory, "passwd")
        config = os.path.join(lab.directory, "sshd_config")
        if not os.path.exists(self.key):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        with open(passwd, "w", encoding="ascii") as file:
            file.write(PASSWD)
        with open(config, "w", encoding="ascii") as file:
            file.write(f"ListenAddress {address}\nPort {PORT}\nHostKey {self.key}\n"
                       f"AuthorizedKeysFile {self.key}.pub\nStrictModes no\nUsePAM no\n"
                       "PermitRootLogin yes\nPidFile none\n")
        self.process = lab.process(
            "target", "sh", "-c", "mount --bind \"$1\" /etc/passwd && mount -t tmpfs run /run && "
            "mkdir /run/sshd && LD_LIBRARY_PATH=$4 exec \"$2\" -D -e -f \"$3\"", "sh", passwd,
            program, config, ":".join(glob.glob(os.path.join(SERVERS_DIR, "usr", "lib", "*-linux-gnu"))))
        self.process.wait_line("Server listening", 20)

    def log_in(self, case):
        """A shell: a Popen with pipes."""
        login = subprocess.Popen(
            ["ip", "netns", "exec", self.lab.name_of("client"), "ssh", "-T", "-F", "/dev/null",
             "-i", self.key, "-p", str(PORT), "-o", "StrictHostKeyChecking=no",
             "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
             f"root@{self.address}", "exec cat"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        case.addCleanup(end_login, login)
        echo(login, "here")
        return login

    def end(self):
        """The listener alone: who is logged in stays."""
        self.process.signal(15)
        wait_until(lambda: self.process.status is not None, 20, "sshd has ended")


def end_login(login):
    if login.poll() is None:
        login.kill()
    login.communicate()


def echo(login, word):
    login.stdin.write(word + "\n")
    login.stdin.flush()
    if login.stdout.readline().strip() != word:
        raise RuntimeError(f"the login is dead: status {login.poll()}")


@unittest.skipUnless(os.path.exists(SSHD) and shutil.which("ssh"), "no sshd here")
class Logins(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)

    def start(self, **changes):
        changes = {"scan": {"targets": [ENDPOINT]}, "alerts": None,
                   "breakers": [{"name": "default", "action": "drop", "trip_after": 1,
                                 "open_for": "1s", "allow_from": [Lab.ALLOWED],
                                 "whole_port": True}]} | changes
        self.daemon = self.lab.daemon(self.lab.config(**changes))
        return self.daemon.start()

    def state(self):
        return self.daemon.ctl_json("explain", ENDPOINT)["watch"]

    def wait_spared(self):
        def is_spared():
            state = self.state()
            return state["state"] != "closed" and REASON in (state["action_reason"] or "")
        wait_until(is_spared, 20 * SLOW, "exposed, and spared", interval=0.1)
        self.assertFalse(self.state()["blocked"])
        self.assertEqual(self.state()["action"], "alert")
        self.assertEqual(self.daemon.ctl_json("blocks")["blocks"], [])

    def wait_blocked(self):
        wait_until(lambda: self.state()["blocked"], 20 * SLOW, "blocked", interval=0.1)

    def refuse_by_hand(self):
        done = self.daemon.ctl("block", ENDPOINT, "--reason", "test", check=False)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(REASON, done.stderr)
        self.assertFalse(self.state()["blocked"])

    def test_where_sshd_listens(self):
        """It listens on that port of one address, and somebody shows profiles on another."""
        sshd = Sshd(self.lab, "127.0.0.1")
        self.lab.serve_node_exporter(PORT)
        self.start()
        self.wait_spared()
        self.refuse_by_hand()
        done = self.daemon.ctl("block", f"{Lab.TARGET}:9999", ENDPOINT, "--reason", "test",
                               check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(REASON, done.stdout + done.stderr)
        self.assertEqual(self.daemon.ctl_json("blocks")["blocks"], [])
        sshd.end()
        self.wait_blocked()

    def test_who_is_logged_in_stays(self):
        sshd = Sshd(self.lab)
        login = sshd.log_in(self)
        sshd.end()
        self.lab.serve_node_exporter(PORT)
        self.start()
        self.wait_spared()
        self.refuse_by_hand()
        echo(login, "still here")
        end_login(login)
        self.wait_blocked()

    def test_sshd_comes_to_a_port_that_is_blocked(self):
        self.lab.serve_node_exporter(PORT)
        daemon = self.start()
        self.wait_blocked()
        Sshd(self.lab, "127.0.0.1")
        self.wait_spared()
        # By hand, too.
        daemon.ctl("unblock", ENDPOINT, "--reason", "test")
        self.refuse_by_hand()

    def test_observing(self):
        Sshd(self.lab, "127.0.0.1")
        self.lab.serve_node_exporter(PORT)
        self.start(mode="observe")
        self.wait_spared()


@unittest.skipUnless(os.path.exists(SSHD), "no sshd here")
class Names(unittest.TestCase):
    """The inventory by itself: whom it takes for an SSH server."""

    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.inventory = Inventory(self.lab.name_of("target"))
        self.addCleanup(self.inventory.__exit__)

    def ports(self):
        result, _, ends, _ = self.inventory.ask(request(wire.LOGINS))
        self.assertEqual(result, wire.OK)
        return sorted({port for _, port in ends})

    def listen_as(self, program, port, *before):
        process = self.lab.process("target", *before, program, "-c", LISTEN, "127.0.0.1",
                                   str(port))
        process.wait_line("ready", 20)
        return process

    def copy(self, name, mode=0o755, owner=0, directory_mode=0o755, directory_owner=0):
        """The interpreter under another name, in a directory of its own."""
        directory = os.path.join(self.lab.directory, f"d{len(os.listdir(self.lab.directory))}")
        os.mkdir(directory)
        path = os.path.join(directory, name)
        shutil.copy(os.path.realpath("/usr/bin/python3"), path)
        os.chown(path, owner, owner)
        os.chmod(path, mode)
        os.chown(directory, directory_owner, directory_owner)
        os.chmod(directory, directory_mode)
        return path

    def test_who_is_none(self):
        nobody = "65534"
        self.listen_as(self.copy("sshd"), 2001, "setpriv", f"--reuid={nobody}",
                       f"--regid={nobody}", "--clear-groups")
        self.listen_as(self.copy("sshd", owner=65534), 2002)
        self.listen_as(self.copy("sshd", mode=0o775), 2003)
        self.listen_as(self.copy("sshd", directory_mode=0o777), 2004)
        self.listen_as(self.copy("sshd", directory_owner=65534), 2005)
        self.listen_as(self.copy("sshd2"), 2006)
        self.assertEqual(self.ports(), [])

    def test_who_is_one(self):
        for i, name in enumerate(("sshd", "dropbear", "sshd-session")):
            self.listen_as(self.copy(name), 2010 + i)
        self.assertEqual(self.ports(), [2010, 2011, 2012])

    def test_another_root_directory(self):
        """As in a container, where anything may be called anything."""
        root = os.path.join(self.lab.directory, "root")
        os.mkdir(root)
        process = self.lab.process(
            "target", "sh", "-ec", "mount -t tmpfs root \"$1\"; cd \"$1\"\n"
            "for d in usr lib lib64; do mkdir $d; mount --bind /$d $d; done\n"
            "mkdir sbin; cp -p \"$2\" sbin/sshd; exec chroot . /sbin/sshd -c \"$3\" \"$4\" \"$5\"",
            "sh", root, self.copy("sshd"), LISTEN, "127.0.0.1", "2050")
        process.wait_line("ready", 20)
        self.assertEqual(self.ports(), [])

    def test_an_upgrade(self):
        program = self.copy("sshd")
        self.listen_as(program, 2020)
        os.unlink(program)
        self.assertEqual(self.ports(), [2020])

    def test_a_connection_without_a_listener(self):
        """What is left when the listener has ended is still somebody's way in."""
        server = (
            "import socket, time\n"
            "s = socket.create_server(('127.0.0.1', 2030))\n"
            "print('ready', flush=True)\n"
            "c = s.accept()[0]\ns.close()\nprint('alone', flush=True)\ntime.sleep(1000)\n")
        process = self.lab.process("target", self.copy("dropbear"), "-c", server)
        process.wait_line("ready", 20)
        self.assertEqual(self.ports(), [2030])
        with self.lab.connect("127.0.0.1", 2030, namespace="target"):
            process.wait_line("alone", 20)
            self.assertEqual(self.ports(), [2030])

    def test_both_families(self):
        script = ("import socket, time\n"
                  "s = socket.create_server(('::', 2040), family=socket.AF_INET6,"
                  " dualstack_ipv6=True)\n"
                  "t = socket.create_server(('127.0.0.1', 2041))\n"
                  "print('ready', flush=True)\ntime.sleep(1000)\n")
        self.lab.process("target", self.copy("sshd"), "-c", script).wait_line("ready", 20)
        result, _, ends, _ = self.inventory.ask(request(wire.LOGINS))
        self.assertEqual((result, sorted(ends)), (wire.OK, [("127.0.0.1", 2041), ("::", 2040)]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
