"""Black-box search of the program beside pycma (BIPOP), SciPy's differential evolution and CBXpy, in one run.

    pip install numpy scipy cma cbx ioh
    cargo build --release
    python peers/cbo.py bbob --functions 1,3,4,8 --budget 50000
    python peers/cbo.py speed

`bbob`: the 24 noiseless BBOB functions of `ioh`, which the program sees as a process that answers line by
line. Solved fractions at three precisions, and evaluations of all problems per solved one (ERT) at 1e-3.
`speed`: microseconds of processor time per step of CBO with 200 particles in 20 dimensions.
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

PRECISIONS = (1e-1, 1e-3, 1e-8)


class Done(Exception):
    pass


class Counted:
    """A BBOB function minus its optimum, which notes when each precision was reached."""

    def __init__(self, function, instance, dim, budget):
        import ioh

        self.problem = ioh.get_problem(function, instance, dim, ioh.ProblemClass.BBOB)
        self.low, self.budget, self.evals, self.best, self.hits = self.problem.optimum.y, budget, 0, np.inf, {}

    def __call__(self, x):
        if self.evals >= self.budget:
            raise Done
        self.evals += 1
        value = self.problem(np.clip(x, -5, 5)) - self.low
        if value < self.best:
            self.best = value
            for p in PRECISIONS:
                if value <= p:
                    self.hits.setdefault(p, self.evals)
            if value <= PRECISIONS[-1]:
                raise Done
        return value


def pycma(f, dim, budget, seed):
    import cma

    options = dict(bounds=[-5, 5], maxfevals=budget, verbose=-9, seed=seed + 1, ftarget=PRECISIONS[-1])
    start = lambda: np.random.uniform(-4, 4, dim)  # noqa: E731
    while True:
        cma.fmin2(f, start, 2, options, restarts=9, bipop=True)


def scipy_de(f, dim, budget, seed):
    from scipy.optimize import differential_evolution

    while True:
        differential_evolution(f, [(-5, 5)] * dim, popsize=5, maxiter=10**6, tol=1e-12, polish=False, rng=seed)
        seed += 1000


def cbxpy(f, dim, budget, seed):
    from cbx.dynamics import CBO

    np.random.seed(seed)
    while True:
        # Its defaults diverge; these are our own defaults.
        x = np.random.uniform(-5, 5, (1, 100, dim))
        dynamics = CBO(f, x=x, f_dim="1D", noise="anisotropic", sigma=3.0, dt=0.1, alpha=1e5, max_it=400, verbosity=0)
        dynamics.optimize(sched=None)


PEERS = {"pycma BIPOP": pycma, "SciPy DE": scipy_de, "CBXpy": cbxpy}


def theirs(run, function, instance, options):
    f = Counted(function, instance, options.dim, options.budget)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run(f, options.dim, options.budget, instance)
        except Done:
            pass
    return f.hits, f.evals


def ours(method, function, instance, options):
    server = f"{sys.executable} {Path(__file__).resolve()} serve {function} {instance} {options.dim}"
    with tempfile.TemporaryDirectory() as folder:
        line = [options.program, "minimize", "--process", server, "--dim", str(options.dim), "--box=-5:5"]
        line += ["--method", method, "--max-evals", str(options.budget), "--target", str(PRECISIONS[-1])]
        line += ["--seed", str(instance), "--threads", "1", "--out", folder, "--json", "--quiet"]
        found = json.loads(subprocess.check_output(line))
        hits = {}
        for row in csv.DictReader(open(Path(folder) / "history.csv")):
            for p in PRECISIONS:
                if float(row["best_f"]) <= p:
                    hits.setdefault(p, int(row["evaluations"]))
    return hits, found["evals"]


def serve(function, instance, dim):
    f = Counted(function, instance, dim, np.inf)
    for line in sys.stdin:
        print(f.problem(np.array(line.split(), float)) - f.low, flush=True)


def bbob(options):
    functions = [int(i) for i in options.functions.split(",")] if options.functions else range(1, 25)
    solvers = {f"thalweg {m}": (lambda f, i, o, m=m: ours(m, f, i, o)) for m in options.methods.split(",")}
    solvers |= {n: (lambda f, i, o, run=run: theirs(run, f, i, o)) for n, run in PEERS.items()}
    results = {name: [] for name in solvers}
    for function in functions:
        for instance in range(1, options.instances + 1):
            for name, solve in solvers.items():
                hits, evals = solve(function, instance, options)
                results[name].append(dict(function=function, instance=instance, evals=evals, hits=hits))
        line = "  ".join(
            f"{n} {sum(1e-3 in r['hits'] for r in rs if r['function'] == function)}" for n, rs in results.items()
        )
        print(f"f{function}: solved at 1e-3: {line}", file=sys.stderr)
    if options.json:
        print(json.dumps(results))
        return
    print(f"{'':<18}" + "".join(f"{p:>9.0e}" for p in PRECISIONS) + "   ERT at 1e-3")
    for name, rows in results.items():
        share = [np.mean([p in r["hits"] for r in rows]) for p in PRECISIONS]
        spent = sum(r["hits"].get(1e-3, options.budget) for r in rows)
        solved = sum(1e-3 in r["hits"] for r in rows)
        print(f"{name:<18}" + "".join(f"{s:>9.2f}" for s in share) + f"   {spent / solved if solved else np.inf:.0f}")


def speed(options):
    from cbx.dynamics import CBO

    x = np.random.uniform(-5, 5, (1, 200, 20))
    sphere = lambda x: (x**2).sum(axis=-1)  # noqa: E731
    ratios = []
    for _ in range(options.rounds):
        d = CBO(sphere, x=x.copy(), f_dim="3D", noise="anisotropic", sigma=1.0, dt=0.1, alpha=1e5, max_it=10**9, verbosity=0)
        began = time.process_time()
        for _ in range(1000):
            d.step()
        theirs = 1e3 * (time.process_time() - began)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        line = [options.program, "minimize", "--function", "sphere", "--dim", "20", "--method", "cbo"]
        line += ["--particles", "200", "--set", "noise_ratio=0.3", "--max-evals", "800001", "--threads", "1", "--json", "--quiet"]
        found = json.loads(subprocess.check_output(line))
        mine = 2e8 * (resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before) / found["evals"]
        ratios.append(theirs / mine)
        print(f"CBXpy {theirs:.0f} µs, ours {mine:.1f} µs per step: {theirs / mine:.1f} times as fast")
    print(f"median {np.median(ratios):.1f} (6 wanted)")


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--program", default="target/release/thalweg")
    verbs = options.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("bbob")
    verb.add_argument("--functions", default="", help="numbers, default all 24")
    verb.add_argument("--methods", default="auto,cbo", help="methods of the program")
    verb.add_argument("--dim", type=int, default=5)
    verb.add_argument("--instances", type=int, default=3)
    verb.add_argument("--budget", type=int, default=50_000)
    verb.add_argument("--json", action="store_true")
    verbs.add_parser("speed").add_argument("--rounds", type=int, default=5)
    verb = verbs.add_parser("serve")
    for name in ("function", "instance", "dim"):
        verb.add_argument(name, type=int)
    options = options.parse_args()
    if options.verb == "serve":
        serve(options.function, options.instance, options.dim)
    elif options.verb == "bbob":
        bbob(options)
    else:
        speed(options)


main()
