"""Linear solvers of SciPy and PyAMG beside ours, in one run: single systems, then the heat simulation.

    pip install numpy scipy pyamg
    cargo build --release
    python peers/relax.py --nx 100

Single systems are one Crank-Nicolson step (I + s (4 - neighbours)) x = b of the heat equation for three
step lengths, from zero to a relative residual of 1e-8; ours reads them from MatrixMarket files and runs
its general sparse kernels. The simulation is that of `thalweg linsolve sequence --problem heat`: SciPy's CG
makes every step, the dearer solvers every 50th from the same start; seconds are those of the solvers alone.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pyamg
import scipy.io
import scipy.sparse as sp
import scipy.sparse.linalg as sla


def laplacian(n):
    line = sp.diags([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], [-1, 0, 1])
    return (sp.kron(sp.eye(n), line) + sp.kron(line, sp.eye(n))).tocsr()


def timed(call):
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def cg(a, b, x0=None, m=None):
    count = [0]

    def step(_):
        count[0] += 1

    x, _ = sla.cg(a, b, x0=x0, rtol=1e-8, atol=0, M=m, callback=step)
    return x, count[0]


def splu(a, b, x0=None):
    return sla.splu(a.tocsc()).solve(b), 1


def amg(build):
    def solve(a, b, x0=None):
        residuals = []
        x = build(a).solve(b, x0=x0, tol=1e-8, accel="cg", residuals=residuals)
        return x, len(residuals) - 1

    return solve


def sor(omega):
    def solve(a, b, x0=None):
        x = np.zeros_like(b) if x0 is None else x0.copy()
        target = 1e-8 * np.linalg.norm(b - a @ x)
        for k in range(1, 10_001):
            pyamg.relaxation.relaxation.sor(a, x, b, omega)
            if np.linalg.norm(b - a @ x) < target:
                break
        return x, k

    return solve


PEERS = {
    "SciPy cg": cg,
    "SciPy splu": splu,
    "PyAMG Ruge-Stüben + cg": amg(pyamg.ruge_stuben_solver),
    "PyAMG smoothed aggregation + cg": amg(pyamg.smoothed_aggregation_solver),
    "PyAMG sor, ω = 1.6": sor(1.6),
}


def ours(options, *line):
    run = subprocess.check_output([options.program, "linsolve", *line, "--json", "--quiet"])
    return json.loads(run)


def single(options, a0, folder):
    n = a0.shape[0]
    rng = np.random.default_rng(1)
    b = rng.standard_normal(n)
    scipy.io.mmwrite(folder / "b.mtx", b[:, None])
    rows = []
    for kdt in (0.05, 1.0, 10.0):
        s = 0.5 * kdt * 1e-3 * options.nx**2
        a = (sp.eye(n) + s * a0).tocsr()
        scipy.io.mmwrite(folder / "a.mtx", a, symmetry="symmetric")
        row = {}
        for name, solve in PEERS.items():
            runs = [timed(lambda: solve(a, b)) for _ in range(options.rounds)]
            runs.sort(key=lambda r: r[0])
            row[name] = (1e3 * runs[len(runs) // 2][0], runs[0][1][1])
        for name, line in [
            ("thalweg cg", ["--method", "cg"]),
            ("thalweg ssor-cg, ω = 1.6", ["--method", "ssor-cg", "--omega", "1.6"]),
            ("thalweg sor, ω = 1.6", ["--method", "sor", "--omega", "1.6"]),
        ]:
            line = ["solve", "--matrix", str(folder / "a.mtx"), "--rhs", str(folder / "b.mtx"), *line]
            runs = sorted((ours(options, *line) for _ in range(options.rounds)), key=lambda r: r["seconds"])
            row[name] = (1e3 * runs[len(runs) // 2]["seconds"], runs[0]["iterations"])
        rows.append(dict(kappa_dt=kdt, solvers=row))
    return rows


def bump(x, y, cx, cy, r):
    d = np.minimum(((x - cx) ** 2 + (y - cy) ** 2) / r**2, 1 - 1e-12)
    return np.where(d < 1 - 1e-9, np.exp(1 - 1 / (1 - d)), 0)


def simulation(options, a0):
    nx, dt, steps = options.nx, 1e-3, options.steps
    n = a0.shape[0]
    at = np.arange(1, nx) / nx
    y, x = (g.ravel() for g in np.meshgrid(at, at, indexing="ij"))
    u = bump(x, y, 0.5, 0.5, 0.25)
    eye = sp.eye(n, format="csr")
    seconds, counts, sampled = {k: 0.0 for k in PEERS}, {k: 0 for k in PEERS}, 0
    for t in range(steps):
        half = (t + 0.5) * dt
        sine = np.sin(2 * np.pi * half)
        s = 0.5 * max(0.1 * sine, -10 * sine) * dt * nx**2
        a = eye + s * a0
        angle = 16 * np.pi * half
        b = 2 * u - a @ u + dt * 32 * bump(x, y, 0.5 + 0.25 * np.cos(angle), 0.5 + 0.25 * np.sin(angle), 0.125)
        if t % 50 == 25:
            sampled += 1
            for name, solve in list(PEERS.items())[1:]:
                took, (_, count) = timed(lambda: solve(a, b, u))
                seconds[name] += took
                counts[name] += count
        took, (u, count) = timed(lambda: cg(a, b, u))
        seconds["SciPy cg"] += took
        counts["SciPy cg"] += count
    rows = {}
    for name in PEERS:
        share = steps if name == "SciPy cg" else sampled
        rows[name] = (1e3 * seconds[name] / share, counts[name] / share)
    # Ours makes the whole simulation, of which the peers make the first steps.
    for policy, method in [("fixed:1", "cg"), ("fixed:1.5", "ssor-cg"), ("chebcb", "ssor-cg"), ("joint", "ssor-cg")]:
        line = ["sequence", "--problem", "heat", "--nx", str(nx), "--policy", policy, "--method", method]
        got = ours(options, *line, "--seed", "1", "--no-compare")
        name = f"thalweg {method}, ω by {policy}" if method != "cg" else "thalweg cg"
        rows[name] = (1e3 * got["seconds"] / got["steps"], got["total_iterations"] / got["steps"])
    return rows


def show(title, rows):
    print(title)
    for name, (ms, iterations) in rows.items():
        print(f"  {name:<36} {ms:9.2f} ms   {iterations:8.1f} iterations")


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--program", default="target/release/thalweg")
    options.add_argument("--nx", type=int, default=100, help="cells per side")
    options.add_argument("--steps", type=int, default=1000, help="steps of the peers: 1000 are one period")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--json", action="store_true")
    options = options.parse_args()
    a0 = laplacian(options.nx - 1)
    with tempfile.TemporaryDirectory() as folder:
        singles = single(options, a0, Path(folder))
    steps = simulation(options, a0)
    if options.json:
        print(json.dumps(dict(singles=singles, simulation=steps)))
        return
    for row in singles:
        show(f"one system, {a0.shape[0]} unknowns, κΔt = {row['kappa_dt'] * 1e-3:g}", row["solvers"])
    show("a step of the simulation", steps)


main()
