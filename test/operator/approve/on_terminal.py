"""Runs a program on a terminal of its own: on_terminal.py ROWS COLUMNS PROGRAM ARG...

Standard output: `pid N`, then what the program writes, in base64, a line a piece, then `exit CODE`.
Standard input, a line each: `send BASE64`, `size ROWS COLUMNS`, `hangup`.
"""

import base64
import fcntl
import os
import pty
import select
import struct
import sys
import termios


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def resize(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))


def main(rows, columns, *program):
    ready, go = os.pipe()
    pid, master = pty.fork()
    if pid == 0:
        os.close(go)
        os.read(ready, 1)  # Until the terminal has its size.
        os.close(ready)
        os.execvp(program[0], program)
    os.close(ready)
    resize(master, rows, columns)
    say(f"pid {pid}")
    os.close(go)
    sources = [master, 0]
    asked = b""
    while master in sources:
        for source in select.select(sources, [], [])[0]:
            if source == master:
                try:
                    piece = os.read(master, 65536)
                except OSError:
                    piece = b""
                if not piece:
                    sources.remove(master)
                    break
                say(base64.b64encode(piece).decode())
                continue
            piece = os.read(0, 65536)
            if not piece:
                sources.remove(0)
            *lines, asked = (asked + piece).split(b"\n")
            for verb, *words in (line.split() for line in lines):
                if verb == b"send":
                    os.write(master, base64.b64decode(words[0]))
                elif verb == b"size":
                    resize(master, *words)
                elif verb == b"hangup":
                    sources = []
                    os.close(master)
    _, status = os.waitpid(pid, 0)
    say(f"exit {os.waitstatus_to_exitcode(status)}")


main(*sys.argv[1:])
