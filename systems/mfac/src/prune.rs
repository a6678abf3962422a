//! The pruner: which weights go, and how the others make up.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Kind, Layout, MethodError};
use thalweg_optim::{glob, known};

use crate::fisher::Block;
use crate::fisher::FisherOptions;
use crate::gradients::Gradients;
use crate::obs::{self, Compensation, compensate, loss_increase, saliencies};
use crate::select::{Pattern, cheapest, merged, patterned};
use crate::{MfacError, StaticFisher, memory};

/// What makes a weight cheap to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Saliency {
    /// w²/(2[F⁻¹]) with M-FAC's inverse.
    #[default]
    Mfac,
    /// |w|; needs no gradients and compensates nothing.
    Magnitude,
    /// w²(λ + mean g²)/2: M-FAC with blocks of one weight.
    DiagFisher,
}

/// What a sparsity is a fraction of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Of the weights that may be pruned.
    #[default]
    Prunable,
    /// Of all parameters of the model.
    All,
}

/// Pruning by Optimal Brain Surgeon with M-FAC's inverse Fisher matrix. The defaults are those of
/// the authors' program, but for the compensation, which is exact here (`single` is theirs).
///
/// ```text
/// G ← m gradients at w, of the weights alive; blocks of F⁻¹
/// ρ ← w²/(2 diag F⁻¹);  Q ← the cheapest;  w ← w + δ with δ_Q = −w_Q
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObsPruner {
    /// What makes a weight cheap.
    pub method: Saliency,
    /// Number m of gradients for each pruning step; the last one holds for all later steps.
    /// Default 64.
    pub gradients: Vec<usize>,
    /// Examples behind each gradient, for whoever computes them. Default 32.
    pub micro_batch: usize,
    /// Damping λ > 0. Default 1e-5.
    #[serde(alias = "damp")]
    pub damping: f64,
    /// Length of the blocks, which run over the weights alive in parameter order; 0 for the whole
    /// matrix. Default 128.
    pub block: usize,
    /// Fresh gradients within one step, at least 1: the density falls by the same factor each
    /// time. Default 16.
    pub recompute: usize,
    /// How the weights that stay make up. Default joint.
    pub compensation: Compensation,
    /// Keep N of every M consecutive weights of a row. Default: any weights may go.
    pub pattern: Option<Pattern>,
    /// What the sparsity is a fraction of. Default: of the prunable weights.
    pub relative_to: Scope,
    /// Names of the layers whose weights may go; `*` stands for any characters. Default: all.
    pub layers: Vec<String>,
}

impl Default for ObsPruner {
    fn default() -> Self {
        Self {
            method: Saliency::Mfac,
            gradients: vec![64],
            micro_batch: 32,
            damping: 1e-5,
            block: 128,
            recompute: 16,
            compensation: Compensation::Joint,
            pattern: None,
            relative_to: Scope::Prunable,
            layers: vec!["*".into()],
        }
    }
}

/// Where the gradients come from.
pub trait GradientSource {
    /// Fills each row with the mean gradient over a micro-batch at `theta`, in evaluation mode, of
    /// the unknowns `alive` (flat indices, ascending), and returns the mean loss of each. `round`
    /// counts the calls of a run: the same round asks for the same examples.
    fn gradients(
        &mut self,
        theta: &[f32],
        alive: &[usize],
        round: usize,
        rows: &mut [&mut [f32]],
    ) -> Result<Vec<f64>, MethodError>;
}

impl<F> GradientSource for F
where
    F: FnMut(&[f32], &[usize], usize, &mut [&mut [f32]]) -> Result<Vec<f64>, MethodError>,
{
    fn gradients(
        &mut self,
        theta: &[f32],
        alive: &[usize],
        round: usize,
        rows: &mut [&mut [f32]],
    ) -> Result<Vec<f64>, MethodError> {
        self(theta, alive, round, rows)
    }
}

/// A prunable block of the flat buffer, in PyTorch's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Name of the weight.
    pub name: String,
    /// Where it lies.
    pub range: Range<usize>,
    /// Length of a row: the weights of one output.
    pub row: usize,
}

/// A model under pruning.
#[derive(Debug)]
pub struct Weights<'a> {
    /// All parameters.
    pub theta: &'a mut [f32],
    /// Which of them may differ from 0; pruned ones become `false`.
    pub alive: &'a mut [bool],
    /// The prunable blocks, in the order of the buffer.
    pub layers: &'a [Layer],
}

/// How sparse one layer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSparsity {
    /// Name of the weight.
    pub name: String,
    /// Number of weights.
    pub weights: usize,
    /// How many are pruned.
    pub pruned: usize,
}

/// What was pruned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Weights removed now.
    pub dropped: usize,
    /// Fraction of the prunable weights that is pruned.
    pub sparsity: f64,
    /// Increase of the loss that the model predicts, see [`loss_increase`]; `None` without gradients.
    pub predicted_increase: Option<f64>,
    /// Mean loss of the micro-batches before the first removal; `None` without gradients.
    pub loss: Option<f64>,
    /// Sparsity of each layer.
    pub layers: Vec<LayerSparsity>,
    /// Micro-batches left out because their gradients were not finite.
    pub skipped: usize,
    /// What the user should know, one sentence each.
    pub warnings: Vec<String>,
}

impl ObsPruner {
    /// Names the first field that is out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        let legal = !self.gradients.is_empty() && !self.gradients.contains(&0);
        Invalid::check(legal, "gradients", format!("{:?}", self.gradients), "numbers ≥ 1, at least one")?;
        Invalid::count("micro_batch", self.micro_batch)?;
        Invalid::positive("damping", self.damping)?;
        Invalid::count("recompute", self.recompute)?;
        let legal = self.pattern.is_none() || self.compensation != Compensation::Greedy;
        Invalid::check(legal, "compensation", "greedy", "none, single or joint together with a pattern")?;
        Invalid::check(!self.layers.is_empty(), "layers", "[]", "at least one pattern, e.g. *")
    }

    /// The weights of linear maps and convolutions that are not frozen and that `layers` names.
    pub fn prunable(&self, layout: &Layout) -> Result<Vec<Layer>, MfacError> {
        self.layers.iter().try_for_each(|pattern| known(layout, "layers", pattern))?;
        let named = |name: &str| self.layers.iter().any(|pattern| glob(pattern, name));
        let weights = layout.blocks().iter().filter(|b| matches!(b.kind, Kind::Linear | Kind::Conv));
        let layers: Vec<Layer> = weights
            .filter(|b| !b.frozen && !b.is_empty() && named(&b.name))
            .map(|b| Layer { name: b.name.clone(), range: b.range(), row: b.shape.iter().skip(1).product() })
            .collect();
        if layers.is_empty() {
            let legal = "a pattern that matches the weight of a trainable linear or convolutional layer";
            Invalid::check(false, "layers", self.layers.join(","), legal)?;
        }
        Ok(layers)
    }

    /// Prunes to `sparsity` in [`recompute`](Self::recompute) rounds of equal factors in density.
    /// `stage` is the number of the pruning step in a gradual schedule, 0 otherwise.
    pub fn one_shot(
        &self,
        weights: Weights<'_>,
        sparsity: f64,
        stage: usize,
        source: &mut (impl GradientSource + ?Sized),
    ) -> Result<Report, MfacError> {
        self.validate()?;
        let target = self.target(&weights, sparsity)?;
        let Weights { theta, alive, layers } = weights;
        let present = Count::of(alive, layers).sparsity();
        let rounds = if self.method == Saliency::Magnitude { 1 } else { self.recompute };
        let mut report = Report::default();
        for (j, target) in densities(present, target, rounds).into_iter().enumerate() {
            let weights = Weights { theta: &mut *theta, alive: &mut *alive, layers };
            report = report.then(self.round(weights, target, stage, stage * rounds + j, source)?);
        }
        Ok(report)
    }

    /// One round: prunes to `sparsity` with one set of gradients.
    pub fn step(
        &self,
        weights: Weights<'_>,
        sparsity: f64,
        stage: usize,
        source: &mut (impl GradientSource + ?Sized),
    ) -> Result<Report, MfacError> {
        Self { recompute: 1, ..self.clone() }.one_shot(weights, sparsity, stage, source)
    }

    /// The sparsity of the prunable weights that is asked for.
    fn target(&self, weights: &Weights<'_>, sparsity: f64) -> Result<f64, MfacError> {
        MethodError::check_length("the mask", weights.alive.len(), weights.theta.len())?;
        let end = weights.layers.iter().map(|l| l.range.end).max().unwrap_or(0);
        if end == 0 || weights.layers.iter().any(|l| l.row == 0) {
            return Err(MethodError::Empty.into());
        }
        MethodError::check_length("the parameters", weights.theta.len().min(end), end)?;
        let mut pairs = weights.layers.windows(2);
        let legal = pairs.all(|pair| pair[0].range.end <= pair[1].range.start);
        Invalid::check(legal, "layers", "overlapping ranges", "disjoint ranges in the order of the buffer")?;
        Invalid::in_closed("sparsity", sparsity, 0.0, 1.0)?;
        let count = Count::of(weights.alive, weights.layers);
        let target = match self.relative_to {
            Scope::Prunable => sparsity,
            Scope::All => sparsity * weights.theta.len() as f64 / count.weights as f64,
        };
        let most = format!("at most {}, the prunable part of all parameters", sparsity / target);
        Invalid::check(target <= 1.0, "sparsity", sparsity, &most)?;
        if count.wanted(target) < count.pruned {
            return Err(MfacError::Sparsity { wanted: target, present: count.sparsity() });
        }
        if let Some(pattern) = self.pattern {
            let legal = format!("{}, which the pattern {pattern} leaves", pattern.sparsity());
            Invalid::check((target - pattern.sparsity()).abs() < 1e-9, "sparsity", sparsity, &legal)?;
        }
        Ok(target)
    }

    fn round(
        &self,
        weights: Weights<'_>,
        target: f64,
        stage: usize,
        round: usize,
        source: &mut (impl GradientSource + ?Sized),
    ) -> Result<Report, MfacError> {
        let Weights { theta, alive, layers } = weights;
        let before = Count::of(alive, layers);
        let places: Vec<usize> = layers.iter().flat_map(|l| l.range.clone()).filter(|i| alive[*i]).collect();
        let w: Vec<f64> = places.iter().map(|i| theta[*i].into()).collect();
        if let Some(i) = w.iter().position(|w| !w.is_finite()) {
            let layer = layers.iter().find(|l| l.range.contains(&places[i]));
            let (layer, start) = layer.map_or(Default::default(), |l| (l.name.clone(), l.range.start));
            return Err(MfacError::Weight { layer, at: places[i] - start });
        }

        let drop = before.wanted(target) - before.pruned;
        let mut report = Report { layers: before.layers(alive, layers), ..Report::default() };
        report.sparsity = before.sparsity();
        if places.is_empty() || (drop == 0 && self.pattern.is_none()) {
            return Ok(report);
        }
        let pick = |prices: &[f64]| match self.pattern {
            None => cheapest(prices, drop),
            Some(Pattern { of, .. }) => {
                let keep = (of as f64 * (1.0 - target)).round() as usize;
                let rows = layers.iter().flat_map(|l| l.range.clone().step_by(l.row).map(|i| i..i + l.row));
                patterned(&places, prices, rows, keep, of)
            }
        };
        let mut removed = vec![false; w.len()];
        let mut delta = vec![0.0; w.len()];
        if self.method == Saliency::Magnitude {
            let prices: Vec<f64> = w.iter().map(|w| w.abs()).collect();
            for i in pick(&prices) {
                (removed[i], delta[i]) = (true, -w[i]);
            }
        } else {
            let fisher = self.fisher(theta, &places, stage, round, source, &mut report)?;
            let taken = match self.compensation {
                Compensation::Greedy => {
                    let order = |b: &Block| obs::greedy(&fisher, b, &w[b.cols.clone()]);
                    merged(&obs::each(&fisher, order)?, drop)
                }
                _ => pick(&saliencies(&fisher, &w)?),
            };
            taken.iter().for_each(|i| removed[*i] = true);
            delta = compensate(&fisher, &w, &removed, self.compensation)?;
            report.predicted_increase = Some(loss_increase(&fisher, &delta, self.micro_batch)?);
        }
        for (i, &at) in places.iter().enumerate() {
            alive[at] = !removed[i];
            theta[at] = if removed[i] { 0.0 } else { (w[i] + delta[i]) as f32 };
        }
        let after = Count::of(alive, layers);
        let emptied = |(l, was): (LayerSparsity, &LayerSparsity)| {
            (l.pruned == l.weights && was.pruned < was.weights).then(|| {
                format!("{} lost all its {} weights; lower the sparsity or leave it out", l.name, l.weights)
            })
        };
        let now = after.layers(alive, layers);
        report.warnings.extend(now.iter().cloned().zip(&report.layers).filter_map(emptied));
        Ok(Report {
            dropped: after.pruned - before.pruned,
            sparsity: after.sparsity(),
            layers: now,
            ..report
        })
    }

    /// The inverse Fisher matrix at `theta` of the unknowns `places`.
    fn fisher(
        &self,
        theta: &[f32],
        places: &[usize],
        stage: usize,
        round: usize,
        source: &mut (impl GradientSource + ?Sized),
        report: &mut Report,
    ) -> Result<StaticFisher, MfacError> {
        let (d, m) = (places.len(), self.gradients[stage.min(self.gradients.len() - 1)]);
        memory::check(m, d, |m| m.saturating_mul(4 * d as u64))?;
        let mut flat = vec![0f32; m * d];
        let losses = source.gradients(theta, places, round, &mut flat.chunks_mut(d).collect::<Vec<_>>())?;
        MethodError::check_length("the losses", losses.len(), m)?;
        let good = |k: &usize| losses[*k].is_finite() && flat[k * d..][..d].iter().all(|g| g.is_finite());
        let good: Vec<usize> = (0..m).filter(good).collect();
        report.skipped = m - good.len();
        if report.skipped * 10 > m {
            return Err(MfacError::Skipped { skipped: report.skipped, total: m });
        }
        for (to, &from) in good.iter().enumerate() {
            flat.copy_within(from * d..(from + 1) * d, to * d);
        }
        flat.truncate(good.len() * d);
        report.loss = Some(good.iter().map(|k| losses[*k]).sum::<f64>() / good.len() as f64);
        let squares = flat.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>() / good.len() as f64;
        if squares / m as f64 <= self.damping * d as f64 * 1e-3 {
            report.warnings.push(format!(
                "the gradients nearly vanish (mean square norm {squares:.1e} at damping = {:e}), so that weights \
                 are ranked by magnitude; lower damping, take larger micro-batches or prune earlier",
                self.damping
            ));
        }
        let block = if self.method == Saliency::DiagFisher { 1 } else { self.block };
        StaticFisher::new(
            Gradients::from_flat(flat, good.len())?,
            FisherOptions { damping: self.damping, block },
        )
    }
}

impl Report {
    /// The report of this round and the next.
    fn then(mut self, next: Report) -> Report {
        self.warnings.extend(next.warnings);
        let increase = self.predicted_increase.into_iter().chain(next.predicted_increase);
        Report {
            dropped: self.dropped + next.dropped,
            predicted_increase: increase.reduce(|a, b| a + b),
            loss: self.loss.or(next.loss),
            skipped: self.skipped + next.skipped,
            warnings: self.warnings,
            ..next
        }
    }
}

/// The sparsities of `rounds` rounds: densities fall geometrically from the present one.
fn densities(present: f64, target: f64, rounds: usize) -> Vec<f64> {
    let factor = if present < 1.0 { (1.0 - target) / (1.0 - present) } else { 1.0 };
    let sparsity = |j: usize| 1.0 - (1.0 - present) * factor.powf(j as f64 / rounds as f64);
    let mut all: Vec<f64> = (1..=rounds).map(sparsity).collect();
    all[rounds - 1] = target;
    all
}

/// How many prunable weights there are and how many are pruned.
#[derive(Clone, Copy)]
struct Count {
    weights: usize,
    pruned: usize,
}

impl Count {
    fn of(alive: &[bool], layers: &[Layer]) -> Self {
        let pruned = layers.iter().flat_map(|l| &alive[l.range.clone()]).filter(|a| !**a).count();
        Self { weights: layers.iter().map(|l| l.range.len()).sum(), pruned }
    }

    fn sparsity(self) -> f64 {
        self.pruned as f64 / self.weights as f64
    }

    /// ⌊weights · sparsity⌋, where a product that rounding put just below a whole number is that.
    fn wanted(self, sparsity: f64) -> usize {
        (self.weights as f64 * sparsity + 1e-6).floor() as usize
    }

    fn layers(self, alive: &[bool], layers: &[Layer]) -> Vec<LayerSparsity> {
        let of = |l: &Layer| {
            let pruned = alive[l.range.clone()].iter().filter(|a| !**a).count();
            LayerSparsity { name: l.name.clone(), weights: l.range.len(), pruned }
        };
        layers.iter().map(of).collect()
    }
}
