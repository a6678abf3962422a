"""Our engine beside PyTorch on the CPU: the same passes, alternating, in one run.

    cargo build --release -p thalweg-net --example speed
    python peers/speed.py [--threads 1] [--rounds 7] [--clock cpu|wall] [WORK ..]

Every round runs each work in one engine and then in the other; the table shows the least time per
pass over the rounds, the ratio ours/theirs, and the target. With one thread the default clock is
the CPU time of the process, which other programs on the machine disturb little; with more it is
the wall clock. PyTorch runs eagerly, convolutions channels last; its Hessian-vector product is the
double backward, and in a second column forward over reverse (`torch.func`) where it is supported.
`--json FILE` also writes the numbers.
"""

import argparse
import contextlib
import json
import pathlib
import subprocess
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGETS = {
    "mlp": 1.0, "mlp+hvp": 0.8, "lenet": 1.2, "lenet+hvp": 0.5, "resnet8": 1.2, "resnet8+hvp": 0.5,
    "resnet20": 1.2, "resnet20+hvp": 0.5, "transformer": 1.0, "transformer+hvp": 1.0,
    "mobilenet-b1": 1.0, "mobilenet-b1+input": 1.0, "mobilenet-b32": 1.0, "mobilenet-b32+input": 1.0,
}


class Block(nn.Module):
    """Basic residual block with the parameter-free shortcut."""

    def __init__(self, c, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.pad = stride, (out - c) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + x)


def resnet(depth):
    layers, c = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for stage, out in enumerate([16, 32, 64]):
        for block in range((depth - 2) // 6):
            layers.append(Block(c, out, 2 if stage and not block else 1))
            c = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Transformer(nn.Module):
    def __init__(self, vocab=65, layers=2, width=64, heads=4, context=64):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Parameter(0.02 * torch.randn(context, width))
        self.heads = heads
        part = lambda: nn.ModuleDict({
            "ln1": nn.LayerNorm(width), "qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width),
            "ln2": nn.LayerNorm(width), "up": nn.Linear(width, 4 * width), "down": nn.Linear(4 * width, width),
        })
        self.blocks = nn.ModuleList(part() for _ in range(layers))
        self.ln, self.head = nn.LayerNorm(width), nn.Linear(width, vocab, bias=False)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe
        b, t, c = x.shape
        for p in self.blocks:
            q, k, v = (u.view(b, t, self.heads, -1).transpose(1, 2) for u in p["qkv"](p["ln1"](x)).chunk(3, -1))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + p["proj"](y.transpose(1, 2).reshape(b, t, c))
            x = x + p["down"](F.gelu(p["up"](p["ln2"](x))))
        return self.head(self.ln(x)).flatten(0, 1)


def mobilenet():
    layers, c = [], 8
    conv = lambda i, o, k, s, g: layers.extend([nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o, eps=1e-3), nn.ReLU6()])
    conv(3, 8, 3, 2, 1)
    for out, s in [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)] + [(128, 1)] * 5 + [(256, 2), (256, 1)]:
        conv(c, c, 3, s, c)
        conv(c, out, 1, 1, 1)
        c = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 1000))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 64), nn.ReLU(), nn.Linear(64, 10))


def mlp():
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


class Theirs:
    """A work in PyTorch."""

    def __init__(self, name):
        torch.manual_seed(1)
        arch = name.split("+")[0]
        make, batch, shape, classes = {
            "mlp": (mlp, 128, (784,), 10), "lenet": (lenet, 128, (1, 28, 28), 10),
            "resnet8": (lambda: resnet(8), 128, (3, 32, 32), 10), "resnet20": (lambda: resnet(20), 128, (3, 32, 32), 10),
            "transformer": (Transformer, 32, (64,), 65),
            "mobilenet-b1": (mobilenet, 1, (3, 128, 128), 1000), "mobilenet-b32": (mobilenet, 32, (3, 128, 128), 1000),
        }[arch]
        self.net = make()
        self.x = torch.randint(classes, (batch, *shape)) if arch == "transformer" else torch.randn(batch, *shape)
        if len(shape) == 3:
            self.net, self.x = self.net.to(memory_format=torch.channels_last), self.x.to(memory_format=torch.channels_last)
        self.y = torch.randint(classes, (batch * (64 if arch == "transformer" else 1),))
        self.params = list(self.net.parameters())
        self.probe = [torch.randint(2, p.shape, dtype=p.dtype) * 2 - 1 for p in self.params]
        self.run = self.grad
        if "mobilenet" in name:
            self.net.eval()
            for p in self.params:
                p.requires_grad_(False)
            self.run = self.input_grad if "+" in name else self.forward
        elif "+hvp" in name:
            self.run = self.double_backward

    def loss(self, x=None):
        return F.cross_entropy(self.net(self.x if x is None else x), self.y)

    def forward(self):
        with torch.inference_mode():
            self.net(self.x)

    def input_grad(self):
        x = self.x.detach().requires_grad_()
        torch.autograd.grad(self.loss(x), x)

    def grad(self):
        torch.autograd.grad(self.loss(), self.params)

    def double_backward(self):
        # The fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH) if isinstance(self.net, Transformer) else contextlib.nullcontext():
            g = torch.autograd.grad(self.loss(), self.params, create_graph=True)
            torch.autograd.grad(g, self.params, grad_outputs=self.probe)

    def forward_over_reverse(self):
        names = [n for n, _ in self.net.named_parameters()]
        f = lambda p: F.cross_entropy(torch.func.functional_call(self.net, p, (self.x,)), self.y)
        pack = lambda ts: dict(zip(names, (t.detach() for t in ts)))
        with sdpa_kernel(SDPBackend.MATH):
            torch.func.jvp(torch.func.grad(f), (pack(self.params),), (pack(self.probe),))


def cpu_seconds(pid):
    """CPU time of all threads of a process, to the nanosecond."""
    return sum(int(p.read_text().split()[0]) for p in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


class Ours:
    """The `speed` example as a server."""

    def __init__(self, program):
        self.process = subprocess.Popen([program, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, work, threads, passes):
        print(work, threads, passes, file=self.process.stdin, flush=True)
        return [float(w) for w in self.process.stdout.readline().split()]

    def time(self, work, threads, passes, cpu):
        start = cpu_seconds(self.process.pid)
        best = self.ask(work, threads, passes)[0]
        return (cpu_seconds(self.process.pid) - start) / passes * 1e3 if cpu else best


def time_theirs(run, passes, cpu):
    start, best = time.process_time(), float("inf")
    for _ in range(passes):
        wall = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - wall)
    return (time.process_time() - start) / passes * 1e3 if cpu else best * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", metavar="WORK", help=", ".join(TARGETS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=["cpu", "wall"])
    parser.add_argument("--ours-only", action="store_true", help="leave PyTorch out")
    parser.add_argument("--forward-over-reverse", action="store_true", help="also time torch.func's products")
    parser.add_argument("--program", default=ROOT / "target/release/examples/speed", help="the built example")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cpu = (args.clock or ("cpu" if args.threads == 1 else "wall")) == "cpu"
    ours, rows = Ours(args.program), []
    print(f"PyTorch {torch.__version__}, {args.threads} thread(s), {'CPU' if cpu else 'wall'} time, least of {args.rounds} rounds")
    print(f"matrix product 768: {ours.ask('peak', args.threads, 1)[0]:.1f} GFLOP/s")
    print(f"{'work':20} {'ours ms':>9} {'PyTorch ms':>10} {'ratio':>6} {'target':>6}  reached  GFLOP/s  fwd-over-rev ms")
    for work in args.works or TARGETS:
        _, seconds, flops = ours.ask(work, args.threads, 2)
        passes = max(1, round(0.15 / seconds * 1e3)) if not cpu else max(1, round(100 / seconds))
        mine, theirs, other = [], [], []
        peer = None if args.ours_only else Theirs(work)
        if peer:
            peer.run()
        for _ in range(args.rounds):
            mine.append(ours.time(work, args.threads, passes, cpu))
            if peer:
                theirs.append(time_theirs(peer.run, passes, cpu))
                if args.forward_over_reverse and work.endswith("+hvp") and other is not None:
                    try:
                        other.append(time_theirs(peer.forward_over_reverse, 1, cpu))
                    except (RuntimeError, NotImplementedError):
                        other = None
        a, b = min(mine), min(theirs, default=float("nan"))
        third = "not supported" if other is None else f"{min(other):.2f}" if other else ""
        reached = "" if not peer else "yes" if a / b <= TARGETS[work] else "no"
        print(f"{work:20} {a:9.2f} {b:10.2f} {a / b:6.2f} {TARGETS[work]:6.1f}  {reached:7}  {flops / a / 1e6:7.1f}  {third}", flush=True)
        rows.append({"work": work, "threads": args.threads, "ours_ms": a, "pytorch_ms": b, "target": TARGETS[work],
                     "forward_over_reverse_ms": min(other) if other else None})
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
