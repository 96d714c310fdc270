#!/usr/bin/env python3
"""Writes sample.jsonl, a log as the implementation before this one keeps it (contract section 6), with every
trap of Python's JSON in it, and numbers.jsonl, pairs of a JSON text and what Python writes after reading it."""

import hashlib
import json
import pathlib
import random
import struct

HERE = pathlib.Path(__file__).parent


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


ARGS = [
    {"name": "work", "property": "netvm"},
    {},
    {"float": 1e16, "small": 1e-5, "point": 1.5, "whole": 2.0, "tiny": 5e-324, "big": 1.7976931348623157e308},
    {"zero": 0.0, "minus": -0.0, "edge": 1e15, "under": 0.0001, "over": 123456789012345680.0},
    {"int": 2**70, "negative": -(10**40), "long": 10**300},
    {"nan": float("nan"), "inf": float("inf"), "minus": float("-inf")},
    {"lone": "\ud800", "reversed": "\udc00\ud800", "pair": "\U0001f600", "mixed": "a\ud83dx"},
    # By code point U+FFFD sorts before U+1F600; by UTF-16 code unit after it.
    {"\U0001f600": 1, "\ufffd": 2, "\ud800": 3, "\ue000": 4, "z": 5, "Z": 6, "": 7},
    {"escapes": "\x00\x1f\b\f\n\r\t\"\\/\x7f\x80é€"},
    {"nested": [[[{"b": [1, 2.5, None, True], "a": {}}]], []], "empty": []},
    {"hash": "0" * 64, "text": '"hash":"x",', "seq": 9},
    {"name": None, "private_size": 10**18, "label": False},
]


def entries():
    prev = hashlib.sha256(b"").hexdigest()
    for seq, args in enumerate(ARGS, 1):
        ok = seq % 3 != 0
        entry = {
            "v": 1,
            "ts": "2026-01-02T03:04:%02dZ" % seq,
            "service": ["qmcp.SetPropertyAIManaged", "qmcp.LifecycleAIManaged"][seq % 2],
            "args": args,
            "ok": ok,
            "error": None if ok else "not found",
            "seq": seq,
            "prev": prev,
        }
        if seq % 4 == 0:
            entry["consent"] = "denied"
        if seq % 5 == 0:
            entry["shadow"] = {"kernel": "allow", "rule": "r", "wrapper": "deny"}
        entry["hash"] = prev = hashlib.sha256(canonical(entry).encode()).hexdigest()
        yield entry


def numbers():
    rng = random.Random(8785)
    texts = ["-0", "0", "-0.0", "1E5", "1e+5", "1e400", "-1e400", "1e22", "1e23", "9007199254740993", "0.1e1", "NaN",
             "Infinity", "-Infinity", "1" * 4300]
    for _ in range(300):
        texts.append(repr(struct.unpack(">d", rng.randbytes(8))[0]).replace("nan", "NaN").replace("inf", "Infinity"))
        texts.append(repr(rng.uniform(-1, 1) * 10 ** rng.randint(-8, 20)))
        texts.append(str(rng.randint(-(10**rng.randint(1, 40)), 10 ** rng.randint(1, 40))))
    for text in texts:
        yield [text, json.dumps(json.loads(text))]


(HERE / "sample.jsonl").write_text("".join(canonical(entry) + "\n" for entry in entries()), encoding="ascii")
(HERE / "numbers.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in numbers()), encoding="ascii")
