use serde::{Deserialize, Serialize};
use thalweg_core::{Block, Invalid, Layout, Method, MethodError, Objective, Progress, Real, Seed};
use thalweg_optim::{Guard, Schedule, known, zero_masked};

use crate::kernel::{self, Numbers, Piece, Scan};
use crate::state::Scratch;
use crate::{Average, BlockRules, Group, Moments, Probe, State, average, probe};

/// AdaHessian (Yao et al., arXiv:2006.00719). The defaults are those of the authors' program for
/// images.
///
/// With the gradient g and the spatially averaged estimate D of the Hessian's diagonal:
///
/// ```text
/// v ← β₂ v + (1−β₂) D²        every `hessian_every` updates; s counts them
/// m ← β₁ m + (1−β₁) g         every update; t counts them
/// θ ← θ − η ( m̂ / ((√v̂)ᵏ + ε) + λ θ )      m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ˢ)
/// ```
///
/// For a ±1 probe `E[D_i] = H_ii` and `Var[D_i] = Σ_{j≠i} H_ij²`: without averaging v̂ estimates
/// the squared norm of the Hessian's ROW, not the squared diagonal. The method is cautious by
/// construction; more probes remove that caution and lengthen the steps, so retune `lr` with
/// `probes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaHessian {
    /// Learning rate η ≥ 0; 1 is Newton's step on a diagonal quadratic. Default 0.15; the authors
    /// used 0.047 for a translation transformer. Without averaging 0.01 to 0.05.
    pub lr: f64,
    /// Decay rates (β₁, β₂) of the averages of gradient and curvature, each in [0, 1). Default
    /// (0.9, 0.999); (0.9, 0.98) for transformers.
    pub betas: (f64, f64),
    /// ε ≥ 0, added after the power. Default 1e-4. Rows of an embedding that are rarely seen need
    /// it, or `min_denominator`.
    pub eps: f64,
    /// Decoupled weight decay λ ≥ 0, multiplied by the scheduled rate. Default 0. The authors'
    /// CIFAR runs use 5e-4/η.
    pub weight_decay: f64,
    /// k in [0, 1]: 1 is the full method (default), 0 is gradient descent with momentum and needs
    /// no curvature.
    pub hessian_power: f64,
    /// Probes per refresh, at least 1 (default). Signed products are averaged over the probes
    /// before absolute values are taken.
    pub probes: usize,
    /// Updates from one refresh of the curvature to the next, at least 1 (default).
    pub hessian_every: u64,
    /// How a chunk's products become one number. Default: mean absolute value.
    pub average: Average,
    /// Distribution of the probes. Default ±1.
    pub probe: Probe,
    /// Averaging chunks by kind or name. Default: natural ones.
    pub blocks: BlockRules,
    /// Factor on the learning rate over the steps. Default constant.
    pub schedule: Schedule,
    /// Overrides for some blocks. Default none.
    pub groups: Vec<Group>,
    /// Least denominator, ≥ 0. Default 0.
    pub min_denominator: f64,
    /// Bound > 0 of every |m̂ / denominator|, which keeps the method's invariance to the scale of
    /// the loss, unlike clipping the gradient. Default none.
    pub clip_update: Option<f64>,
    /// Report the norm ‖D‖ of every block at each refresh, as `hessian_norm/NAME`. Default no.
    pub diagnostics: bool,
}

impl Default for AdaHessian {
    fn default() -> Self {
        Self {
            lr: 0.15,
            betas: (0.9, 0.999),
            eps: 1e-4,
            weight_decay: 0.0,
            hessian_power: 1.0,
            probes: 1,
            hessian_every: 1,
            average: Average::Abs,
            probe: Probe::Rademacher,
            blocks: BlockRules::default(),
            schedule: Schedule::default(),
            groups: Vec::new(),
            min_denominator: 0.0,
            clip_update: None,
            diagnostics: false,
        }
    }
}

impl<P: Objective + ?Sized> Method<P> for AdaHessian {
    type State = State<P::Scalar>;
    type Solution = Vec<P::Scalar>;

    fn name(&self) -> &'static str {
        "adahessian"
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.check()
    }

    fn init(&self, problem: &mut P, seed: Seed) -> Result<Self::State, MethodError> {
        let moments = self.moments(problem.layout())?;
        let mut theta = problem.start()?;
        MethodError::check_length("the start", theta.len(), moments.m.len())?;
        zero_masked(&mut theta, problem.mask());
        Ok(State { theta, moments, seed, scratch: Scratch::default() })
    }

    fn step(&self, problem: &mut P, state: &mut Self::State) -> Result<Progress, MethodError> {
        let State { theta, moments, seed, scratch } = state;
        let refresh = self.wants_curvature(problem.layout(), moments);
        let probes = if refresh { self.probes } else { 0 };
        scratch.fit(theta.len(), probes);
        let Scratch { grad, probes: z, products } = scratch;
        let (z, products) = (&mut z[..probes], &mut products[..probes]);

        self.draw(problem.layout(), moments, *seed, z);
        let value = match refresh {
            true => problem.value_grad_hvp(theta, grad, z, products)?,
            false => problem.value_grad(theta, grad)?,
        };
        let diagonal = self.diagonal(problem.layout(), z, products, problem.mask());
        let update = match value.is_finite() {
            true => self.update(problem.layout(), moments, theta, grad, diagonal)?,
            false => self.skip(moments, "the objective value", "its sum")?,
        };
        zero_masked(theta, problem.mask());

        let mut metrics = update.metrics(moments);
        if let Some(d) = diagonal.filter(|_| self.diagnostics) {
            metrics.extend(self.block_norms(problem.layout(), d));
        }
        Ok(Progress { value, evaluations: 1 + probes as u64, metrics, ..Progress::default() })
    }

    fn finish(&self, _problem: &mut P, state: Self::State) -> Result<Self::Solution, MethodError> {
        Ok(state.theta)
    }
}

/// What [`AdaHessian::update`] saw and did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// ‖g‖₂ over the trainable blocks; not a number if the step was skipped.
    pub grad_norm: f64,
    /// ‖g‖∞ over the trainable blocks; not a number if the step was skipped.
    pub grad_max: f64,
    /// Largest |Δθ|.
    pub max_update: f64,
    /// Scheduled learning rate.
    pub lr: f64,
    /// A derivative was not finite: nothing was changed but the counters.
    pub skipped: bool,
}

impl Update {
    fn metrics<T>(&self, moments: &Moments<T>) -> Vec<(String, f64)> {
        let mut metrics = vec![
            (Progress::GRAD_MAX.into(), self.grad_max),
            ("grad_norm".into(), self.grad_norm),
            ("max_update".into(), self.max_update),
            ("lr".into(), self.lr),
        ];
        if moments.guard.skipped > 0 {
            metrics.push(("skipped".into(), moments.guard.skipped as f64));
        }
        metrics
    }
}

/// The method by its parts, for callers who differentiate elsewhere:
/// [`moments`](Self::moments) once, then per step [`wants_curvature`](Self::wants_curvature),
/// [`draw`](Self::draw), your products, [`estimate`](Self::estimate), [`update`](Self::update).
impl AdaHessian {
    /// Names the first field that is out of range.
    pub fn check(&self) -> Result<(), Invalid> {
        Invalid::at_least_zero("lr", self.lr)?;
        Invalid::in_half_open("betas.0", self.betas.0, 0.0, 1.0)?;
        Invalid::in_half_open("betas.1", self.betas.1, 0.0, 1.0)?;
        Invalid::at_least_zero("eps", self.eps)?;
        Invalid::at_least_zero("weight_decay", self.weight_decay)?;
        Invalid::in_closed("hessian_power", self.hessian_power, 0.0, 1.0)?;
        Invalid::count("probes", self.probes)?;
        Invalid::count("hessian_every", self.hessian_every)?;
        Invalid::at_least_zero("min_denominator", self.min_denominator)?;
        let clip = self.clip_update.unwrap_or(1.0);
        Invalid::check(clip > 0.0, "clip_update", clip, "a number > 0, or leave it out")?;
        self.blocks.validate()?;
        self.schedule.validate()?;
        self.groups.iter().try_for_each(Group::validate)
    }

    /// The moments before the first update. An error if a setting is out of range, names no
    /// block of the layout, or nothing is trainable.
    pub fn moments<T: Real>(&self, layout: &Layout) -> Result<Moments<T>, MethodError> {
        self.check()?;
        self.blocks.check(layout)?;
        self.groups.iter().try_for_each(|g| known(layout, "groups.pattern", &g.pattern))?;
        if layout.blocks().iter().all(|b| b.frozen || b.is_empty()) {
            return Err(MethodError::Empty);
        }
        let chunks = layout.blocks().iter().map(|b| self.chunks(b)).sum();
        let (m, v) = (vec![T::ZERO; layout.len()], vec![T::ZERO; chunks]);
        Ok(Moments { m, v, t: 0, s: 0, guard: Guard::default() })
    }

    /// Whether the next update is due for fresh curvature.
    pub fn wants_curvature<T>(&self, layout: &Layout, moments: &Moments<T>) -> bool {
        let due = moments.t.is_multiple_of(self.hessian_every.max(1)) || moments.s == 0;
        due && layout.blocks().iter().any(|b| !b.frozen && self.power(b) > 0.0)
    }

    /// Fills each of `probes`, of the layout's length, with the next step's random directions.
    pub fn draw<T: Real>(&self, layout: &Layout, moments: &Moments<T>, seed: Seed, probes: &mut [Vec<T>]) {
        let first = moments.steps() * self.probes as u64;
        for (index, z) in (first..).zip(probes) {
            self.probe.draw(layout, seed, index, z);
        }
    }

    /// The estimate `mean_p z_p ⊙ Hz_p` of the diagonal, left in `products[0]`.
    pub fn estimate<T: Real>(&self, probes: &[Vec<T>], products: &mut [Vec<T>]) {
        probe::combine(probes, products);
    }

    /// One update of `moments` and `theta` from the gradient and, when it is fresh, the estimated
    /// diagonal: `z ⊙ Hz`, averaged over the probes but not over chunks. A `diagonal` of `None`
    /// reuses the curvature of earlier updates.
    ///
    /// If a derivative is not finite, nothing but the counters changes; ten times in a row are an
    /// error that names the block.
    pub fn update<T: Real>(
        &self,
        layout: &Layout,
        moments: &mut Moments<T>,
        theta: &mut [T],
        grad: &[T],
        diagonal: Option<&[T]>,
    ) -> Result<Update, MethodError> {
        let n = layout.len();
        MethodError::check_length("the iterate", theta.len(), n)?;
        MethodError::check_length("the gradient", grad.len(), n)?;
        MethodError::check_length("the diagonal", diagonal.map_or(n, <[T]>::len), n)?;
        MethodError::check_length("the momentum", moments.m.len(), n)?;
        MethodError::check_length(
            "the curvature",
            moments.v.len(),
            layout.blocks().iter().map(|b| self.chunks(b)).sum(),
        )?;
        if diagonal.is_none() && moments.s == 0 && self.wants_curvature(layout, moments) {
            return Err(MethodError::NoCurvature);
        }

        let (mut squares, mut grad_max) = (0.0, 0.0);
        for block in layout.blocks().iter().filter(|b| !b.frozen) {
            let g = Scan::of(&grad[block.range()]);
            let d = diagonal.map(|d| Scan::of(&d[block.range()]));
            (squares, grad_max) = (squares + g.squares, f64::max(grad_max, g.largest));
            let bad = match (g.finite, d.is_none_or(|d| d.finite)) {
                (false, _) => "the gradient",
                (_, false) => "the Hessian-vector product",
                _ => continue,
            };
            return self.skip(moments, bad, &block.name);
        }

        let lr = self.scheduled(moments);
        moments.guard.in_a_row = 0;
        moments.t += 1;
        moments.s += u64::from(diagonal.is_some());
        let (t, s) = (moments.t, moments.s);
        let mut pieces = Vec::new();
        let (mut theta, mut m, mut v) = (theta, &mut moments.m[..], &mut moments.v[..]);
        for block in layout.blocks() {
            let (theta, m) = (take(&mut theta, block.len()), take(&mut m, block.len()));
            let (v, g) = (take(&mut v, self.chunks(block)), &grad[block.range()]);
            if !block.frozen {
                let d = diagonal.map(|d| &d[block.range()]);
                Piece { numbers: self.numbers(block, lr, t, s), theta, m, v, g, d }.cut(&mut pieces);
            }
        }
        let max_update = kernel::update(pieces).to_f64();
        Ok(Update { grad_norm: squares.sqrt(), grad_max, max_update, lr, skipped: false })
    }

    /// Learning rate of the next step.
    fn scheduled<T>(&self, moments: &Moments<T>) -> f64 {
        self.lr * self.schedule.factor(moments.steps())
    }

    /// Counts a step that is not made; an error after [`Guard::LIMIT`] in a row.
    fn skip<T>(&self, moments: &mut Moments<T>, what: &str, place: &str) -> Result<Update, MethodError> {
        let (lr, nan) = (self.scheduled(moments), f64::NAN);
        let Guard { in_a_row, skipped } = &mut moments.guard;
        (*in_a_row, *skipped) = (*in_a_row + 1, *skipped + 1);
        if *in_a_row >= Guard::LIMIT {
            let (what, place) = (what.into(), place.into());
            return Err(MethodError::NonFinite { what, place, times: *in_a_row });
        }
        Ok(Update { grad_norm: nan, grad_max: nan, max_update: 0.0, lr, skipped: true })
    }

    /// The averaged estimate's norm ‖D‖₂ per trainable block, as metrics.
    fn block_norms<T: Real>(&self, layout: &Layout, diagonal: &[T]) -> Vec<(String, f64)> {
        let trainable = layout.blocks().iter().filter(|b| !b.frozen);
        let norm = |block: &Block| {
            let mut d = diagonal[block.range()].to_vec();
            average(&mut d, self.chunk(block), self.average);
            (format!("hessian_norm/{}", block.name), Scan::of(&d).squares.sqrt())
        };
        trainable.map(norm).collect()
    }

    /// What `update` needs of the products: the estimate, or an array with the same absolute
    /// values where signs do not matter.
    fn diagonal<'a, T: Real>(
        &self,
        layout: &Layout,
        probes: &[Vec<T>],
        products: &'a mut [Vec<T>],
        mask: Option<&[bool]>,
    ) -> Option<&'a [T]> {
        let signs = self.average == Average::Signed || self.probe != Probe::Rademacher || probes.len() > 1;
        if signs {
            self.estimate(probes, products);
        }
        let d = products.first_mut()?;
        // Pruned unknowns have no curvature; the mean is over the living ones of a chunk.
        for block in layout.blocks().iter().filter(|b| self.chunk(b) > 1 && !b.frozen) {
            let Some(mask) = mask else { break };
            let chunks = d[block.range()].chunks_mut(self.chunk(block));
            for (d, mask) in chunks.zip(mask[block.range()].chunks(self.chunk(block))) {
                let living = mask.iter().filter(|a| **a).count().max(1);
                let scale = T::from_f64(d.len() as f64 / living as f64);
                d.iter_mut().for_each(|d| *d *= scale);
            }
        }
        Some(d)
    }

    fn group(&self, block: &Block) -> Option<&Group> {
        self.groups.iter().find(|g| g.matches(block))
    }

    fn power(&self, block: &Block) -> f64 {
        self.group(block).and_then(|g| g.hessian_power).unwrap_or(self.hessian_power)
    }

    /// Length of an averaging chunk of the block.
    fn chunk(&self, block: &Block) -> usize {
        if self.average == Average::None {
            return 1;
        }
        let rule = self.group(block).and_then(|g| g.block);
        rule.unwrap_or_else(|| self.blocks.rule(block)).chunk(block)
    }

    /// Number of averaging chunks of the block.
    fn chunks(&self, block: &Block) -> usize {
        block.len().div_ceil(self.chunk(block))
    }

    fn numbers<T: Real>(&self, block: &Block, lr: f64, t: u64, s: u64) -> Numbers<T> {
        let real = T::from_f64;
        let correction = |beta: f64, n: u64| real(1.0 - beta.powi(n.min(1 << 30) as i32));
        let group = self.group(block);
        Numbers {
            beta: (real(self.betas.0), real(self.betas.1)),
            rest: (real(1.0 - self.betas.0), real(1.0 - self.betas.1)),
            correction: (correction(self.betas.0, t), correction(self.betas.1, s)),
            lr: real(lr * group.map_or(1.0, |g| g.lr_scale)),
            decay: real(group.and_then(|g| g.weight_decay).unwrap_or(self.weight_decay)),
            eps: real(self.eps),
            power: real(self.power(block)),
            min_denominator: real(self.min_denominator),
            clip: real(self.clip_update.unwrap_or(f64::INFINITY)),
            chunk: self.chunk(block),
            mode: self.average,
        }
    }
}

/// Splits the first `n` elements off.
fn take<'a, T>(rest: &mut &'a mut [T], n: usize) -> &'a mut [T] {
    let (head, tail) = std::mem::take(rest).split_at_mut(n);
    *rest = tail;
    head
}
