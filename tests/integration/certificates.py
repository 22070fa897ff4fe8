# SPDX-License-Identifier: GPL-2.0-or-later
"""A certificate authority of the test's own, by openssl(1)."""
import os
import ssl
import subprocess


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    def __init__(self, folder):
        self._folder = folder
        self.key, self.certificate = self._path("ca.key"), self._path("ca.pem")
        self._count = 0
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-keyout", self.key, "-out", self.certificate, "-days", "2",
                "-subj", "/CN=test authority")
        os.chmod(self.certificate, 0o644)

    def _path(self, name):
        return os.path.join(self._folder, name)

    def issue(self, name):
        """(certificate's path, key's path)."""
        self._count += 1
        key, certificate = (self._path(f"{self._count}.{end}") for end in ("key", "pem"))
        request, extensions = (self._path(f"{self._count}.{end}") for end in ("csr", "ext"))
        with open(extensions, "w", encoding="ascii") as file:
            file.write(f"subjectAltName=DNS:{name}\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", certificate)
        os.chmod(certificate, 0o644)
        return certificate, key

    def server(self, asks_client=False):
        """The TLS context of a server on localhost, which may insist on our clients."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue("localhost"))
        if asks_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.certificate)
        return context
