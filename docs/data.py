#!/usr/bin/env python3
"""Lays out and checks the data of docs/data.md.

    python3 docs/data.py DIR           copies what lies in docs/data, downloads the rest, checks all
    python3 docs/data.py DIR --check   checks what is there, touches nothing

Then `export THALWEG_DATA=DIR`. Needs Python 3.9; networks that are published as MATLAB files need SciPy too
(`pip install scipy`) and are left out without it. What is there with the right content is not fetched again.

docs/data.sha256 holds the sha256 of the content of each file: of what gzip and bzip2 unpack to, and of names
and arrays of .npz and .safetensors, so that it depends on no compressor and no order of members.
"""

import argparse
import bz2
import gzip
import hashlib
import io
import json
import pickle
import shutil
import struct
import sys
import tarfile
import urllib.request
import zipfile
from collections import OrderedDict
from pathlib import Path

HERE = Path(__file__).resolve().parent

GITHUB = "https://raw.githubusercontent.com"
MNIST = f"{GITHUB}/fgnt/mnist/ae608a02b796c9ee908c082585a5f006fe05258e"
CIFAR = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
TICK = f"{GITHUB}/X-DataInitiative/tick-datasets/9d959b6e53e17145e93e9849ff1f9f6d2de8ae51/binary"
CHARS = f"{GITHUB}/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
MFAC = f"{GITHUB}/IST-DASLab/M-FAC/8116367fb537b48484e2e4bde24f11f42b117f8a/checkpoints/resnet20_cifar10.pth.tar"
RESNET = (
    f"{GITHUB}/akamaster/pytorch_resnet_cifar10/d5489e8995e81e91ce6b1d69dcc98ad579b0b153"
    "/pretrained_models/resnet20-12fca82f.th"
)
MAXMIN = f"{GITHUB}/ppauli/QCs_MaxMin/b9175e22940cc1cbbbe03e82388b0d92c4cb4ff7/networks_weights"
DIGITS = f"{GITHUB}/ppauli/GLipSDP/c0cbc60d1fc10fa72e7edba94ede42f7a1aca651/Comparison/exports"


def download(url):
    print(f"  from {url}")
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


def as_is(url):
    return lambda: download(url)


def cifar(batch, images):
    """The first images of a batch; the archive is fetched once."""

    def make():
        if "archive" not in cifar.__dict__:
            cifar.archive = download(CIFAR)
        with tarfile.open(fileobj=io.BytesIO(cifar.archive)) as archive:
            return gzip.compress(archive.extractfile(f"cifar-10-batches-bin/{batch}").read(images * 3073), mtime=0)

    return make


def text(size):
    return lambda: gzip.compress(download(CHARS)[:size], mtime=0)


class Unpickler(pickle.Unpickler):
    """A file of torch.save before version 1.6, as bytes and shapes; nothing else is unpickled."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, *_: (storage, offset, shape)
        if (module, name) in (("torch.nn.parameter", "Parameter"), ("torch._utils", "_rebuild_parameter")):
            return lambda tensor, *_: tensor
        if module == "torch" and name.endswith("Storage"):
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not expected here")

    kinds = {}

    def persistent_load(self, identity):
        _, kind, key, *_ = identity
        self.kinds[key] = kind
        return kind, key


def tensors(file):
    """Names, types, shapes and bytes of the tensors of a state dictionary."""
    stream = io.BytesIO(file)
    for _ in range(3):  # magic number, protocol, system
        Unpickler(stream).load()
    reader = Unpickler(stream)
    state, storages = reader.load(), {}
    for key in Unpickler(stream).load():
        (elements,) = struct.unpack("<q", stream.read(8))
        storages[key] = stream.tell()
        stream.seek(elements * {"FloatStorage": 4, "LongStorage": 8}[reader.kinds[key]], 1)
    for name, ((kind, key), offset, shape) in state["state_dict"].items():
        if kind == "FloatStorage":  # counters of batches are left out
            begin, size = storages[key] + 4 * offset, 4
            for n in shape:
                size *= n
            yield name.removeprefix("module.").replace("linear.", "fc."), "F32", list(shape), file[begin : begin + size]


def resnet(url):
    """A PyTorch checkpoint as safetensors, tensors unchanged."""

    def make():
        header, body = {}, b""
        for name, kind, shape, data in sorted(tensors(download(url))):
            header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
            body += data
        head = json.dumps(header, separators=(",", ":")).encode()
        head += b" " * (-len(head) % 8)
        return struct.pack("<Q", len(head)) + head + body

    return make


def matlab(url, arrays):
    """A MATLAB file as npz, weights with a row for each output."""

    def make():
        try:
            import numpy as np
            from scipy.io import loadmat
        except ImportError:
            return None
        out = io.BytesIO()
        np.savez(out, **arrays(np, loadmat(io.BytesIO(download(url)))))
        return out.getvalue()

    return make


def cells(np, mat):
    return {f"W{i}": np.array(w, dtype="f8") for i, w in enumerate(mat["W"].ravel(), 1)}


def layers(np, mat):
    found = {}
    for i in range(1, 10):
        if f"fc{i}_weight" in mat:
            found[f"W{i}"] = np.array(mat[f"fc{i}_weight"].T, dtype="f8", order="C")
            found[f"b{i}"] = np.array(mat[f"fc{i}_bias"].ravel(), dtype="f8")
    return found


RECIPES = {
    "vision/mnist-train-images-idx3-ubyte.gz": as_is(f"{MNIST}/train-images-idx3-ubyte.gz"),
    "vision/mnist-train-labels-idx1-ubyte.gz": as_is(f"{MNIST}/train-labels-idx1-ubyte.gz"),
    "vision/cifar10-train-3000.bin.gz": cifar("data_batch_1.bin", 3000),
    "vision/cifar10-devtest-400.bin.gz": cifar("test_batch.bin", 400),
    "text/tinyshakespeare-train.txt.gz": text(1_003_854),
    "bilevel/mnist10k-images-idx3-ubyte.gz": as_is(f"{MNIST}/t10k-images-idx3-ubyte.gz"),
    "bilevel/mnist10k-labels-idx1-ubyte.gz": as_is(f"{MNIST}/t10k-labels-idx1-ubyte.gz"),
    "bilevel/ijcnn1.train.svm.bz2": as_is(f"{TICK}/ijcnn1/ijcnn1.trn.bz2"),
    "bilevel/ijcnn1.test.svm.bz2": as_is(f"{TICK}/ijcnn1/ijcnn1.tst.bz2"),
    "bilevel/reuters.train.svm.bz2": as_is(f"{TICK}/reuters/reuters.trn.bz2"),
    "bilevel/reuters.test.svm.bz2": as_is(f"{TICK}/reuters/reuters.tst.bz2"),
    "mfac/resnet20-cifar10.safetensors": resnet(MFAC),
    "deepzero/resnet20_cifar10.safetensors": resnet(RESNET),
}
for net in ["2fc_16", "2fc_32", "5fc_32", "8fc_32", "18fc_32", "18fc_128"]:
    name = f"weights_l2_{net}"
    RECIPES[f"lipsdp/maxmin_published/{name}.npz"] = matlab(f"{MAXMIN}/{name}.mat", cells)
for name in ["resweights_5_32", "resweights_8_32"]:
    RECIPES[f"lipsdp/maxmin_published/{name}.npz"] = matlab(f"{MAXMIN}/{name}.mat", cells)
for net in ["fnn2", "fnn3"]:
    for seed in range(5):
        name = f"{net}_seed{seed}"
        RECIPES[f"lipsdp/digits_published/{name}.npz"] = matlab(f"{DIGITS}/{name}_weights.mat", layers)


def content(name, file):
    """The sha256 of what a file holds."""
    found = hashlib.sha256()
    if name.endswith(".gz"):
        found.update(gzip.decompress(file))
    elif name.endswith(".bz2"):
        found.update(bz2.decompress(file))
    elif name.endswith(".npz"):
        with zipfile.ZipFile(io.BytesIO(file)) as archive:
            for member in sorted(archive.namelist()):
                found.update(member.encode() + b"\0" + archive.read(member))
    elif name.endswith(".safetensors"):
        (length,) = struct.unpack("<Q", file[:8])
        header, body = json.loads(file[8 : 8 + length]), file[8 + length :]
        header.pop("__metadata__", None)
        for tensor, about in sorted(header.items()):
            begin, end = about["data_offsets"]
            found.update(f"{tensor}\0{about['dtype']}{about['shape']}".encode() + body[begin:end])
    else:
        found.update(file)
    return found.hexdigest()


def right(path, name, expected):
    return path.is_file() and content(name, path.read_bytes()) == expected


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="touch nothing")
    options = parser.parse_args()
    missing = []
    for line in (HERE / "data.sha256").read_text().splitlines():
        expected, name = line.split(maxsplit=1)
        path, own = options.folder / name, HERE / "data" / name
        if not right(path, name, expected) and not options.check:
            print(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if own.is_file():
                shutil.copyfile(own, path)
            elif (file := RECIPES[name]()) is None:
                print("  needs SciPy: left out")
            elif content(name, file) == expected:
                path.write_bytes(file)
            else:
                print("  the source holds something else by now: left out")
        if not right(path, name, expected):
            missing.append(name)
    if missing:
        sys.exit("absent or not as they should be:\n  " + "\n  ".join(missing))
    print(f"all there: export THALWEG_DATA={options.folder.resolve()}")


if __name__ == "__main__":
    main()
