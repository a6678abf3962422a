"""Convex training of two-layer ReLU networks beside CVXPY with Clarabel, pyscnn, PyTorch and scikit-learn.

    cargo build --release
    peers/.venv/bin/python peers/convex_relu.py --data ../shared/data/convex-relu

Every peer solves the same problem in the same run on the same machine: the listed patterns D, sums
of losses, beta on the sum of norms. Times are wall times of the solve alone; ours is the program's own
`seconds`. Peers that are not installed are left out. Writes one JSON object per row to --out.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

SETS = {"sampled_bc": 0.1, "sampled_dg38": 0.1, "adv_bc": 0.01, "adv_dg38": 0.01}
LOSSES = ("squared", "hinge", "bce")


def arrays(data, name):
    z = np.load(data / f"{name}.npz")
    test = (z["Xtest"], z["ytest"]) if "Xtest" in z else (None, None)
    return z["Xtrain"], z["ytrain"], z["D"].astype(float), *test


def loss_of(r, y, loss):
    if loss == "squared":
        return 0.5 * np.sum((r - y) ** 2)
    if loss == "hinge":
        return np.sum(np.maximum(0, 1 - y * r))
    return np.sum(np.logaddexp(0, -2 * y * r))


def objective(u, alpha, x, y, loss, beta):
    """Non-convex objective of the network x -> relu(x u) alpha."""
    r = np.maximum(x @ u, 0) @ alpha
    return loss_of(r, y, loss) + 0.5 * beta * (np.sum(u**2) + np.sum(alpha**2))


def accuracy(u, alpha, x, y):
    return float(np.mean((np.maximum(x @ u, 0) @ alpha >= 0) == (y > 0)))


def ours(program, data, name, loss, beta, method, tol):
    with tempfile.TemporaryDirectory() as out:
        line = [program, "fit", "convex-relu", "--train", str(data / f"{name}.npz"), "--loss", loss]
        line += ["--beta", str(beta), "--tol", str(tol), "--threads", "1", "--out", out, "--json", "--quiet"]
        if method:
            line += ["--method", method]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise RuntimeError(done.stderr)
    s = json.loads(done.stdout)
    return {
        "value": s["objective"],
        "bound": s["dual_bound"],
        "gap": s["gap"],
        "seconds": s["seconds"],
        "test": s["test_accuracy"],
    }


def cvxpy_solve(data, name, loss, beta, solver):
    import cvxpy as cp

    x, y, d, xt, yt = arrays(data, name)
    (n, k), p = x.shape, d.shape[1]
    v, w = cp.Variable((k, p)), cp.Variable((k, p))
    r = cp.sum(cp.multiply(d, x @ (v - w)), axis=1)
    e = 2 * d - 1
    fit = {
        "squared": lambda: 0.5 * cp.sum_squares(r - y),
        "hinge": lambda: cp.sum(cp.pos(1 - cp.multiply(y, r))),
        "bce": lambda: cp.sum(cp.logistic(cp.multiply(-2 * y, r))),
    }[loss]()
    cost = fit + beta * (cp.sum(cp.norm(v, 2, axis=0)) + cp.sum(cp.norm(w, 2, axis=0)))
    problem = cp.Problem(cp.Minimize(cost), [cp.multiply(e, x @ v) >= 0, cp.multiply(e, x @ w) >= 0])
    start = time.perf_counter()
    problem.solve(solver=solver)
    seconds = time.perf_counter() - start
    solve_time = problem.solver_stats.solve_time
    cols = np.concatenate([v.value, w.value], axis=1)
    size = np.linalg.norm(cols, axis=0)
    keep = size > 1e-7 * size.sum()
    root = np.sqrt(size[keep])
    u, alpha = cols[:, keep] / root, root * np.repeat([1, -1], p)[keep]
    return {
        "value": float(problem.value),
        "network": float(objective(u, alpha, x, y, loss, beta)),
        "seconds": seconds,
        "solver_seconds": solve_time,
        "test": accuracy(u, alpha, xt, yt),
    }


def pyscnn(data, name, beta):
    """Squared loss only, divided by 2n there: lambda = beta / n; scored on its returned network."""
    from scnn.metrics import Metrics
    from scnn.models import ConvexReLU
    from scnn.optimize import optimize_model
    from scnn.regularizers import NeuronGL1
    from scnn.solvers import AL

    x, y, d, xt, yt = arrays(data, name)
    # A generating direction per pattern is not stored: draw as many gates as there are patterns.
    gates = np.random.default_rng(0).standard_normal((x.shape[1], d.shape[1]))
    model = ConvexReLU(gates)
    solver = AL(model)
    start = time.perf_counter()
    model, _ = optimize_model(
        model, solver, Metrics(), x, y[:, None], x, y[:, None], regularizer=NeuronGL1(beta / len(y)),
        device="cpu", unitize_data=False, dtype="float64",
    )[:2]
    seconds = time.perf_counter() - start
    # A plain network comes back: hidden weights by neuron, then one row of output weights.
    u, alpha = np.asarray(model.parameters[0]).T, np.asarray(model.parameters[1])[0]
    return {
        "value": float(objective(u, alpha, x, y, "squared", beta)),
        "seconds": seconds,
        "test": accuracy(u, alpha, xt, yt),
    }


def torch_train(data, name, loss, beta, optimiser, lr, seed, hidden, steps):
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    x, y, _, xt, yt = arrays(data, name)
    tx, ty = torch.tensor(x), torch.tensor(y, dtype=torch.float64)
    u = (torch.randn(x.shape[1], hidden, dtype=torch.float64) / x.shape[1] ** 0.5).requires_grad_()
    alpha = (torch.randn(hidden, dtype=torch.float64) / hidden**0.5).requires_grad_()
    make = {"sgd": lambda p: torch.optim.SGD(p, lr, momentum=0.9), "adam": lambda p: torch.optim.Adam(p, lr)}
    opt = make[optimiser]([u, alpha])
    trace, start = [], time.perf_counter()
    for _ in range(steps):
        opt.zero_grad()
        r = torch.relu(tx @ u) @ alpha
        if loss == "squared":
            value = 0.5 * ((r - ty) ** 2).sum()
        elif loss == "hinge":
            value = torch.relu(1 - ty * r).sum()
        else:
            value = torch.nn.functional.softplus(-2 * ty * r).sum()
        value = value + 0.5 * beta * ((u**2).sum() + (alpha**2).sum())
        value.backward()
        opt.step()
        trace.append((time.perf_counter() - start, value.item()))
    un, an = u.detach().numpy(), alpha.detach().numpy()
    return trace, objective(un, an, x, y, loss, beta), accuracy(un, an, xt, yt)


def torch_best(data, name, loss, beta, optimum, optimiser, seeds, steps):
    rates = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2) if optimiser == "sgd" else (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
    runs = [
        torch_train(data, name, loss, beta, optimiser, lr, seed, 32, steps) for lr in rates for seed in range(seeds)
    ]

    def reach(trace, within):
        return next((t for t, v in trace if v <= optimum * (1 + within)), float("inf"))

    value, test = min((v, t) for _, v, t in runs if np.isfinite(v))
    row = {"value": float(value), "test": test, "runs": len(runs)}
    for within in (1e-2, 1e-3):
        row[f"median_seconds_to_{within:g}"] = float(np.median([reach(t, within) for t, _, _ in runs]))
    return row


def sklearn_scores(data, name):
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import SVC

    x, y, _, xt, yt = arrays(data, name)
    scale = np.sqrt(x.shape[1])  # undo the division by sqrt(d + 1)
    models = {
        "LogisticRegression": LogisticRegression(max_iter=1000),
        "SVC-rbf": SVC(),
        "MLPClassifier": MLPClassifier((32,), max_iter=1000, random_state=0),
    }
    for label, model in models.items():
        start = time.perf_counter()
        model.fit(x * scale, y)
        yield label, {"test": float(model.score(xt * scale, yt)), "seconds": time.perf_counter() - start}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="target/release/thalweg")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/convex-relu"))
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--skip", nargs="*", default=[], help="peers to leave out: cvxpy scs pyscnn torch sklearn")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []

    def attempt(peer, name, loss, solve):
        try:
            row = {"set": name, "loss": loss, "peer": peer, **solve()}
        except Exception as e:  # a peer that fails or is absent is a row too
            row = {"set": name, "loss": loss, "peer": peer, "failed": f"{type(e).__name__}: {e}"[:200]}
        rows.append(row)
        print(json.dumps(row), flush=True)
        return row

    for name in args.sets:
        beta = SETS[name]
        for loss in LOSSES:
            first = attempt("thalweg", name, loss, lambda: ours(args.program, args.data, name, loss, beta, "admm", 1e-4))
            attempt("thalweg exact", name, loss, lambda: ours(args.program, args.data, name, loss, beta, "exact", 1e-4))
            if "cvxpy" not in args.skip:
                attempt("cvxpy clarabel", name, loss, lambda: cvxpy_solve(args.data, name, loss, beta, "CLARABEL"))
            if "scs" not in args.skip:
                attempt("cvxpy scs", name, loss, lambda: cvxpy_solve(args.data, name, loss, beta, "SCS"))
            if "pyscnn" not in args.skip and loss == "squared":
                attempt("pyscnn", name, loss, lambda: pyscnn(args.data, name, beta))
            if "torch" not in args.skip and "value" in first:
                for optimiser in ("sgd", "adam"):
                    attempt(
                        f"torch {optimiser}", name, loss,
                        lambda o=optimiser: torch_best(
                            args.data, name, loss, beta, first["value"], o, args.seeds, args.steps
                        ),
                    )
        if "sklearn" not in args.skip:
            try:
                for label, score in sklearn_scores(args.data, name):
                    attempt(label, name, None, lambda s=score: s)
            except ImportError as e:
                print(f"left out: {e}")
    if args.out:
        args.out.write_text("".join(json.dumps(r) + "\n" for r in rows))


if __name__ == "__main__":
    main()
