"""Writes digits.bin from scikit-learn's copy of the digits (see README.md). Standard library only.

    python3 make.py path/to/sklearn/datasets/data/digits.csv.gz
"""

import gzip
import hashlib
import pathlib
import sys

with gzip.open(sys.argv[1], "rt") as file:
    rows = [bytes(int(float(cell)) for cell in line.split(",")) for line in file]
assert len(rows) == 1797 and all(len(row) == 65 for row in rows)

order = sorted(range(len(rows)), key=lambda i: hashlib.sha256(b"thalweg digits %d" % i).digest())
out = pathlib.Path(__file__).with_name("digits.bin")
out.write_bytes(b"".join(rows[i] for i in order))
print(out.name, hashlib.sha256(out.read_bytes()).hexdigest(), "first source rows", order[:5])
