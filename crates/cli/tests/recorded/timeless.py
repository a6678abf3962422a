#!/usr/bin/env python3
"""What a file holds beside times and spelling: JSON with its keys in order and its numbers as they are written, a
model's tensors without the words at its head."""

import json
import struct
import sys


def plain(value):
    if isinstance(value, dict):
        return {key: plain(value[key]) for key in sorted(value) if not key.startswith("seconds")}
    return [plain(each) for each in value] if isinstance(value, list) else value


def lines(text):
    for line in text.splitlines():
        yield plain(json.loads(line, parse_float=str, parse_int=str))


path = sys.argv[1]
if path.endswith(".safetensors"):
    data = open(path, "rb").read()
    (length,) = struct.unpack("<Q", data[:8])
    head = json.loads(data[8 : 8 + length])
    head.pop("__metadata__", None)
    sys.stdout.write(json.dumps(head, sort_keys=True) + data[8 + length :].hex())
else:
    text = open(path).read()
    try:
        found = [plain(json.loads(text, parse_float=str, parse_int=str))]
    except json.JSONDecodeError:
        found = list(lines(text))
    sys.stdout.write(json.dumps(found))
