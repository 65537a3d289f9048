"""Certificates for tests."""

import pathlib

from daemon import run


def make_certificates(directory):
    """An authority, a server's certificate for 127.0.0.1 and a client's, as libnbd names them."""

    def openssl(*arguments):
        run("openssl", *arguments, cwd=directory)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca-key.pem", "-out",
            "ca-cert.pem", "-subj", "/CN=authority", "-days", "2")
    for name in ["server", "client"]:
        pathlib.Path(directory, "ext").write_text("subjectAltName=IP:127.0.0.1\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}-key.pem", "-out",
                f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem",
                "-CAcreateserial", "-out", f"{name}-cert.pem", "-days", "2", "-extfile", "ext")
