//! A layer as its preconditioner sees it.

use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::{Kind, LayerStats, Layout, MethodError, Real};
use thalweg_linalg::vector::dot;
use thalweg_optim::{Guard, glob, known};

use crate::Rescale;
use crate::precondition::Curvature;
use crate::product::PANEL;

/// One linear map, or one group of a grouped convolution: its gradient 𝒢 = [∂W | ∂b] is `[p, d]`
/// with p outputs and d inputs, one more for the bias.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real, F: Serialize + serde::de::DeserializeOwned")]
pub struct Layer<T, F> {
    /// Name of the weight's block; of a grouped convolution followed by `/GROUP`.
    pub name: String,
    /// What the method knows of the layer.
    pub factors: F,
    /// Non-finite statistics.
    pub guard: Guard,
    weight: Range<usize>,
    bias: Option<Range<usize>>,
    outputs: usize,
    /// Which entry of the statistics, and which group of it.
    source: (usize, usize),
    /// 𝒢 and then U, row-major.
    #[serde(skip)]
    u: Vec<T>,
}

impl<T, F> Layer<T, F> {
    /// Rows p of 𝒢.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns d of 𝒢: inputs, and one for the bias if there is one.
    pub fn inputs(&self) -> usize {
        self.weight.len() / self.outputs.max(1) + usize::from(self.bias.is_some())
    }
}

/// What one step tells of one layer.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    input_mean: &'a [f64],
    output_grad: &'a [f64],
    moments: Option<(&'a [f64], &'a [f64])>,
    rows: f64,
    positions: f64,
    bias: bool,
}

impl Seen<'_> {
    /// ā: mean of the inputs over all rows, and 1 for the bias; `[d]`.
    pub fn right(&self) -> Vec<f64> {
        self.input_mean.iter().copied().chain(self.bias.then_some(1.0)).collect()
    }

    /// ḡ: mean over the rows of the derivative of an example's loss by an output, `[p]`: the
    /// bias gradient, divided by the number of output positions.
    pub fn left(&self) -> Vec<f64> {
        self.output_grad.iter().map(|g| g / self.positions).collect()
    }

    /// A = E\[aaᵀ\] over the rows, with the bias' row and column, row-major `[d, d]`.
    pub fn right_moments(&self) -> Option<Vec<f64>> {
        let (input, _) = self.moments?;
        if !self.bias {
            return Some(input.to_vec());
        }
        let rows = input.chunks(self.input_mean.len()).zip(self.input_mean);
        let last = self.input_mean.iter().chain(&[1.0]);
        Some(rows.flat_map(|(row, mean)| row.iter().chain([mean])).chain(last).copied().collect())
    }

    /// G = E\[ggᵀ\] over the rows, row-major `[p, p]`, where g is the derivative of an example's own
    /// loss: the loss is a mean over B = rows/positions examples, so g = B δ and
    /// G = B²/rows Σ δδᵀ = B/positions Σ δδᵀ.
    pub fn left_moments(&self) -> Option<Vec<f64>> {
        let (_, output) = self.moments?;
        let scale = self.rows / (self.positions * self.positions);
        Some(output.iter().map(|x| scale * x).collect())
    }

    fn finite(&self) -> bool {
        let (input, output) = self.moments.unwrap_or_default();
        [self.input_mean, self.output_grad, input, output].iter().all(|x| x.iter().all(|x| x.is_finite()))
    }
}

/// The layers of a network and how often they were told something. Empty before the first time.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real, F: Serialize + serde::de::DeserializeOwned")]
pub struct Layers<T, F> {
    /// The layers that are preconditioned, in the layout's order.
    pub list: Vec<Layer<T, F>>,
    /// Steps since the layers are preconditioned; the clock of the updates.
    pub t: u64,
    /// Updates of the factors, all layers together counting one; also the first, in which MKOR only
    /// sets the identity.
    pub updates: u64,
    /// Bytes that each process of a data-parallel run sends for them, in single precision: two
    /// vectors per layer and update, and two matrices for methods that use second moments.
    pub bytes: u64,
    #[serde(skip)]
    pub(crate) stats: Vec<LayerStats>,
}

impl<T, F> Default for Layers<T, F> {
    fn default() -> Self {
        Self { list: Vec::new(), t: 0, updates: 0, bytes: 0, stats: Vec::new() }
    }
}

impl<T: Real, F: Default + Send + Sync> Layers<T, F> {
    /// Frees the factors; the next update starts with the identity. The counts go on.
    pub(crate) fn forget(&mut self) {
        (self.list, self.stats, self.t) = (Vec::new(), Vec::new(), 0);
    }

    /// Tells every layer what this step has seen. Numbers worth recording come back.
    pub(crate) fn observe<C: Curvature<T, Factors = F>>(
        &mut self,
        method: &C,
        layout: &Layout,
    ) -> Result<Vec<(String, f64)>, MethodError> {
        let Self { list, stats, t, .. } = self;
        stats.iter().try_for_each(|s| check(s, layout))?;
        if list.is_empty() {
            *list = find(stats, layout, method.plan().exclude);
        }
        let told: Vec<Result<_, MethodError>> = list
            .par_iter_mut()
            .map(|layer| {
                let Some(seen) = layer.seen(stats) else { return Err(vanished(&layer.name)) };
                if !seen.finite() {
                    let what = "a mean input or output gradient";
                    return layer.guard.skip(what, &layer.name).map(|()| Vec::new());
                }
                layer.guard.in_a_row = 0;
                method.observe(&mut layer.factors, &seen, *t)?;
                method.diagnose(&layer.name, &layer.factors, &seen)
            })
            .collect();
        self.updates += 1;
        let moments = method.asks(*t) == Some(true);
        let numbers = |p: usize, d: usize| p + d + if moments { p * p + d * d } else { 0 };
        self.bytes += list.iter().map(|l| 4 * numbers(l.outputs(), l.inputs()) as u64).sum::<u64>();
        told.into_iter().try_fold(Vec::new(), |mut all, told| {
            all.extend(told?);
            Ok(all)
        })
    }

    /// Replaces the gradient of every layer by the preconditioned one, of the given learning rate.
    pub(crate) fn precondition<C: Curvature<T, Factors = F>>(
        &mut self,
        method: &C,
        grad: &mut [T],
        mask: Option<&[bool]>,
        lr: f64,
    ) {
        let plan = method.plan();
        let read: &[T] = grad;
        let ratios: Vec<(f64, f64)> = self
            .list
            .par_iter_mut()
            .map(|layer| {
                let (raw, d) = (layer.gather(read), layer.inputs());
                method.apply(&layer.factors, &mut layer.u, layer.outputs, d);
                layer.zero_masked(mask);
                let ratio = plan.rescale.ratio(raw, || layer.norms());
                let product = plan.kl_clip.map_or(0.0, |_| layer.inner(read));
                (ratio, ratio * product)
            })
            .collect();
        // ν = min(1, √(κ/Σ η²⟨U, 𝒢⟩)): a step whose KL divergence is about κ at most.
        let change = lr * lr * ratios.iter().map(|r| r.1).sum::<f64>();
        let nu = plan.kl_clip.filter(|kappa| change > *kappa).map_or(1.0, |kappa| (kappa / change).sqrt());
        for (layer, (ratio, _)) in self.list.iter().zip(ratios) {
            if ratio > 0.0 || ratio.is_nan() {
                layer.scatter(grad, nu * ratio); // else 𝒢 or U is 0 and 𝒢 stays
            }
        }
    }
}

impl Rescale {
    /// KroneckerFactor on U for the norms of weight and bias in 𝒢 and U; 0 if either is 0.
    fn ratio(self, raw: (f64, f64), new: impl FnOnce() -> (f64, f64)) -> f64 {
        let norm = |(weight, bias): (f64, f64)| match self {
            Self::Sum => weight + bias,
            Self::Joint | Self::None => weight.hypot(bias),
        };
        match self {
            Self::None => 1.0,
            Self::Joint | Self::Sum => match norm(new()) {
                0.0 => 0.0,
                new => norm(raw) / new,
            },
        }
    }
}

impl<T: Real, F> Layer<T, F> {
    fn seen<'a>(&self, stats: &'a [LayerStats]) -> Option<Seen<'a>> {
        let (entry, group) = self.source;
        let stats = stats.get(entry)?;
        let (p, q) = (self.outputs, self.weight.len() / self.outputs);
        let moments = match &stats.moments {
            Some(m) => Some((part(&m.input, group, q * q)?, part(&m.output, group, p * p)?)),
            None => None,
        };
        Some(Seen {
            input_mean: part(&stats.input_mean, group, q)?,
            output_grad: part(&stats.output_grad, group, p)?,
            moments,
            rows: stats.rows as f64,
            positions: stats.positions as f64,
            bias: self.bias.is_some(),
        })
    }

    /// 𝒢 into `u`; its norms.
    fn gather(&mut self, grad: &[T]) -> (f64, f64) {
        let (d, q) = (self.inputs(), self.weight.len() / self.outputs);
        let weight = &grad[self.weight.clone()];
        let bias = self.bias.as_ref().map(|bias| &grad[bias.clone()]);
        self.u.resize(self.outputs * d, T::ZERO);
        let panels = self.u.par_chunks_mut(PANEL * d).zip(weight.par_chunks(PANEL * q)).enumerate();
        let panel = |(panel, (u, weight)): (usize, (&mut [T], &[T]))| {
            u.chunks_mut(d).zip(weight.chunks(q)).for_each(|(u, row)| u[..q].copy_from_slice(row));
            if let Some(bias) = bias {
                u.chunks_mut(d).zip(&bias[panel * PANEL..]).for_each(|(u, &b)| u[q] = b);
            }
            squares(u, d, q)
        };
        roots(panels.map(panel).collect())
    }

    fn scatter(&self, grad: &mut [T], ratio: f64) {
        let (ratio, d, q) = (T::from_f64(ratio), self.inputs(), self.weight.len() / self.outputs);
        let weight = &mut grad[self.weight.clone()];
        weight.par_chunks_mut(PANEL * q).zip(self.u.par_chunks(PANEL * d)).for_each(|(weight, u)| {
            for (row, u) in weight.chunks_mut(q).zip(u.chunks(d)) {
                row.iter_mut().zip(u).for_each(|(to, &u)| *to = ratio * u);
            }
        });
        if let Some(bias) = &self.bias {
            grad[bias.clone()].iter_mut().zip(self.u.chunks(d)).for_each(|(to, u)| *to = ratio * u[q]);
        }
    }

    /// Sets what is masked to exactly 0.
    fn zero_masked(&mut self, mask: Option<&[bool]>) {
        let Some(mask) = mask else { return };
        let (d, q) = (self.inputs(), self.weight.len() / self.outputs);
        for (i, row) in self.u.chunks_mut(d).enumerate() {
            let weight = &mask[self.weight.start + i * q..][..q];
            let bias = self.bias.as_ref().map(|bias| &mask[bias.start + i]);
            let dead = row.iter_mut().zip(weight.iter().chain(bias)).filter(|(_, mask)| !**mask);
            dead.for_each(|(u, _)| *u = T::ZERO);
        }
    }

    /// Norms of the weight's and the bias' part.
    fn norms(&self) -> (f64, f64) {
        let (d, q) = (self.inputs(), self.weight.len() / self.outputs);
        roots(self.u.par_chunks(PANEL * d).map(|u| squares(u, d, q)).collect())
    }

    /// ⟨U, 𝒢⟩.
    fn inner(&self, grad: &[T]) -> f64 {
        let q = self.weight.len() / self.outputs;
        let rows = self.u.chunks(self.inputs()).zip(grad[self.weight.clone()].chunks(q)).enumerate();
        rows.map(|(i, (u, g))| {
            let bias = self.bias.as_ref().map_or(0.0, |b| u[q].to_f64() * grad[b.start + i].to_f64());
            dot(&u[..q], g) + bias
        })
        .sum()
    }
}

/// Σ squares of rows of length `d`: of their first `q` entries, and of the others.
fn squares<T: Real>(u: &[T], d: usize, q: usize) -> (f64, f64) {
    let all = dot(u, u);
    let rest: f64 = u.chunks(d).flat_map(|row| &row[q..]).map(|b| b.to_f64().powi(2)).sum();
    ((all - rest).max(0.0), rest)
}

/// Roots of the sums, from left to right.
fn roots(squares: Vec<(f64, f64)>) -> (f64, f64) {
    let (weight, bias) = squares.into_iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    (weight.sqrt(), bias.sqrt())
}

/// The layers that the statistics speak of, without excluded and frozen ones.
fn find<T, F: Default>(stats: &[LayerStats], layout: &Layout, exclude: &[String]) -> Vec<Layer<T, F>> {
    let blocks = layout.blocks();
    let mut list = Vec::new();
    for (entry, s) in stats.iter().enumerate() {
        let block = &blocks[s.weight];
        if block.frozen || block.is_empty() || exclude.iter().any(|e| glob(e, &block.name)) {
            continue;
        }
        let bias = s.bias.map(|b| &blocks[b]).filter(|b| !b.frozen);
        let (outputs, weights) = (block.shape[0] / s.groups, block.len() / s.groups);
        for group in 0..s.groups {
            let piece = |start: usize, n: usize| start + group * n..start + (group + 1) * n;
            list.push(Layer {
                name: if s.groups == 1 { block.name.clone() } else { format!("{}/{group}", block.name) },
                factors: F::default(),
                guard: Guard::default(),
                weight: piece(block.offset, weights),
                bias: bias.map(|b| piece(b.offset, outputs)),
                outputs,
                source: (entry, group),
                u: Vec::new(),
            });
        }
    }
    list
}

/// Refuses statistics that do not fit the layout.
fn check(stats: &LayerStats, layout: &Layout) -> Result<(), MethodError> {
    let blocks = layout.blocks();
    let (weight, bias) = (blocks.get(stats.weight), stats.bias.map(|b| blocks.get(b)));
    let (Some(weight), false) = (weight, bias == Some(None)) else {
        let error = "the statistics of a layer name a block that the layout lacks; use the layout's indices";
        return Err(MethodError::Problem(error.into()));
    };
    let out = weight.shape.first().copied().unwrap_or(0);
    let (groups, name) = (stats.groups, &weight.name);
    if out == 0 || groups == 0 || !out.is_multiple_of(groups) || stats.positions == 0 || stats.rows == 0 {
        let error = format!(
            "the statistics of {name} speak of {out} outputs, {groups} groups, {} positions and {} rows; \
             none may be 0 and the groups must divide the outputs",
            stats.positions, stats.rows
        );
        return Err(MethodError::Problem(error.into()));
    }
    let (p, q) = (out / groups, weight.len() / out);
    let length = MethodError::check_length;
    length(&format!("the mean input of {name}"), stats.input_mean.len(), groups * q)?;
    length(&format!("the output gradient of {name}"), stats.output_grad.len(), out)?;
    length(&format!("the bias of {name}"), bias.flatten().map_or(out, |b| b.len()), out)?;
    if let Some(moments) = &stats.moments {
        length(&format!("the input moments of {name}"), moments.input.len(), groups * q * q)?;
        length(&format!("the output moments of {name}"), moments.output.len(), groups * p * p)?;
    }
    Ok(())
}

/// Refuses patterns that name nothing, and matrices of more than a gibibyte: `bytes(d)` is what a
/// layer needs for a factor of d rows.
pub(crate) fn admit(
    layout: &Layout,
    exclude: &[String],
    remedy: &str,
    bytes: impl Fn(usize) -> usize,
) -> Result<(), MethodError> {
    const LIMIT: usize = 1 << 30;
    exclude.iter().try_for_each(|pattern| known(layout, "exclude", pattern))?;
    let layers = layout.blocks().iter().filter(|b| matches!(b.kind, Kind::Linear | Kind::Conv));
    for block in layers.filter(|b| !b.frozen && !b.is_empty() && !exclude.iter().any(|e| glob(e, &b.name))) {
        let (p, name) = (block.shape[0], &block.name);
        let dim = p.max(block.len() / p + 1);
        let need = bytes(dim);
        if need > LIMIT {
            let error = format!(
                "{name} has a factor of {dim} rows that takes {need} bytes, more than {LIMIT}; use {remedy}exclude = [\"{name}\"]"
            );
            return Err(MethodError::Problem(error.into()));
        }
    }
    Ok(())
}

fn part(all: &[f64], group: usize, n: usize) -> Option<&[f64]> {
    all.get(group * n..(group + 1) * n)
}

fn vanished(name: &str) -> MethodError {
    let error = format!("the statistics of {name} are missing; describe the same layers in every step");
    MethodError::Problem(error.into())
}
