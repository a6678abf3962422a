"""Reference values for the network engine, from JAX in double precision.

    python peers/net_fixtures.py      # writes crates/net/tests/fixtures/*.json

Each file holds a network (the engine's own description), its parameters in the order of the flat
buffer, a batch, and what JAX makes of them: the loss, its gradient, and the Hessian-vector product
along `probe` (forward over reverse). Batch norm is in training mode. Nothing here shares code with
the engine; `crates/net/tests/fixtures.rs` reads the files.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
OUT = pathlib.Path(__file__).resolve().parent.parent / "crates/net/tests/fixtures"

ACTS = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu-tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
}


def activation(act):
    if isinstance(act, dict):
        return lambda x: jnp.where(x > 0, x, act["leaky-relu"] * x)
    return ACTS[act]


def normalise(x, axes, eps):
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / jnp.sqrt(var + eps)


def conv(x, w, o):
    if "circular" in o and o["circular"]:
        raise NotImplementedError
    top, bottom, left, right = o["pad"]
    return jax.lax.conv_general_dilated(
        x, w, o["stride"], [(top, bottom), (left, right)], rhs_dilation=o["dilation"],
        dimension_numbers=("NHWC", "OIHW", "NHWC"), feature_group_count=o["groups"])


def pool(x, o, start, combine):
    top, bottom, left, right = o["pad"]
    window, stride = (1, *o["k"], 1), (1, *(o.get("stride") or o["k"]), 1)
    return jax.lax.reduce_window(x, start, combine, window, stride, [(0, 0), (top, bottom), (left, right), (0, 0)])


def attention(x, heads, causal):
    b, t, c = x.shape[0], x.shape[1], x.shape[2] // 3
    q, k, v = (u.reshape(b, t, heads, c // heads) for u in jnp.split(x, 3, -1))
    s = jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(c // heads)
    if causal:
        s = jnp.where(np.tril(np.ones((t, t), bool)), s, -jnp.inf)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(s, -1), v).reshape(b, t, c)


def shapes(layer, c, length):
    """Names and shapes of a layer's parameters, PyTorch's."""
    o, op = layer, layer["op"]
    bias = [("bias", (o["out"],))] if o.get("bias") else []
    if op == "linear":
        return [("weight", (o["out"], c))] + bias
    if op == "conv2d":
        return [("weight", (o["out"], c // o["groups"], *o["k"]))] + bias
    if op in ("batch-norm", "layer-norm"):
        return [("weight", (c,)), ("bias", (c,))]
    if op == "embedding":
        return [("weight", (o["vocab"], o["width"]))]
    if op == "positional-embedding":
        return [("weight", (length, c))]
    return []


def apply(layer, p, ins):
    op, x = layer["op"], ins[0]
    if op == "linear":
        x = x @ p["weight"].T
        return x + p["bias"] if "bias" in p else x
    if op == "conv2d":
        x = conv(x, p["weight"], layer)
        return x + p["bias"] if "bias" in p else x
    if op == "act":
        return activation(layer["act"])(x)
    if op == "batch-norm":
        return normalise(x, tuple(range(x.ndim - 1)), layer["eps"]) * p["weight"] + p["bias"]
    if op == "layer-norm":
        return normalise(x, -1, layer["eps"]) * p["weight"] + p["bias"]
    if op == "max-pool":
        return pool(x, layer, -jnp.inf, jax.lax.max)
    if op == "avg-pool":
        return pool(x, layer, 0.0, jax.lax.add) / np.prod(layer["k"])
    if op == "global-avg-pool":
        return x.mean(tuple(range(1, x.ndim - 1)))
    if op == "flatten":
        return jnp.moveaxis(x, -1, 1).reshape(x.shape[0], -1)
    if op == "embedding":
        return p["weight"][x.astype(int)]
    if op == "positional-embedding":
        return x + p["weight"]
    if op == "attention":
        return attention(x, layer["heads"], layer["causal"])
    if op == "softmax":
        return jax.nn.softmax(x, -1)
    if op == "add":
        return sum(ins)
    raise NotImplementedError(op)


def forward(graph, params, x):
    done, last = {"x": x}, x
    for layer in graph["layers"]:
        last = apply(layer, params[layer["name"]], [done[n] for n in layer["inputs"]] if "inputs" in layer else [last])
        done[layer["name"]] = last
    return last


def loss(y, target, options):
    if "values" in target:
        return jnp.mean((y - np.array(target["values"]).reshape(y.shape)) ** 2)
    labels, c = np.array(target["labels"]), y.shape[-1]
    logp = jax.nn.log_softmax(y.reshape(-1, c))
    smoothing = options.get("label_smoothing", 0.0)
    q = (1 - smoothing) * np.eye(c)[labels] + smoothing / c
    rows = -(q * logp).sum(1)
    if "class_weights" in options:
        w = np.array(options["class_weights"])
        return -(w * q * logp).sum() / w[labels].sum()
    if "example_weights" in options:
        return (np.array(options["example_weights"]) * rows).mean()
    return rows.mean()


def write(name, graph, batch, options=None, squared=False):
    rng, options = np.random.default_rng(len(name) + sum(map(ord, name))), options or {}
    tokens = graph["layers"][0]["op"] == "embedding"
    size = (batch, *graph["input"])
    x = rng.integers(0, graph["layers"][0]["vocab"], size) if tokens else rng.standard_normal(size).round(2)
    # Run once abstractly, layer by layer, to learn the widths of the parameters.
    params, done, last = {}, {"x": jnp.array(x, float)}, jnp.array(x, float)
    for layer in graph["layers"]:
        ins = [done[n] for n in layer["inputs"]] if "inputs" in layer else [last]
        wanted = shapes(layer, ins[0].shape[-1], ins[0].shape[1] if ins[0].ndim > 1 else 0)
        params[layer["name"]] = {n: jnp.array((0.7 * rng.standard_normal(s)).round(3)) for n, s in wanted}
        last = done[layer["name"]] = apply(layer, params[layer["name"]], ins)
    rows, c = int(np.prod(last.shape[:-1])), last.shape[-1]
    target = {"values": rng.standard_normal(last.size).round(2).tolist()} if squared else {"labels": rng.integers(0, c, rows).tolist()}
    order = [(layer["name"], n) for layer in graph["layers"] for n in params[layer["name"]]]
    flat = lambda tree: np.concatenate([np.ravel(tree[a][b]) for a, b in order])
    probe = jax.tree.map(lambda p: jnp.array(rng.standard_normal(p.shape).round(2)), params)
    f = lambda p: loss(forward(graph, p, jnp.array(x, float)), target, options)
    value, grad = jax.value_and_grad(f)(params)
    product = jax.jvp(jax.grad(f), (params,), (probe,))[1]
    data = {"graph": graph, "x": np.ravel(x).tolist(), **target, **options, "theta": flat(params).tolist(),
            "probe": flat(probe).tolist(), "loss": float(value), "grad": flat(grad).tolist(), "hvp": flat(product).tolist()}
    (OUT / f"{name}.json").write_text(json.dumps(data, separators=(",", ":")) + "\n")


def chain(size, *layers):
    return {"input": list(size), "layers": [{"name": f"l{i}", **layer} for i, layer in enumerate(layers)]}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    linear = lambda out, bias=True: {"op": "linear", "out": out, "bias": bias}
    act = lambda a: {"op": "act", "act": a}
    norm = {"op": "batch-norm", "eps": 1e-5}
    layer_norm = {"op": "layer-norm", "eps": 1e-5}
    cv = lambda out, k, stride=(1, 1), pad=(0, 0, 0, 0), groups=1, bias=True, dilation=(1, 1): {
        "op": "conv2d", "out": out, "k": list(k), "stride": list(stride), "pad": list(pad),
        "dilation": list(dilation), "groups": groups, "bias": bias}
    flat = {"op": "flatten"}
    for a in [*ACTS, {"leaky-relu": 0.1}]:
        name = a if isinstance(a, str) else "leaky-relu"
        write(f"mlp-{name}", chain([4], linear(5), act(a), linear(3)), 4)
    write("softmax", chain([3], linear(4), {"op": "softmax"}, linear(3)), 4)
    write("squared-error", chain([3], linear(4), act("tanh"), linear(2)), 4, squared=True)
    smooth = chain([4], linear(4), act("silu"), linear(4))
    write("label-smoothing", smooth, 5, {"label_smoothing": 0.1})
    write("class-weights", smooth, 5, {"class_weights": [0.5, 1.0, 2.0, 1.5]})
    write("smoothed-class-weights", smooth, 5, {"class_weights": [0.5, 1.0, 2.0, 1.5], "label_smoothing": 0.1})
    write("example-weights", smooth, 5, {"example_weights": [0.5, 1.0, 0.0, 1.5, 2.0]})
    max_pool = {"op": "max-pool", "k": [2, 2], "stride": [2, 2], "pad": [0] * 4}
    write("conv-batchnorm-maxpool", chain(
        [6, 5, 2], cv(3, (3, 3), pad=(1, 1, 1, 1), bias=False), norm, act("relu"), max_pool, flat, linear(3)), 3)
    write("conv-strided-padded", chain(
        [6, 5, 2], cv(3, (3, 2), (2, 1), (0, 1, 1, 0)), act("gelu"), cv(3, (2, 3), pad=(0, 1, 2, 1), dilation=(2, 1)),
        act("tanh"), {"op": "global-avg-pool"}, linear(3)), 2)
    write("conv-groups-avgpool", chain(
        [5, 5, 4], cv(6, (3, 3), (1, 1), (1, 1, 1, 1), groups=2), act("silu"), cv(6, (3, 3), (2, 2), (1, 1, 1, 1), groups=6),
        norm, {"op": "avg-pool", "k": [2, 2], "stride": [1, 1], "pad": [0] * 4}, flat, linear(2)), 2)
    write("maxpool-overlapping", chain(
        [5, 4, 2], cv(2, (1, 1)), {"op": "max-pool", "k": [3, 3], "stride": [2, 1], "pad": [1] * 4}, act("tanh"), flat, linear(3)), 2)
    named = lambda *layers: {"input": [5], "layers": [{"name": n, **layer} for n, layer in layers]}
    write("transformer", named(
        ("wte", {"op": "embedding", "vocab": 6, "width": 4}), ("wpe", {"op": "positional-embedding"}),
        ("ln1", layer_norm), ("qkv", linear(12)), ("attn", {"op": "attention", "heads": 2, "causal": True}),
        ("proj", linear(4)), ("add1", {"op": "add", "inputs": ["wpe", "proj"]}), ("ln2", layer_norm), ("up", linear(8)),
        ("gelu", act("gelu")), ("down", linear(4)), ("add2", {"op": "add", "inputs": ["add1", "down"]}), ("ln", layer_norm),
        ("head", linear(6, False))), 3)


if __name__ == "__main__":
    main()
