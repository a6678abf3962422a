"""Regularisation selection on ijcnn1 by the program beside SciPy and scikit-learn, in one run.

    pip install numpy scipy scikit-learn
    cargo build --release
    THALWEG_DATA=... python peers/bilevel.py

One ridge weight per feature (exp(x_j)), the test loss as upper level. `L-BFGS-B + implicit`: Newton's method for
the lower level, the exact implicit gradient, SciPy's L-BFGS-B: the strongest known way on a problem of this size.
`scikit-learn grid`: what people do, one weight for all features. Seconds are wall time; the program's are its own
without reading the files, as are Python's.
"""

import argparse
import bz2
import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.datasets import load_svmlight_file
from sklearn.linear_model import LogisticRegression

BOX = (-10.0, 2.0)


def read(folder):
    def one(name):
        with bz2.open(folder / f"ijcnn1.{name}.svm.bz2") as file:
            rows, labels = load_svmlight_file(file, n_features=22)
        return np.asarray(rows.todense()), labels

    return *one("train"), *one("test")


def loss(margins):
    return np.logaddexp(0, -margins).mean()


def solve_lower(d, a, x, y):
    """Newton's method on the mean log-loss plus the ridge, and the Hessian at the end."""
    n, ridge = len(a), np.exp(x)
    for _ in range(100):
        p = expit(-a * (d @ y))
        gradient = -(d.T @ (a * p)) / n + ridge * y
        hessian = (d.T * (p * (1 - p))) @ d / n + np.diag(ridge)
        if np.abs(gradient).max() < 1e-12:
            break
        y = y - np.linalg.solve(hessian, gradient)
    return y, hessian


def implicit(train, test):
    (d, a), (e, b) = train, test
    state = {"y": np.zeros(d.shape[1])}

    def value(x):
        y, hessian = solve_lower(d, a, x, state["y"])
        state["y"] = y
        m = b * (e @ y)
        v = np.linalg.solve(hessian, -(e.T @ (b * expit(-m))) / len(b))
        return loss(m), -np.exp(x) * y * v

    found = minimize(value, np.zeros(d.shape[1]), jac=True, method="L-BFGS-B", bounds=[BOX] * d.shape[1],
                     options={"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-9})
    return found.fun


def grid(train, test):
    (d, a), (e, b) = train, test
    best = np.inf
    for x in np.linspace(*BOX, 25):
        model = LogisticRegression(C=1 / (len(a) * np.exp(x)), fit_intercept=False, tol=1e-6, max_iter=1000)
        y = model.fit(d, a).coef_[0]
        best = min(best, loss(b * (e @ y)))
    return best


def ours(program, folder, method, steps):
    files = ["--train", folder / "ijcnn1.train.svm.bz2", "--test", folder / "ijcnn1.test.svm.bz2"]
    line = [program, "bilevel", "regularisation", *files, "--box", f"{BOX[0]}:{BOX[1]}", "--method", method]
    line += ["--steps", str(steps), "--seed", "1", "--json", "--quiet"]
    answer = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
    return answer["upper"], answer["seconds"]


def main():
    folder = Path(os.environ.get("THALWEG_DATA", "../shared/data")) / "bilevel"
    d, a, e, b = read(folder)
    train, test = (d, a), (e, b)
    rows = []
    for name, run in [("L-BFGS-B + implicit (SciPy)", implicit), ("scikit-learn grid of 25", grid)]:
        begin = time.perf_counter()
        value = run(train, test)
        rows.append((name, value, time.perf_counter() - begin))
    for method, steps in [("pbo", 1000), ("implicit", 1000), ("pbo-single", 20000), ("grid", 25)]:
        value, seconds = ours(args.program, folder, method, steps)
        rows.append((f"thalweg {method}", value, seconds))
    print(f"{'method':32} {'test loss':>14} {'seconds':>9}")
    for name, value, seconds in rows:
        print(f"{name:32} {value:14.9f} {seconds:9.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/thalweg")
    args = parser.parse_args()
    main()
