"""Our M-FAC products beside the published recursion in PyTorch on the CPU, alternating in one run.

    cargo build --release -p thalweg-mfac --example products
    peers/.venv/bin/python peers/mfac_products.py [--threads 1] [--rounds 5] [--m 64 256] [--d 100000]

The recursion builds its m vectors row by row in single precision, as the authors' program does; ours
factors the m x m Gram matrix. Both get the same m random gradients and multiply the last of them, which is
what the optimiser does. The reference for the errors is Woodbury's formula in double precision with a step
of refinement. Targets: precomputation with one product at least 2 times faster; the error never larger,
and at least 10 times smaller wherever the recursion's exceeds 1e-4. `step` is our optimiser's step on a
window of m gradients against the time to copy that window, which moves as many bytes as reading it twice;
target 1.5.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Recursion:
    """v_i = g_i/damp - sum_k (v_k.g_i / q_k) v_k,  q_i = m + g_i.v_i."""

    def __init__(self, g, damp):
        m = len(g)
        self.damp, self.v, self.q = damp, torch.empty_like(g), torch.empty(m, dtype=g.dtype)
        for i in range(m):
            v, q = self.v[:i], self.q[:i]
            self.v[i] = g[i] / damp
            if i:
                self.v[i] -= ((v @ g[i]) / q) @ v
            self.q[i] = m + g[i] @ self.v[i]

    def ihvp(self, x):
        return x / self.damp - ((self.v @ x) / self.q) @ self.v

    def diag(self):
        return 1 / self.damp - (self.v**2).T @ (1 / self.q)


def exact(g, x, damp):
    """F^-1 x and the diagonal of F^-1 in double precision."""
    g, x, m = g.double(), x.double(), len(g)
    c = torch.linalg.cholesky(g @ g.T + m * damp * torch.eye(m, dtype=g.dtype))
    solve = lambda x: (x - torch.cholesky_solve((g @ x)[:, None], c)[:, 0] @ g) / damp
    y = solve(x)
    y += solve(x - damp * y - (g @ y) @ g / m)
    w = torch.linalg.solve_triangular(c, g, upper=False)
    return y, (1 - (w**2).sum(0)) / damp


def timed(run):
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def error(a, b):
    return float((a.double() - b).norm() / b.norm())


def compare(args, m, damp, folder):
    rng = np.random.default_rng(1)
    numbers = rng.standard_normal((m + 1, args.d)).astype(np.float32)
    numbers[m] = numbers[m - 1]
    numbers.tofile(folder / "g")
    g, x = torch.from_numpy(numbers[:m]), torch.from_numpy(numbers[m])
    line = [args.program, folder / "g", folder / "out", str(m), str(damp), "1", str(args.threads)]
    ours, theirs = {}, {}
    keep = lambda best, name, seconds: best.update({name: min(seconds, best.get(name, seconds))})
    for _ in range(args.rounds):
        for name, seconds in json.loads(subprocess.check_output(line)).items():
            keep(ours, name, seconds)
        seconds, recursion = timed(lambda: Recursion(g, damp))
        keep(theirs, "precompute", seconds)
        seconds, y = timed(lambda: recursion.ihvp(x))
        keep(theirs, "ihvp", seconds)
        seconds, diag = timed(recursion.diag)
        keep(theirs, "diag", seconds)
    mine = torch.from_numpy(np.fromfile(folder / "out", dtype=np.float32)).split(args.d)
    reference = exact(g, x, damp)
    errors = {"ihvp": [error(a, reference[0]) for a in (mine[0], y)], "diag": [error(a, reference[1]) for a in (mine[1], diag)]}
    for best in (ours, theirs):
        best["precompute+ihvp"] = best["precompute"] + best["ihvp"]
    return {"m": m, "d": args.d, "damp": damp, "threads": args.threads, "ours": ours, "recursion": theirs, "errors": errors}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--m", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--d", type=int, default=100_000)
    parser.add_argument("--damp", type=float, nargs="+", default=[1e-3, 1e-5, 1e-7])
    parser.add_argument("--program", default=ROOT / "target/release/examples/products", help="the built example")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"PyTorch {torch.__version__}, {args.threads} thread(s), d = {args.d}, least wall time of {args.rounds} rounds")
    yes = lambda held: "yes" if held else "no"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for m in args.m:
            for damp in args.damp:
                row = compare(args, m, damp, pathlib.Path(folder))
                rows.append(row)
                ours, theirs = row["ours"], row["recursion"]
                print(f"\nm = {m}, damp = {damp:g}: step {ours['step'] * 1e3:.1f} ms, copy of the window {ours['copy'] * 1e3:.1f} ms, "
                      f"ratio {ours['step'] / ours['copy']:.2f} (target 1.5), element {ours['element'] * 1e6:.1f} us")
                for name in ("precompute+ihvp", "precompute", "ihvp", "diag"):
                    speedup = theirs[name] / ours[name]
                    target = f", target 2: {yes(speedup >= 2)}" if name == "precompute+ihvp" else ""
                    print(f"  {name:16} ours {ours[name] * 1e3:9.2f} ms, recursion {theirs[name] * 1e3:9.2f} ms, {speedup:5.2f} times faster{target}")
                for name, (a, b) in row["errors"].items():
                    held = a <= b and (b <= 1e-4 or a <= b / 10)
                    print(f"  error of {name:7} ours {a:.1e}, recursion {b:.1e}, target: {yes(held)}", flush=True)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
