#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a captured discoverer could do with the sockets that it was given: not listen to the host."""
import contextlib
import ctypes
import os
import socket
import unittest

import lab

SO_DETACH_FILTER, PIDFD_GETFD = 27, 438
libc = ctypes.CDLL(None, use_errno=True)


def sockets_of(pid):
    """Duplicates of a process's sockets: what is done to them is done to its own."""
    pidfd = os.pidfd_open(pid)
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"):
                continue
            copy = libc.syscall(PIDFD_GETFD, pidfd, int(fd), 0)
            if copy < 0:
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
            yield socket.socket(fileno=copy)
    finally:
        os.close(pidfd)


def is_filtered(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return "Seccomp:\t2" in status.read()


class Discoverer(unittest.TestCase):
    @unittest.skipIf(lab.IS_ASAN, "sanitizers run without a sandbox")
    def test_no_filter_of_a_packet_socket_can_be_taken_off(self):
        with lab.Lab() as the_lab:
            # Nobody answers there, and slowly: it is at work all the time.
            scan = the_lab.process("client", lab.program("pprofwall"), "scan", "--method", "syn",
                                   "--rate", "10", "--ports", "1-1000", "10.91.0.0/24")
            children = lab.wait_until(lambda: lab.descendants(scan.pid), 10, "a discoverer")
            discoverer = children[0][0]
            lab.wait_until(lambda: is_filtered(discoverer), 10, "its sandbox")
            found = [s for s in sockets_of(discoverer) if s.family == socket.AF_PACKET]
            self.assertEqual(len(found), 5)
            with contextlib.ExitStack() as stack:
                for sock in found:
                    stack.enter_context(sock)
                    with self.assertRaises(PermissionError):
                        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
            scan.signal(2)
            self.assertEqual(scan.wait(10), 3)


if __name__ == "__main__":
    unittest.main(verbosity=2)
