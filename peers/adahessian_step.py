"""Time of one AdaHessian step, ours and pytorch_optimizer's, alternating in one run.

    cargo build --release
    peers/.venv/bin/python peers/adahessian_step.py --threads 2

Both train the same perceptron on random images of the size of MNIST's, batch 128; a step is batch,
gradient, Hessian-vector product and update. The program times its own steps; PyTorch's are timed here.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from pytorch_optimizer import AdaHessian

WIDTHS = [784, 512, 512, 10]
BATCH, EXAMPLES = 128, 4096


def ours(program, data, steps, threads):
    with tempfile.TemporaryDirectory() as out:
        model = "mlp:" + "-".join(map(str, WIDTHS))
        line = [program, "train", "--data", data, "--model", model, "--method", "adahessian", "--lr", "0.01"]
        line += ["--steps", str(steps), "--threads", str(threads), "--out", out + "/run", "--json", "--quiet"]
        return json.loads(subprocess.check_output(line))["seconds_per_step"]


class Theirs:
    def __init__(self, x, y):
        layers = []
        for a, b in zip(WIDTHS, WIDTHS[1:]):
            layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1])
        self.optimizer = AdaHessian(self.net.parameters(), lr=0.01)
        self.x, self.y = torch.tensor(x).float(), torch.tensor(y).long()

    def time(self, steps):
        start = time.perf_counter()
        for _ in range(steps):
            at = torch.randint(EXAMPLES, (BATCH,))
            self.optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(self.net(self.x[at]), self.y[at])
            loss.backward(create_graph=True)
            self.optimizer.step()
        return (time.perf_counter() - start) / steps


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--program", default="target/release/thalweg")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--steps", type=int, default=50)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((EXAMPLES, WIDTHS[0])).astype(np.float32), rng.integers(0, 10, EXAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "images.npz")
        np.savez(data, x=x, y=y)
        theirs, rounds = Theirs(x, y), []
        theirs.time(5)
        for _ in range(options.rounds):
            rounds.append((ours(options.program, data, options.steps, options.threads), theirs.time(options.steps)))
    ours_ms, theirs_ms = (1e3 * statistics.median(column) for column in zip(*rounds))
    print(f"{options.threads} threads: ours {ours_ms:.2f} ms, PyTorch {theirs_ms:.2f} ms, ratio {ours_ms / theirs_ms:.2f} (target 0.8)")


main()
