"""The LipSDP inequality of small networks by CVXPY with Clarabel and with SCS, beside ours, in one run.

    pip install numpy cvxpy
    cargo build --release
    python peers/lipsdp.py --data ../shared/data/lipsdp

Theirs is the program of Fazlyab et al. (slopes) or Pauli et al. in its tight form (MaxMin), written in
the same coordinates and with the same exact reduction of the input as ours; their time is the solver's
own, without CVXPY's compilation, which is listed beside it. Ours is solve and proof. A value below the
optimum is no bound; ours is proved.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

import cvxpy as cp
import numpy as np

NETS = [
    ("own_digits/relu_64x16x16x16x16x10", "relu"),
    ("own_digits/relu_64x32x32x10", "relu"),
    ("own_digits/leaky_64x24x24x10", "leaky:0.1"),
    ("own_digits/maxmin_64x8x8x10", "maxmin"),
    ("own_digits/maxmin_64x24x24x24x24x10", "maxmin"),
    ("lipsdp_mit/mnist_weights", "relu"),
]


def weights(file):
    arrays = np.load(file)
    w = [arrays[f"W{i}"] for i in range(1, sum(k[0] == "W" for k in arrays) + 1)]
    if w[0].shape[0] < w[0].shape[1]:
        w[0] = np.linalg.qr(w[0].T)[1].T  # only the range of W1ᵀ matters
    return w


def sector(activation, n):
    """Mean M, spread Q, gain D and the owner of each remainder: x = M z + Q r, Σ λ((Dz)² − r²) ≥ 0."""
    if activation == "maxmin":
        plus, minus = np.kron(np.eye(n // 2), [[1], [1]]), np.kron(np.eye(n // 2), [[1], [-1]])
        return plus @ plus.T / 2, minus / np.sqrt(2), minus.T / np.sqrt(2)
    low = float(activation.split(":")[1]) if ":" in activation else 0.0
    return (1 + low) / 2 * np.eye(n), np.eye(n), (1 - low) / 2 * np.eye(n)


def program(w, activation):
    """Minimise ρ subject to M(ρ, λ) ⪰ 0; the weights are scaled to unit norm first."""
    norms = [np.linalg.norm(a, 2) for a in w]
    w = [a / s for a, s in zip(w, norms)]
    inner = [sector(activation, a.shape[0])[1].shape[1] for a in w[:-1]]
    side = w[0].shape[1] + sum(inner)
    at, h = w[0].shape[1], np.eye(w[0].shape[1], side)
    rho = cp.Variable(nonneg=True)
    matrix = rho * np.diag(np.arange(side) < at)
    for a, k in zip(w, inner):
        mean, spread, gain = sector(activation, a.shape[0])
        z, r = a @ h, np.eye(k, side, at)
        lam = cp.Variable(k, nonneg=True)
        d = gain @ z
        matrix += r.T @ cp.diag(lam) @ r - d.T @ cp.diag(lam) @ d
        h, at = mean @ z + spread @ r, at + k
    y = w[-1] @ h
    matrix = matrix - y.T @ y
    return cp.Problem(cp.Minimize(rho), [(matrix + matrix.T) / 2 >> 0]), rho, float(np.prod(norms))


def theirs(w, activation, solver, **options):
    problem, rho, scale = program(w, activation)
    start = time.perf_counter()
    try:
        problem.solve(solver=solver, **options)
    except cp.error.SolverError as error:
        return dict(value=float("nan"), seconds=float("nan"), total=time.perf_counter() - start, status=str(error))
    total = time.perf_counter() - start
    value = scale * np.sqrt(max(float(rho.value), 0)) if rho.value is not None else float("nan")
    return dict(value=value, seconds=problem.solver_stats.solve_time, total=total, status=problem.status)


def ours(program, file, activation, rounds):
    line = [program, "certify", str(file), "--activation", activation, "--json", "--quiet"]
    runs = [json.loads(subprocess.check_output(line)) for _ in range(rounds)]
    return sorted(runs, key=lambda r: r["seconds"])[rounds // 2]


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--program", default="target/release/thalweg")
    options.add_argument("--data", default="../shared/data/lipsdp")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", default="", help="networks whose name contains this")
    options.add_argument("--json", action="store_true")
    options = options.parse_args()
    rows = []
    for name, activation in NETS:
        file = Path(options.data) / f"{name}.npz"
        if options.only not in name:
            continue
        if not file.exists():
            print(f"skipped: {file} is not there")
            continue
        w = weights(file)
        row = dict(net=name, ours=ours(options.program, file, activation, options.rounds))
        row["clarabel"] = theirs(w, activation, cp.CLARABEL)
        row["scs"] = theirs(w, activation, cp.SCS, eps=1e-6, max_iters=20_000)
        rows.append(row)
        if options.json:
            continue
        mine = row["ours"]
        print(f"{name}\n  thalweg   {mine['bound']:.6f}  {mine['seconds']:.3f} s, proved")
        for solver in ("clarabel", "scs"):
            r = row[solver]
            off = r["value"] / mine["bound"] - 1
            print(
                f"  {solver:<9} {r['value']:.6f}  {r['seconds']:.3f} s ({r['total']:.1f} s with compilation), {r['status']}, "
                f"{off:+.1e} relative, {r['seconds'] / mine['seconds']:.0f} times as long"
            )
    if options.json:
        print(json.dumps(rows))


main()
