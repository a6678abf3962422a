"""MKOR beside SOAP, Muon and SGD of PyTorch: loss, accuracy and time on the first 10000 MNIST images.

    cargo build --release
    peers/.venv/bin/python peers/mkor_perceptron.py --images train-images-idx3-ubyte.gz --labels train-labels-idx1-ubyte.gz

All train 784-256-128-10 for four epochs, batch 128, linear decay. The last 10000 images of the
file are the test part for all. Times are of the steps alone, alternating between the packages.
"""

import argparse
import gzip
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from pytorch_optimizer import SOAP, Muon

WIDTHS, BATCH, EPOCHS, EXAMPLES = [784, 256, 128, 10], 128, 4, 10_000


def idx(path, skip):
    with gzip.open(path) if str(path).endswith(".gz") else open(path, "rb") as file:
        return np.frombuffer(file.read(), np.uint8, offset=skip)


def make(seed):
    torch.manual_seed(seed)
    layers = []
    for a, b in zip(WIDTHS, WIDTHS[1:]):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def muon(net):
    hidden = [net[0].weight, net[2].weight]
    rest = [p for p in net.parameters() if all(p is not h for h in hidden)]
    groups = [{"params": hidden, "use_muon": True}, {"params": rest, "use_muon": False}]
    return Muon(groups, lr=0.01, weight_decay=0.0)


RIVALS = {
    "PyTorch SGD": lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9),
    "SOAP": lambda net: SOAP(net.parameters(), lr=3e-3, weight_decay=0.0),
    "Muon": muon,
}


def theirs(name, seed, train, test):
    (x, y), (xt, yt) = train, test
    net = make(seed)
    optimizer = RIVALS[name](net)
    steps = EPOCHS * (EXAMPLES // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 - t / steps)
    seconds, last = 0.0, []
    for _ in range(EPOCHS):
        order, last = torch.randperm(EXAMPLES), []
        for k in range(EXAMPLES // BATCH):
            start = time.perf_counter()
            at = order[k * BATCH : (k + 1) * BATCH]
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(x[at]), y[at])
            loss.backward()
            optimizer.step()
            schedule.step()
            seconds += time.perf_counter() - start
            last.append(loss.item())
    with torch.no_grad():
        accuracy = (net(xt).argmax(1) == yt).float().mean().item()
    return accuracy, float(np.mean(last)), seconds


def ours(options, data, method, extra, seed):
    with tempfile.TemporaryDirectory() as out:
        line = [options.program, "train", "--data", str(data), "--limit", str(EXAMPLES), "--method", method]
        line += ["--model", "mlp:" + "-".join(map(str, WIDTHS)), "--normalize", "mean=0.1307,std=0.3081"]
        line += ["--epochs", str(EPOCHS), "--schedule", "linear", "--seed", str(seed), *extra]
        line += ["--threads", str(options.threads), "--out", out + "/run", "--json", "--quiet"]
        run = json.loads(subprocess.check_output(line))
        return run["test_accuracy"], run["train_loss"], run["seconds"]


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--program", default="target/release/thalweg")
    options.add_argument("--images", type=Path, required=True)
    options.add_argument("--labels", type=Path, required=True)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--seeds", type=int, default=3)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    images = (idx(options.images, 16).reshape(-1, 784) / 255 - 0.1307) / 0.3081
    labels = idx(options.labels, 8)
    cut = lambda a, b: (torch.tensor(images[a:b]).float(), torch.tensor(labels[a:b].copy()).long())
    train, test = cut(0, EXAMPLES), cut(len(labels) - 10_000, len(labels))
    mine = {
        "thalweg SGD": ("sgd", ["--lr", "0.1"]),
        "thalweg MKOR": ("mkor", ["--lr", "0.1"]),
        "thalweg M-FAC, m = 64": ("mfac", ["--window", "64", "--damp", "1e-3"]),
        "thalweg Muon": ("muon", ["--lr", "0.01"]),
    }
    results = {name: [] for name in [*mine, *RIVALS]}
    with tempfile.TemporaryDirectory() as folder:
        suffix = ".gz" if str(options.images).endswith(".gz") else ""
        os.symlink(options.images.resolve(), Path(folder) / f"train-images-idx3-ubyte{suffix}")
        os.symlink(options.labels.resolve(), Path(folder) / f"train-labels-idx1-ubyte{suffix}")
        for seed in range(1, options.seeds + 1):
            for name, (method, extra) in mine.items():
                results[name].append(ours(options, folder, method, extra, seed))
            for name in RIVALS:
                results[name].append(theirs(name, seed, train, test))
    print(f"{options.threads} threads, {options.seeds} seeds: mean (standard deviation)")
    for name, runs in results.items():
        accuracy, loss, seconds = np.array(runs).T
        print(
            f"{name:<22} accuracy {100 * accuracy.mean():.2f} ({100 * accuracy.std(ddof=1):.2f}) %"
            f"   last epoch's loss {loss.mean():.4f}   {seconds.mean():.2f} s"
            f"   loss per second {(np.log(2.303 / loss) / seconds).mean():.2f} nats of log-loss"
        )


main()
