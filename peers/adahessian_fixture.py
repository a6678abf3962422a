"""Steps of `pytorch_optimizer.AdaHessian` with given probes, for systems/adahessian/tests/peer.rs.

    pip install torch pytorch_optimizer
    python peers/adahessian_fixture.py > systems/adahessian/tests/fixtures/pytorch_optimizer.json

The function is the chained Rosenbrock function in double precision. The peer has no averaging, so it
must agree with `average = none`.
"""

import json
from importlib.metadata import version

import torch
from pytorch_optimizer import AdaHessian

STEPS = 12
START = [-1.2, 1.0, 0.3, -0.8]
CASES = [
    dict(lr=0.1, betas=(0.9, 0.999), eps=1e-4, weight_decay=0.0, hessian_power=1.0),
    dict(lr=0.05, betas=(0.8, 0.98), eps=1e-3, weight_decay=0.1, hessian_power=1.0),
    dict(lr=0.01, betas=(0.9, 0.999), eps=1e-4, weight_decay=0.01, hessian_power=0.5),
]


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def probe(step):
    """Signs that any language can repeat."""
    return [1.0 if (step * 7 + i * i * 3 + i) % 5 < 3 else -1.0 for i in range(len(START))]


def trajectory(case):
    x = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    peer = AdaHessian([x], weight_decouple=True, fixed_decay=False, **case)
    points = []
    for step in range(STEPS):
        z = torch.tensor(probe(step), dtype=torch.float64)
        (gradient,) = torch.autograd.grad(rosenbrock(x), x, create_graph=True)
        (product,) = torch.autograd.grad(gradient, x, z)
        x.grad = gradient.detach()
        peer.step(hessian=[z * product])
        points.append(x.detach().tolist())
    return points


cases = [dict(settings=case, points=trajectory(case)) for case in CASES]
probes = [probe(step) for step in range(STEPS)]
peer = f"pytorch_optimizer {version('pytorch_optimizer')}, torch {torch.__version__}"
print(json.dumps(dict(peer=peer, start=START, probes=probes, cases=cases), indent=1))
