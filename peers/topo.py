"""DAG learning of the program beside others, in one run.

    pip install numpy causal-learn lingam semopy
    pip install --no-deps dagma            # its linear part needs NumPy, SciPy, tqdm and, to import, PyTorch
    cargo build --release
    python peers/topo.py --data ../shared/data/topo

Theirs: the published search in NumPy as its official script goes about it (each candidate's columns refitted
by regressions on the samples, one after the other), DAGMA, causal-learn's BOSS and GRaSP, DirectLiNGAM. Ours
is timed inside the program, without reading files; theirs around the call. SHD is of graphs; CPDAG-SHD, from
`thalweg dag eval`, of equivalence classes.
"""

import argparse
import contextlib
import io
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np


def read(file):
    with np.lib.npyio.DataSource().open(str(file), "rt") as lines:
        names = lines.readline().strip().split(",")
        return names, np.loadtxt(lines, delimiter=",")


class Program:
    def __init__(self, path, folder):
        self.path, self.folder = path, Path(folder)

    def call(self, *line):
        return json.loads(subprocess.check_output([self.path, "dag", *map(str, line), "--json", "--quiet"]))

    def fit(self, file, *options, rounds=5):
        out = self.folder / "g"
        runs = [self.call("fit", file, *options, "--out", out) for _ in range(rounds)]
        return sorted(r["seconds"] for r in runs)[rounds // 2], runs[0]["score"], out / "graph.csv"

    def eval(self, truth, est):
        return self.call("eval", "--truth", truth, "--est", est)

    def edges(self, names, pairs):
        """A file with these edges."""
        file = self.folder / "edges.csv"
        file.write_text("from,to\n" + "".join(f"{names[u]},{names[v]}\n" for u, v in pairs))
        return file


# The published search, as its script does it.


def regress(x, v, parents):
    if not parents:
        return np.zeros(0)
    return np.linalg.lstsq(x[:, parents], x[:, v], rcond=None)[0]


def refit(x, w, order, a, b):
    w = w.copy()
    for k in range(a, b + 1):
        v, before = order[k], order[:k]
        w[:, v] = 0
        w[before, v] = regress(x, v, before)
    return w


def loss(x, w):
    return 0.5 / len(x) * np.square(x - x @ w).sum()


def swaps(x, order, small, large, budget):
    d = x.shape[1]
    x = x - x.mean(0)
    order = list(order)
    w = refit(x, np.zeros((d, d)), order, 0, d - 1)
    q, used = loss(x, w), 0

    def tried(pairs):
        good = []
        for a, b in pairs:
            moved = order.copy()
            moved[a], moved[b] = moved[b], moved[a]
            change = loss(x, refit(x, w, moved, a, b)) - q
            if change < 0:
                good.append((change, a, b))
        taken = []
        for _, a, b in sorted(good):
            if all(b < c or e < a for c, e in taken):
                taken.append((a, b))
        for a, b in taken:
            order[a], order[b] = order[b], order[a]
        return bool(taken)

    while True:
        walks = np.linalg.inv(np.eye(d) - np.abs(w)).T
        pairs = sorted((walks[order[b], order[a]], a, b) for a in range(d) for b in range(a + 1, d))
        pairs = [(a, b) for _, a, b in pairs]
        if not tried(pairs[:small]):
            if used >= budget or not tried(pairs[small:large]):
                return order, w, q
            used += 1
        w = refit(x, w, order, 0, d - 1)
        q = loss(x, w)


def timed(call):
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        result = call()
    return result, time.perf_counter() - start


def strong(w, threshold=0.3):
    return list(zip(*np.nonzero(np.abs(w) >= threshold)))


def directed(graph):
    """Edges of a causal-learn graph: -1 at [i, j] and 1 at [j, i] is i → j; an undirected edge, which `dag
    eval` cannot take, is told apart."""
    g = graph.graph
    pairs = [(i, j) for i in range(len(g)) for j in range(len(g))]
    arrows = [(i, j) for i, j in pairs if g[i, j] == -1 and g[j, i] == 1]
    lines = [(i, j) for i, j in pairs if i < j and g[i, j] == -1 and g[j, i] == -1]
    return arrows, lines


def class_distance(graph, truth_class, names):
    """Pairs that two equivalence classes connect differently."""
    arrows, lines = directed(graph)
    mine = {frozenset(p): ("directed", p) for p in arrows} | {frozenset(p): ("undirected", None) for p in lines}
    at = {n: i for i, n in enumerate(names)}
    theirs = {}
    for u, v, kind in truth_class:
        p = (at[u], at[v])
        theirs[frozenset(p)] = (kind, p if kind == "directed" else None)
    return sum(mine.get(k) != theirs.get(k) for k in mine.keys() | theirs.keys())


def true_class(program, truth, data, names):
    """The equivalence class of a graph, read from the program's files."""
    lines = Path(truth).read_text().strip().splitlines()
    head = lines[0].split(",")
    at = (head.index("parent"), head.index("node")) if "parent" in head else (head.index("from"), head.index("to"))
    wanted = [tuple(line.split(",")[i] for i in at) for line in lines[1:]]
    wanted = [e for e in wanted if e[0]]
    require, forbid = program.folder / "require.csv", program.folder / "forbid.csv"
    require.write_text("from,to\n" + "".join(f"{u},{v}\n" for u, v in wanted))
    rest = [(u, v) for u in names for v in names if u != v and (u, v) not in set(wanted)]
    forbid.write_text("from,to\n" + "".join(f"{u},{v}\n" for u, v in rest))
    options = ["--score", "bic", "--restarts", 0, "--require", require, "--forbid", forbid]
    return program.call("fit", data, *options)["cpdag_edges"]


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--program", default="target/release/thalweg")
    options.add_argument("--data", default="../shared/data/topo")
    options.add_argument("--only", default="", help="parts whose name contains this")
    options = options.parse_args()
    data = Path(options.data)
    folder = tempfile.TemporaryDirectory()
    program = Program(options.program, folder.name)
    print(f"{'set':<22}{'method':<40}{'score':>10}{'SHD':>6}{'CPDAG':>7}{'seconds':>11}  ratio")

    def row(name, method, score, shd, cpdag, seconds, ours):
        score = f"{score:.4f}" if score is not None else "–"
        print(f"{name:<22}{method:<40}{score:>10}{shd!s:>6}{cpdag!s:>7}{seconds:>11.4f}  {seconds / ours:,.0f}", flush=True)

    def continuous(name, data_file, truth):
        names, x = read(data_file)
        seconds, score, graph = program.fit(data_file, "--init", "random", "--seed", 1)
        m, ours = program.eval(truth, graph), seconds
        row(name, "thalweg, fast, random start", score, m["shd"], m["cpdag_shd"], seconds, ours)
        sizes = ["--small", 40, "--large", 150, "--large-budget", 1]
        line = ["--init", "random", "--seed", 1, "--mode", "paper", *sizes]
        seconds, score, graph = program.fit(data_file, *line, rounds=3)
        m = program.eval(truth, graph)
        row(name, "thalweg, published search 40/150/1", score, m["shd"], m["cpdag_shd"], seconds, ours)
        order = np.random.default_rng(1).permutation(len(names))
        (order, w, q), seconds = timed(lambda: swaps(x, order, 40, 150, 1))
        m = program.eval(truth, program.edges(names, strong(w)))
        row(name, "published search in NumPy 40/150/1", q, m["shd"], m["cpdag_shd"], seconds, ours)
        from dagma.linear import DagmaLinear

        w, seconds = timed(lambda: DagmaLinear(loss_type="l2", verbose=False).fit(x, lambda1=0.02))
        m = program.eval(truth, program.edges(names, strong(w)))
        row(name, "DAGMA λ 0.02", None, m["shd"], m["cpdag_shd"], seconds, ours)
        return names, x, ours

    def equivalence(name, data_file, truth, lambdas):
        from causallearn.search.PermutationBased.BOSS import boss
        from causallearn.search.PermutationBased.GRaSP import grasp

        names, x = read(data_file)
        reference = true_class(program, truth, data_file, names)
        standard = (x - x.mean(0)) / x.std(0)
        for l in lambdas:
            seconds, score, graph = program.fit(data_file, "--score", "bic", "--lambda", l, "--standardize", "--seed", 1)
            m, ours = program.eval(truth, graph), seconds
            row(name, f"thalweg, BIC λ {l}, 9 starts", score, m["shd"], m["cpdag_shd"], seconds, ours)
            for label, search in (("BOSS", boss), ("GRaSP", grasp)):
                np.random.seed(1)
                given = dict(score_func="local_score_BIC_from_cov", parameters={"lambda_value": l}, verbose=False)
                graph, seconds = timed(lambda: search(standard, **given))
                row(name, f"causal-learn {label} λ {l}", None, "–", class_distance(graph, reference, names), seconds, ours)

    if options.only in "raw":
        continuous("er4_d20_n1000", data / "er4_d20_n1000.csv.gz", data / "er4_d20_n1000_truth.csv")
    if options.only in "standardised":
        file = data / "er2_d20_n1000_std"
        equivalence("er2_d20_n1000_std", f"{file}.csv.gz", f"{file}_truth.csv", [2, 1])
    if options.only in "networks":
        for name in ("ecoli70", "magic_niab"):
            equivalence(name, data / f"{name}_n1000.csv.gz", data / f"{name}_network.csv", [1, 2])
    if options.only in "uniform":
        import lingam

        made = program.call(
            "simulate", "--graph", "er:2", "--dim", 20, "--samples", 1000, "--noise", "uniform", "--seed", 1,
            "--out", Path(folder.name) / "uniform",
        )
        names, x, ours = continuous("uniform noise", made["data"], made["truth"])
        model = lingam.DirectLiNGAM()
        _, seconds = timed(lambda: model.fit(x))
        m = program.eval(made["truth"], program.edges(names, strong(model.adjacency_matrix_.T)))
        row("uniform noise", "DirectLiNGAM", None, m["shd"], m["cpdag_shd"], seconds, ours)


main()
