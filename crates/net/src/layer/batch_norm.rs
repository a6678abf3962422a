use std::ops::Range;

use thalweg_core::Kind;

use super::shape::{channels, check_eps, fail};
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Mode, Operation, Part, Place, lanes};
use crate::kernel::Scalar;
use crate::loops::{CHUNK, par_pair, put_all, reduce, tile, tile_width};
use crate::num::Num;
use crate::op;
use crate::planes::{Lane, Planes, PlanesMut};

impl Operation for op::BatchNorm {
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        check_eps(self.eps)?;
        if !(0.0..=1.0).contains(&self.momentum) {
            return fail(format!("momentum = {}; use a number in [0, 1]", self.momentum));
        }
        Ok(ins[0].to_vec())
    }
    fn parameters(&self, x: &[usize]) -> Vec<Part> {
        let c = [channels(x)];
        vec![Part::new("weight", &c, Kind::NormScale), Part::new("bias", &c, Kind::NormShift)]
    }
    fn buffers(&self, x: &[usize]) -> Vec<Part> {
        ["running_mean", "running_var"].map(|name| Part::new(name, &[channels(x)], Kind::Other)).into()
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        Box::new(BatchNorm {
            c: channels(at.x),
            eps: self.eps,
            momentum: self.momentum,
            scale: at.parameter("weight"),
            shift: at.parameter("bias"),
            mean: at.buffer("running_mean"),
            var: at.buffer("running_var"),
        })
    }
}

/// Batch normalisation of the last axis: `y = γ (x − μ)/√(σ² + ε) + β`, with the batch's mean and
/// variance in training mode (differentiated through) and the running ones in evaluation mode.
struct BatchNorm {
    c: usize,
    eps: f64,
    momentum: f64,
    scale: Range<usize>,
    shift: Range<usize>,
    mean: Range<usize>,
    var: Range<usize>,
}

/// A pair (value, tangent) in double precision as a number of the pass.
fn num<T: Scalar, N: Num<T>>((v, t): (f64, f64)) -> N {
    N::new(T::from_f64(v), T::from_f64(t))
}

/// `(σ² + ε)^(−½)`.
fn inverse_root((var, tangent): (f64, f64), eps: f64) -> (f64, f64) {
    let r = 1.0 / (var + eps).sqrt();
    (r, -0.5 * r * r * r * tangent)
}

impl BatchNorm {
    fn running<T: Scalar>(&self, cx: &Cx<'_, T>) -> Vec<((f64, f64), (f64, f64))> {
        let (mean, var) = (&cx.buffers[self.mean.clone()], &cx.buffers[self.var.clone()]);
        let at = |(m, v): (&T, &T)| ((m.to_f64(), 0.0), inverse_root((v.to_f64(), 0.0), self.eps));
        mean.iter().zip(var).map(at).collect()
    }

    /// Mean and inverse standard deviation per channel, each with its tangent.
    fn moments<T: Scalar, N: Num<T>>(&self, x: Lane<'_, T>) -> Vec<((f64, f64), (f64, f64))> {
        let n = (x.v.len() / self.c) as f64;
        // Means of the first rows as shifts keep the one-pass variance from cancelling, also where a row is
        // far from all others.
        const ROWS: usize = 64;
        let rows = &x.v[..x.v.len().min(ROWS * self.c)];
        let mean = |c: usize| {
            let of = rows.iter().skip(c).step_by(self.c).map(|x| x.to_f64());
            of.sum::<f64>() * self.c as f64 / rows.len() as f64
        };
        let shift: Vec<N> = (0..self.c).map(|c| N::constant(T::from_f64(mean(c)))).collect();
        let tiled = Constants::new(&shift);
        let [sum, square] = reduce::<T, N, 1, 1, 2>(
            [x],
            self.c,
            [tiled.lane()],
            #[inline(always)]
            |[x], [shift]| [x - shift, (x - shift) * (x - shift)],
        );
        (0..self.c)
            .map(|c| {
                let (m, mt) = (sum[c].0 / n, sum[c].1 / n);
                let mean = (m + shift[c].value().to_f64(), mt);
                let var = ((square[c].0 / n - m * m).max(0.0), square[c].1 / n - 2.0 * m * mt);
                (mean, var)
            })
            .collect()
    }

    fn fwd<T: Scalar, N: Num<T>>(
        &self,
        cx: &Cx<'_, T>,
        x: Planes<'_, T>,
        y: &mut PlanesMut<'_, T>,
        cache: &mut Cache<T>,
        p: usize,
    ) {
        let x = x.lane::<N>(p);
        let stats = if cx.mode == Mode::Eval {
            self.running(cx)
        } else {
            let moments = self.moments::<T, N>(x);
            if p == 0 {
                cache.stats = moments.iter().map(|(m, v)| (m.0, v.0)).collect();
            }
            moments.into_iter().map(|(m, v)| (m, inverse_root(v, self.eps))).collect()
        };
        // Kept for the backward pass: 4 numbers a channel and tangent.
        let at = p * 4 * self.c;
        cache.saved.resize((1 + p) * 4 * self.c, T::ZERO);
        for (i, (m, r)) in stats.iter().enumerate() {
            let four = [m.0, m.1, r.0, r.1].map(T::from_f64);
            cache.saved[at + 4 * i..at + 4 * i + 4].copy_from_slice(&four);
        }
        let gamma = cx.params.lane::<N>(&self.scale, p, cx.zeros);
        let beta = cx.params.lane::<N>(&self.shift, p, cx.zeros);
        // y = x·a + b per channel.
        let a: Vec<N> = (0..self.c).map(|c| N::load(gamma, c) * num(stats[c].1)).collect();
        let b: Vec<N> = (0..self.c).map(|c| N::load(beta, c) - a[c] * num(stats[c].0)).collect();
        let (a, b) = (Constants::new(&a), Constants::new(&b));
        channelwise::<T, N, 1, 2>(
            (y.lane::<N>(p), false, p),
            self.c,
            [x],
            [a.lane(), b.lane()],
            #[inline(always)]
            |[x], [a, b]| x * a + b,
        );
    }

    fn bwd<T: Scalar, N: Num<T>>(
        &self,
        cx: &Cx<'_, T>,
        io: &mut Io<'_, '_, T>,
        grads: &mut Option<&mut Grads<'_, T>>,
        cache: &Cache<T>,
        p: usize,
    ) {
        let (x, dy) = (io.x[0].lane::<N>(p), io.dy.lane::<N>(p));
        let saved = &cache.saved[p * 4 * self.c..(p + 1) * 4 * self.c];
        let mean: Vec<N> = saved.chunks(4).map(|s| N::new(s[0], s[1])).collect();
        let rstd: Vec<N> = saved.chunks(4).map(|s| N::new(s[2], s[3])).collect();
        let gamma = cx.params.lane::<N>(&self.scale, p, cx.zeros);
        let a: Vec<N> = (0..self.c).map(|c| N::load(gamma, c) * rstd[c]).collect();
        let eval = cx.mode == Mode::Eval;
        let mut sums = None;
        if grads.is_some() || !eval {
            let (m, r) = (Constants::new(&mean), Constants::new(&rstd));
            let [sum_dy, sum_dy_xhat] = reduce::<T, N, 2, 2, 2>(
                [x, dy],
                self.c,
                [m.lane(), r.lane()],
                #[inline(always)]
                |[x, dy], [m, r]| [dy, dy * ((x - m) * r)],
            );
            if let Some(grads) = grads {
                grads.put(&self.scale, p, sum_dy_xhat.iter().copied());
                grads.put(&self.shift, p, sum_dy.iter().copied());
            }
            sums = Some((sum_dy, sum_dy_xhat));
        }
        let Some(dx) = &mut io.dx[0] else { return };
        let acc = dx.acc;
        let Some((sum_dy, sum_dy_xhat)) = sums.filter(|_| !eval) else {
            return channelwise::<T, N, 1, 1>(
                (dx.lane::<N>(p), acc, p),
                self.c,
                [dy],
                [Constants::new(&a).lane()],
                #[inline(always)]
                |[dy], [a]| dy * a,
            );
        };
        // dx = γ r (dy − Σdy/n − x̂ Σ(dy x̂)/n), as dy·a + x·b + k per channel.
        let n = (x.v.len() / self.c) as f64;
        let over_n = |s: (f64, f64)| num::<T, N>((s.0 / n, s.1 / n));
        let b: Vec<N> = (0..self.c).map(|c| -(a[c] * rstd[c] * over_n(sum_dy_xhat[c]))).collect();
        let k: Vec<N> = (0..self.c).map(|c| -(a[c] * over_n(sum_dy[c])) - b[c] * mean[c]).collect();
        let (a, b, k) = (Constants::new(&a), Constants::new(&b), Constants::new(&k));
        channelwise::<T, N, 2, 3>(
            (dx.lane::<N>(p), acc, p),
            self.c,
            [x, dy],
            [a.lane(), b.lane(), k.lane()],
            #[inline(always)]
            |[x, dy], [a, b, k]| dy * a + x * b + k,
        );
    }
}

impl<T: Scalar> Layer<T> for BatchNorm {
    fn forward(&self, cx: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, cache: &mut Cache<T>) {
        lanes!(cx, T, p => self.fwd(cx, x[0], y, cache, p));
    }
    fn backward(
        &self,
        cx: &Cx<'_, T>,
        mut io: Io<'_, '_, T>,
        mut grads: Option<&mut Grads<'_, T>>,
        cache: &mut Cache<T>,
    ) {
        lanes!(cx, T, p => self.bwd(cx, &mut io, &mut grads, cache, p));
    }
    fn update_running(&self, len: usize, cache: &Cache<T>, weight: &dyn Fn(f64) -> f64, buffers: &mut [T]) {
        let (n, w) = ((len / self.c) as f64, weight(self.momentum));
        for (block, second) in [(&self.mean, false), (&self.var, true)] {
            for (b, &(mean, var)) in buffers[block.clone()].iter_mut().zip(&cache.stats) {
                // The running variance is the unbiased one, as in PyTorch.
                let new = if second { var * n / (n - 1.0).max(1.0) } else { mean };
                *b = T::from_f64((1.0 - w) * b.to_f64() + w * new);
            }
        }
    }
}

/// Per-channel constants, tiled, as separate arrays of values and tangents.
struct Constants<T> {
    v: Vec<T>,
    t: Vec<T>,
}

impl<T: Scalar> Constants<T> {
    fn new<N: Num<T>>(per_channel: &[N]) -> Self {
        let v = tile(per_channel.iter().map(|n| n.value()));
        let t = if N::DUAL { tile(per_channel.iter().map(|n| n.tangent())) } else { Vec::new() };
        Self { v, t }
    }
    fn lane(&self) -> Lane<'_, T> {
        Lane { v: &self.v, t: &self.t }
    }
}

/// Puts `f(elements, constants)` for every element of the `inputs`, `[rows, c]` numbers each, with
/// tiled per-channel `constants`, to `out`.
fn channelwise<T: Scalar, N: Num<T>, const L: usize, const C: usize>(
    ((v, t), acc, p): ((&mut [T], &mut [T]), bool, usize),
    c: usize,
    inputs: [Lane<'_, T>; L],
    constants: [Lane<'_, T>; C],
    f: impl Fn([N; L], [N; C]) -> N + Sync,
) {
    let width = tile_width(c);
    par_pair(
        v,
        t,
        CHUNK.div_ceil(width) * width,
        #[inline(always)]
        |first, v, t| {
            for row in (0..v.len()).step_by(width) {
                let part = row..v.len().min(row + width);
                let n = part.len();
                let x = inputs.map(|x| x.slice(first + part.start..first + part.end));
                let k = constants.map(|k| k.slice(0..n));
                let t = if N::DUAL { &mut t[part.clone()] } else { &mut [][..] };
                put_all(x, k, (&mut v[part], t), acc, p, &f);
            }
        },
    );
}
