#!/usr/bin/env python3
"""Signed calls of qmcp.* services, from the qube of an agent.

Needs Python 3.9, the command openssl (3.0 or newer) and, to call, qrexec-client-vm. The key is a PEM file:
    openssl genpkey -algorithm ed25519 -out KEY && chmod 600 KEY
As a program: qmcp_caller.py PRINCIPAL KEY SERVICE[+ARGUMENT] [REQUEST-AS-JSON]
"""
import json
import os
import base64
import secrets
import subprocess
import sys
import time

CONTEXT = "qmcp-call-v1"


def own_name():
    """The name of this qube, as dom0 knows it."""
    return subprocess.run(["qubesdb-read", "/name"], check=True, capture_output=True, text=True).stdout.strip()


def sign(key_file, message):
    """The Ed25519 signature, 64 bytes. openssl wants to know the length of what it signs, so no pipe."""
    with os.fdopen(os.memfd_create("qmcp-call"), "wb") as memory:
        memory.write(message)
        memory.flush()
        file = memory.fileno()
        command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key_file, "-in", f"/proc/self/fd/{file}"]
        return subprocess.run(command, check=True, capture_output=True, pass_fds=[file]).stdout


class Caller:
    """A principal with its key. `source` is the name of the qube that calls; this one unless told."""

    def __init__(self, principal, key_file, source=None):
        self.principal = principal
        self.key_file = key_file
        self.source = source if source is not None else own_name()

    def envelope(self, service, request=None, argument="", now_ms=None, number=None):
        """The body of a signed call, as bytes. Each is good for one call within two minutes."""
        call = "" if request is None else json.dumps(request)
        stamp = int(time.time() * 1000) if now_ms is None else now_ms
        number = number or secrets.token_hex(16)
        fields = [CONTEXT, service, argument, self.source, self.principal, str(stamp), number, call]
        signature = base64.b64encode(sign(self.key_file, "\0".join(fields).encode("utf-8"))).decode("ascii")
        body = {"qmcp": 1, "principal": self.principal, "time": stamp, "number": number, "call": call,
                "signature": signature}
        return json.dumps(body).encode("utf-8")

    def call(self, service, request=None, argument="", timeout=360):
        """Makes the call and gives the reply as an object; anything that is none counts as a refusal."""
        command = ["qrexec-client-vm", "--", "@adminvm", f"{service}+{argument}"]
        done = subprocess.run(command, input=self.envelope(service, request, argument), capture_output=True,
                              timeout=timeout, check=False)
        try:
            reply = json.loads(done.stdout)
        except ValueError:
            reply = None
        return reply if isinstance(reply, dict) else {"ok": False, "error": "not found or refused"}


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    name, _, argument = sys.argv[3].partition("+")
    request = json.loads(sys.argv[4]) if len(sys.argv) == 5 else None
    reply = Caller(sys.argv[1], sys.argv[2]).call(name, request, argument)
    print(json.dumps(reply))
    sys.exit(0 if reply.get("ok") is True else 1)
