//! Small networks in closed form, layers with given gradients and statistics, and what the tests
//! ask of them.
use std::ops::Range;

use thalweg_core::{
    Kind, LayerStats, Layered, Layout, Method, MethodError, Objective, Problem, Real, Run, SecondMoments,
    Seed, Stop,
};
use thalweg_mkor::{Backend, Mkor};
use thalweg_optim::Sgd;

/// A convolution over `size`² images (a linear layer is one of 1 × 1 images), tanh behind it.
#[derive(Clone, Copy)]
pub struct Op {
    pub out: usize,
    pub inp: usize,
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub groups: usize,
    pub size: usize,
    pub bias: bool,
    pub tanh: bool,
}

pub fn linear(inp: usize, out: usize, bias: bool, tanh: bool) -> Op {
    Op { out, inp, kernel: 1, stride: 1, pad: 0, groups: 1, size: 1, bias, tanh }
}

impl Op {
    fn side(&self) -> usize {
        (self.size + 2 * self.pad - self.kernel) / self.stride + 1
    }

    /// Inputs of one group's output.
    fn fan_in(&self) -> usize {
        self.inp / self.groups * self.kernel * self.kernel
    }

    /// Where the patch of an output position takes its numbers from; `None` is padding.
    fn patch(&self, group: usize, y: usize, x: usize) -> Vec<Option<usize>> {
        let mut patch = Vec::new();
        let channels = self.inp / self.groups;
        for c in group * channels..(group + 1) * channels {
            for (dy, dx) in (0..self.kernel).flat_map(|dy| (0..self.kernel).map(move |dx| (dy, dx))) {
                let at = |base: usize, d: usize| (base * self.stride + d).checked_sub(self.pad);
                let inside = at(y, dy).zip(at(x, dx)).filter(|(y, x)| *y < self.size && *x < self.size);
                patch.push(inside.map(|(y, x)| (c * self.size + y) * self.size + x));
            }
        }
        patch
    }
}

/// A network of such layers with softmax cross-entropy, all loops naive, computed in f64.
#[derive(Clone)]
pub struct Tiny<T> {
    pub layout: Layout,
    pub ops: Vec<Op>,
    pub blocks: Vec<(usize, Option<usize>)>,
    pub x: Vec<Vec<f64>>,
    pub labels: Vec<usize>,
    pub start: Vec<T>,
    /// Examples per step, from the front and around.
    pub batch: usize,
    pub t: u64,
    /// Steps whose statistics of the first layer are poisoned.
    pub bad: Range<u64>,
    pub mask: Option<Vec<bool>>,
    /// All means are given as 0.
    pub silent: bool,
}

impl<T: Real> Tiny<T> {
    pub fn new(ops: &[Op], rows: usize, batch: usize) -> Self {
        let (mut layout, mut blocks) = (Layout::default(), Vec::new());
        for (i, op) in ops.iter().enumerate() {
            let channels = op.inp / op.groups;
            let weight = match op.size {
                1 => layout.push(format!("fc{i}.weight"), &[op.out, channels], Kind::Linear),
                _ => layout.push(
                    format!("conv{i}.weight"),
                    &[op.out, channels, op.kernel, op.kernel],
                    Kind::Conv,
                ),
            };
            let bias = op.bias.then(|| layout.push(format!("fc{i}.bias"), &[op.out], Kind::Bias));
            blocks.push((weight, bias));
        }
        let wave = |i: usize, speed: f64| (speed * i as f64 + 0.3).sin();
        let inputs = ops[0].inp * ops[0].size * ops[0].size;
        let row = |r: usize| (0..inputs).map(|i| 0.5 + wave(r * inputs + i, 1.7)).collect::<Vec<f64>>();
        let classes = ops[ops.len() - 1].out;
        let x: Vec<Vec<f64>> = (0..rows).map(row).collect();
        let label = |x: &Vec<f64>| (x.iter().sum::<f64>().abs() * 7.0) as usize % classes;
        let labels = x.iter().map(label).collect();
        let start = (0..layout.len()).map(|i| T::from_f64(0.4 * wave(i, 2.3))).collect();
        Self {
            layout,
            ops: ops.into(),
            blocks,
            x,
            labels,
            start,
            batch,
            t: 0,
            bad: 0..0,
            mask: None,
            silent: false,
        }
    }

    /// A linear net with one hidden layer.
    pub fn mlp() -> Self {
        Self::new(&[linear(6, 8, true, true), linear(8, 3, true, false)], 40, 10)
    }

    /// conv (stride 2, padding 1, bias), linear, linear without bias.
    pub fn conv() -> Self {
        let conv =
            Op { out: 3, inp: 2, kernel: 3, stride: 2, pad: 1, groups: 1, size: 5, bias: true, tanh: true };
        Self::new(&[conv, linear(27, 5, true, true), linear(5, 4, false, false)], 30, 12)
    }
}

impl<T> Problem for Tiny<T> {
    fn begin_step(&mut self, t: u64) -> Result<(), MethodError> {
        self.t = t;
        Ok(())
    }
}

impl<T: Real> Objective for Tiny<T> {
    type Scalar = T;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn mask(&self) -> Option<&[bool]> {
        self.mask.as_deref()
    }

    fn start(&mut self) -> Result<Vec<T>, MethodError> {
        Ok(self.start.clone())
    }

    fn value_grad(&mut self, theta: &[T], grad: &mut [T]) -> Result<f64, MethodError> {
        self.value_grad_layers(theta, grad, false, &mut Vec::new())
    }
}

impl<T: Real> Layered for Tiny<T> {
    fn value_grad_layers(
        &mut self,
        theta: &[T],
        grad: &mut [T],
        moments: bool,
        stats: &mut Vec<LayerStats>,
    ) -> Result<f64, MethodError> {
        let theta: Vec<f64> = theta.iter().map(|x| x.to_f64()).collect();
        let (mut sum, mut value) = (vec![0.0; theta.len()], 0.0);
        stats.clear();
        for (op, &(weight, bias)) in self.ops.iter().zip(&self.blocks) {
            let (p, q, g) = (op.out / op.groups, op.fan_in(), op.groups);
            let moments = SecondMoments { input: vec![0.0; g * q * q], output: vec![0.0; g * p * p] };
            stats.push(LayerStats {
                weight,
                bias,
                groups: g,
                positions: op.side() * op.side(),
                rows: self.batch * op.side() * op.side(),
                input_mean: vec![0.0; g * q],
                output_grad: vec![0.0; op.out],
                moments: Some(moments),
            });
        }
        let block = |b: usize| self.layout.blocks()[b].range();
        for k in 0..self.batch {
            let row = (self.t as usize * self.batch + k) % self.x.len();
            let mut inputs = vec![self.x[row].clone()];
            for (op, &(weight, bias)) in self.ops.iter().zip(&self.blocks) {
                let (w, b) = (&theta[block(weight)], bias.map(|b| &theta[block(b)]));
                let (side, p) = (op.side(), op.out / op.groups);
                let mut out = vec![0.0; op.out * side * side];
                for (at, out) in out.iter_mut().enumerate() {
                    let (o, y, x) = (at / (side * side), at / side % side, at % side);
                    let patch = op.patch(o / p, y, x).into_iter().zip(&w[o * op.fan_in()..]);
                    *out = patch.map(|(i, w)| i.map_or(0.0, |i| inputs[inputs.len() - 1][i]) * w).sum();
                    *out += b.map_or(0.0, |b| b[o]);
                    *out = if op.tanh { out.tanh() } else { *out };
                }
                inputs.push(out);
            }
            let logits = inputs.pop().unwrap();
            let total: f64 = logits.iter().map(|z| z.exp()).sum();
            let n = self.batch as f64;
            value += (total.ln() - logits[self.labels[row]]) / n;
            let mut delta: Vec<f64> = logits.iter().map(|z| z.exp() / total / n).collect();
            delta[self.labels[row]] -= 1.0 / n;
            for (l, op) in self.ops.iter().enumerate().rev() {
                let (weight, bias) = self.blocks[l];
                let (w, input) = (block(weight), &inputs[l]);
                let (side, p, q) = (op.side(), op.out / op.groups, op.fan_in());
                let (s, rows) = (&mut stats[l], (self.batch * side * side) as f64);
                let m = s.moments.as_mut().unwrap();
                let mut back = vec![0.0; input.len()];
                for at in 0..side * side {
                    let d = |o: usize| delta[o * side * side + at];
                    for group in 0..op.groups {
                        let places = op.patch(group, at / side, at % side);
                        let a: Vec<f64> = places.iter().map(|i| i.map_or(0.0, |i| input[i])).collect();
                        for i in 0..q {
                            s.input_mean[group * q + i] += a[i] / rows;
                            for j in 0..if moments { q } else { 0 } {
                                m.input[(group * q + i) * q + j] += a[i] * a[j] / rows;
                            }
                        }
                        for o in group * p..(group + 1) * p {
                            s.output_grad[o] += d(o);
                            for other in 0..if moments { p } else { 0 } {
                                m.output[o * p + other] += d(o) * d(group * p + other);
                            }
                            if let Some(bias) = bias {
                                sum[block(bias).start + o] += d(o);
                            }
                            for i in 0..q {
                                sum[w.start + o * q + i] += d(o) * a[i];
                                if let Some(place) = places[i] {
                                    back[place] += d(o) * theta[w.start + o * q + i];
                                }
                            }
                        }
                    }
                }
                if l > 0 && self.ops[l - 1].tanh {
                    back.iter_mut().zip(input).for_each(|(b, y)| *b *= 1.0 - y * y);
                }
                delta = back;
            }
        }
        if self.bad.contains(&self.t) {
            stats[0].input_mean[0] = f64::NAN;
        }
        for s in stats.iter_mut().filter(|_| self.silent) {
            s.input_mean.fill(0.0);
            s.output_grad.fill(0.0);
        }
        if !moments {
            stats.iter_mut().for_each(|s| s.moments = None);
        }
        grad.iter_mut().zip(sum).for_each(|(g, s)| *g = T::from_f64(s));
        Ok(value)
    }
}

/// One linear layer whose gradient and statistics are given, the same in every step.
#[derive(Clone)]
pub struct Given {
    pub layout: Layout,
    pub grad: Vec<f64>,
    pub stats: LayerStats,
}

impl Given {
    /// `a` are the input mean, `g` the output gradient.
    pub fn new(grad: Vec<f64>, a: Vec<f64>, g: Vec<f64>, bias: bool) -> Self {
        let mut layout = Layout::default();
        layout.push("weight", &[g.len(), a.len()], Kind::Linear);
        if bias {
            layout.push("bias", &[g.len()], Kind::Bias);
        }
        assert_eq!(layout.len(), grad.len());
        let (bias, input_mean, output_grad) = (bias.then_some(1), a, g);
        let stats = LayerStats {
            weight: 0,
            bias,
            groups: 1,
            positions: 1,
            rows: 1,
            input_mean,
            output_grad,
            moments: None,
        };
        Self { layout, grad, stats }
    }
}

impl Problem for Given {}

impl Objective for Given {
    type Scalar = f64;
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn start(&mut self) -> Result<Vec<f64>, MethodError> {
        Ok(vec![0.0; self.layout.len()])
    }
    fn value_grad(&mut self, _theta: &[f64], grad: &mut [f64]) -> Result<f64, MethodError> {
        grad.copy_from_slice(&self.grad);
        Ok(1.0)
    }
}

impl Layered for Given {
    fn value_grad_layers(
        &mut self,
        theta: &[f64],
        grad: &mut [f64],
        _moments: bool,
        stats: &mut Vec<LayerStats>,
    ) -> Result<f64, MethodError> {
        *stats = vec![self.stats.clone()];
        self.value_grad(theta, grad)
    }
}

/// Plain gradient descent: what it subtracts from the iterate is `lr`·U.
pub fn descent(lr: f64) -> Backend {
    Backend::Sgd(Sgd { lr, momentum: 0.0, ..Sgd::default() })
}

pub fn momentum(lr: f64) -> Backend {
    Backend::Sgd(Sgd { lr, momentum: 0.9, ..Sgd::default() })
}

pub fn mkor() -> Mkor {
    Mkor { backend: momentum(0.1), ..Mkor::default() }
}

/// The iterate after so many steps.
pub fn run<M, P>(method: &M, problem: &mut P, steps: u64) -> Vec<P::Scalar>
where
    P: Layered + ?Sized,
    M: Method<P, Solution = Vec<P::Scalar>>,
{
    Run::new(method, problem).seed(Seed(1)).stop(Stop::Steps(steps)).run().unwrap().solution
}

/// The one line with which `method` refuses `problem`.
pub fn refusal<P: Layered + ?Sized, M: Method<P>>(method: &M, problem: &mut P) -> String {
    let error =
        Run::new(method, problem).stop(Stop::Steps(40)).run().map(|_| ()).expect_err("an error").to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

pub fn wave(n: usize, speed: f64) -> Vec<f64> {
    (0..n).map(|i| (speed * i as f64 + 0.4).sin()).collect()
}

/// AB of row-major `[m, k]` and `[k, n]`.
pub fn times(a: &[f64], b: &[f64], k: usize) -> Vec<f64> {
    let (m, n) = (a.len() / k, b.len() / k);
    let entry = |at: usize| (0..k).map(|l| a[at / n * k + l] * b[l * n + at % n]).sum();
    (0..m * n).map(entry).collect()
}

/// Inverse of a row-major matrix by elimination with pivots.
pub fn inverse(matrix: &[f64], d: usize) -> Vec<f64> {
    let mut m: Vec<Vec<f64>> = (0..d)
        .map(|i| matrix[i * d..][..d].iter().copied().chain((0..d).map(|j| f64::from(i == j))).collect())
        .collect();
    for column in 0..d {
        let pivot = (column..d).max_by(|&i, &j| m[i][column].abs().total_cmp(&m[j][column].abs())).unwrap();
        m.swap(column, pivot);
        let scale = m[column][column];
        m[column].iter_mut().for_each(|x| *x /= scale);
        for row in (0..d).filter(|row| *row != column) {
            let factor = m[row][column];
            for j in 0..2 * d {
                m[row][j] -= factor * m[column][j];
            }
        }
    }
    m.into_iter().flat_map(|row| row.into_iter().skip(d)).collect()
}
