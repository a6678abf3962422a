"""MKOR of the program beside SOAP, Muon, AdamW and SGD in PyTorch: loss against seconds on MNIST.

    cargo build --release
    peers/.venv/bin/python peers/mkor_k1.py --threads 2

Each trains the perceptron 784-256-128-10 on the first 10,000 images in mini-batches of 128, with a
rate that falls on a line, and is tested on the last 10,000. The two programs alternate seed by seed.
"""

import argparse
import gzip
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from pytorch_optimizer import SOAP, Muon

WIDTHS, BATCH, TRAIN = [784, 256, 128, 10], 128, 10_000


def mnist(folder):
    def read(name, offset):
        with gzip.open(Path(folder) / name) as file:
            return np.frombuffer(file.read(), np.uint8, offset=offset)

    x = read("mnist-train-images-idx3-ubyte.gz", 16).reshape(-1, 784).astype(np.float32)
    y = read("mnist-train-labels-idx1-ubyte.gz", 8).astype(np.int64)
    return (x[:TRAIN], y[:TRAIN]), (x[-TRAIN:], y[-TRAIN:])


def ours(method, extra):
    def train(options, data, seed):
        with tempfile.TemporaryDirectory() as out:
            line = [options.program, "train", "--data", data, "--normalize", "mean=0,std=1", "--method", method]
            line += ["--model", "mlp:" + "-".join(map(str, WIDTHS)), "--batch", str(BATCH), "--schedule", "linear"]
            line += ["--epochs", str(options.epochs), "--seed", str(seed), "--threads", str(options.threads)]
            line += [*extra, "--out", out + "/run", "--json", "--quiet"]
            summary = json.loads(subprocess.check_output(line))
            records = map(json.loads, (Path(out) / "run" / "metrics.jsonl").read_text().splitlines())
            curve = [(r["seconds"], r["train_loss"]) for r in records if "train_loss" in r]
            return summary["seconds_per_step"], curve, summary["test_accuracy"]

    return train


def torch_net():
    layers = []
    for a, b in zip(WIDTHS, WIDTHS[1:]):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def muon(net):
    def part(matrices):
        return {"params": [p for p in net.parameters() if (p.ndim > 1) == matrices], "use_muon": matrices}

    return Muon([part(True), part(False)], lr=0.01)


def theirs(make):
    def train(options, data, seed):
        torch.manual_seed(seed)
        net = torch_net()
        optimizer, arrays = make(net), np.load(data)
        x, y = torch.tensor(arrays["x"]) / 255, torch.tensor(arrays["y"])
        per_epoch = len(x) // BATCH
        steps, seconds, curve = options.epochs * per_epoch, 0.0, []
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 - t / steps)
        for _ in range(options.epochs):
            start, losses = time.perf_counter(), []
            for at in torch.randperm(len(x))[: per_epoch * BATCH].split(BATCH):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(net(x[at]), y[at])
                loss.backward()
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
            seconds += time.perf_counter() - start
            curve.append((seconds, statistics.mean(losses)))
        with torch.no_grad():
            right = net(torch.tensor(arrays["x_test"]) / 255).argmax(1) == torch.tensor(arrays["y_test"])
        return seconds / steps, curve, right.float().mean().item()

    return train


CASES = {
    "ours mkor": ours("mkor", ["--lr", "0.1"]),
    "ours sgd": ours("sgd", ["--lr", "0.1"]),
    "torch sgd": theirs(lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)),
    "torch adamw": theirs(lambda net: torch.optim.AdamW(net.parameters(), lr=1e-3)),
    "torch muon": theirs(muon),
    "torch soap": theirs(lambda net: SOAP(net.parameters(), lr=3e-3, weight_decay=0.0)),
}


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--program", default="target/release/thalweg")
    options.add_argument("--data", default="../shared/data/vision", help="folder with MNIST's training files")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, default=4)
    options.add_argument("--target", type=float, default=0.1, help="training loss to be reached")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    (x, y), (x_test, y_test) = mnist(options.data)
    runs = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "mnist.npz")
        np.savez(data, x=x, y=y, x_test=x_test, y_test=y_test)
        for seed in range(1, options.seeds + 1):
            for name, train in CASES.items():
                runs[name].append(train(options, data, seed))
    print(f"{'':12} ms/step   loss of epoch 2, {options.epochs}   accuracy   seconds to {options.target}")
    for name, results in runs.items():
        pace = 1e3 * statistics.median(r[0] for r in results)
        second, last = (statistics.mean(r[1][e][1] for r in results) for e in (min(1, options.epochs - 1), -1))
        accuracy = statistics.mean(r[2] for r in results)
        reached = [next((s for s, loss in r[1] if loss <= options.target), None) for r in results]
        when = "never" if None in reached else f"{statistics.median(reached):.2f}"
        print(f"{name:12} {pace:7.2f}   {second:8.4f} {last:8.4f}   {100 * accuracy:7.2f}%   {when}")


main()
