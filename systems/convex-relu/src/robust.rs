//! Convex adversarial training: the network of least worst-case training loss over boxes around
//! the samples, among those whose neurons keep their signs in every box.

use std::collections::HashMap;

use rand::RngExt;
use rayon::prelude::*;
use thalweg_core::{Invalid, Seed, normal, rademacher};

use crate::certificate::{Certified, Solution};
use crate::conic::{Conic, Kind};
use crate::exact::margin_rows;
use crate::loss::sigmoid;
use crate::program::{FINE, Inside};
use crate::samples::{add, dot, norm};
use crate::{Certificate, ConvexError, Loss, Patterns, Program, Samples};

/// A slack of the sign conditions above which a pattern has neurons strictly inside its robust cone.
const INSIDE: f64 = 1e-9;

/// Programs after the first at most.
const ROUNDS: usize = 8;

/// The robust program: a program whose neurons lie in K_i^ε = { v : E_i X v ≥ Σ_j ε_j|v_j| } and whose
/// loss is the worst in the boxes |δ_kj| ≤ ε_j, in closed form for all three losses.
#[derive(Clone, Debug)]
pub struct RobustProgram {
    program: Program,
    eps: Vec<f64>,
    /// A point strictly inside each cone, of slack 1.
    inside: Vec<Vec<f64>>,
}

/// Refuses what is not a half width.
pub(crate) fn check_eps(eps: &[f64]) -> Result<(), Invalid> {
    let bad = eps.iter().find(|e| !(**e >= 0.0 && e.is_finite()));
    Invalid::check(bad.is_none(), "eps", bad.unwrap_or(&0.0), "numbers ≥ 0")
}

/// Checks ε: one number ≥ 0 per feature.
fn check_box(samples: &Samples, eps: &[f64]) -> Result<(), ConvexError> {
    ConvexError::check("entries of eps", eps.len(), samples.d())?;
    Ok(check_eps(eps)?)
}

/// Patterns that admit a neuron in the boxes: those of (X + Δ)a for random directions a and corners
/// Δ, then, if fewer than 4 survive, those of the widest neurons of a few samples and the one that is
/// on everywhere, a linear model.
///
/// # Errors
/// If none is left, with the largest admissible multiple of ε.
pub fn robust_patterns(
    samples: &Samples,
    eps: &[f64],
    draws: u64,
    seed: Seed,
) -> Result<Patterns, ConvexError> {
    check_box(samples, eps)?;
    let mut patterns = Patterns::none(samples.n());
    let (mut a, mut corner) = (vec![0.0; samples.d()], vec![0.0; samples.d()]);
    for i in 0..draws {
        let mut rng = seed.stream("robust pattern", i);
        normal(&mut rng, &mut a);
        let height = |x: &[f64]| {
            let shift = if i.is_multiple_of(2) {
                0.0
            } else {
                rademacher(&mut rng, &mut corner);
                a.iter().zip(&corner).zip(eps).map(|((a, s), e)| a * s * e).sum()
            };
            dot(x, &a) + shift
        };
        patterns.add(&samples.rows().map(height).collect::<Vec<_>>());
    }
    if let Ok(kept) = admissible(samples, &patterns, eps).filter(4) {
        return Ok(kept);
    }
    patterns.add(&vec![1.0; samples.n()]);
    for i in 0..draws {
        let mut rng = seed.stream("robust candidate", i);
        let few: Vec<usize> = (0..5.min(samples.n())).map(|_| rng.random_range(0..samples.n())).collect();
        normal(&mut rng, &mut a);
        let heights = samples.times(&a);
        let wide = few.len() > 1;
        let sub = samples.select(&few).ok().filter(|_| wide);
        let signs: Vec<f64> = few.iter().map(|&k| if heights[k] >= 0.0 { 1.0 } else { -1.0 }).collect();
        if let Some((v, _)) = sub.and_then(|sub| interior(&sub, &signs, eps)) {
            patterns.add(&samples.times(&v));
        }
    }
    admissible(samples, &patterns, eps).filter(1)
}

/// Patterns with the interior point of each robust cone that has one.
struct Admissible<'a> {
    samples: &'a Samples,
    patterns: &'a Patterns,
    eps: &'a [f64],
    inside: Inside,
}

fn admissible<'a>(samples: &'a Samples, patterns: &'a Patterns, eps: &'a [f64]) -> Admissible<'a> {
    let one = |i: usize| {
        let (v, slack) = interior(samples, &signs(patterns, i), eps)?;
        (slack > INSIDE).then(|| v.iter().map(|v| v / slack).collect())
    };
    let inside = (0..patterns.len()).into_par_iter().map(one).collect();
    Admissible { samples, patterns, eps, inside }
}

impl Admissible<'_> {
    /// The admissible patterns if there are `least`.
    fn filter(&self, least: usize) -> Result<Patterns, ConvexError> {
        if self.inside.iter().flatten().count() >= least.max(1) {
            return self.patterns.filter(|i| self.inside[i].is_some());
        }
        let widest = |i: usize| largest_eps(self.samples, &signs(self.patterns, i), self.eps);
        let factor = (0..self.patterns.len()).into_par_iter().map(widest).reduce(|| 0.0, f64::max);
        Err(ConvexError::NotAdmissible {
            largest: factor * self.eps.iter().fold(0.0, |a, b| f64::max(a, *b)),
        })
    }
}

fn signs(patterns: &Patterns, i: usize) -> Vec<f64> {
    (0..patterns.n()).map(|k| if patterns.on(i, k) { 1.0 } else { -1.0 }).collect()
}

/// Features that are perturbed.
fn perturbed(eps: &[f64]) -> Vec<usize> {
    (0..eps.len()).filter(|&j| eps[j] > 0.0).collect()
}

/// The point of the box |v_j| ≤ 1 with the largest least slack of e_k x_kᵀv ≥ ‖v‖_ε, and that slack.
fn interior(samples: &Samples, signs: &[f64], eps: &[f64]) -> Option<(Vec<f64>, f64)> {
    let d = samples.d();
    let mut conic = Conic::default();
    let v = conic.variables(d, 0.0, 0.0).start;
    let h = conic.variables(d, 0.0, 0.0).start;
    let tau = conic.variables(1, -1.0, 0.0).start;
    for (x, s) in samples.rows().zip(signs) {
        let mut terms = vec![(tau, -1.0)];
        terms.extend((0..d).flat_map(|j| [(v + j, s * x[j]), (h + j, -eps[j])]));
        conic.row(0.0, terms);
    }
    for j in 0..d {
        conic.row(0.0, [(h + j, 1.0), (v + j, -1.0)]);
        conic.row(0.0, [(h + j, 1.0), (v + j, 1.0)]);
        conic.row(1.0, [(h + j, -1.0)]);
    }
    conic.cone(Kind::NonnegativeConeT(samples.n() + 3 * d));
    let v = conic.solve(None).ok()?.x[v..v + d].to_vec();
    let slack = samples.rows().zip(signs).map(|(x, s)| s * dot(x, &v)).fold(f64::INFINITY, f64::min);
    let slack = slack - radius(&v, eps);
    Some((v, slack))
}

/// The largest s with e_k x_kᵀv ≥ s‖v‖_ε for some v ≠ 0.
fn largest_eps(samples: &Samples, signs: &[f64], eps: &[f64]) -> f64 {
    // Bisection over the interior's slack: monotone, and no unbounded program.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..12 {
        let middle = 0.5 * (low + high);
        let scaled: Vec<f64> = eps.iter().map(|e| middle * e).collect();
        match interior(samples, signs, &scaled) {
            Some((_, slack)) if slack > INSIDE => low = middle,
            _ => high = middle,
        }
    }
    low
}

/// ‖v‖_ε = Σ ε_j |v_j|.
fn radius(v: &[f64], eps: &[f64]) -> f64 {
    v.iter().zip(eps).map(|(v, e)| e * v.abs()).sum()
}

impl RobustProgram {
    /// The robust version of a program; its patterns without a neuron in the boxes are dropped.
    ///
    /// # Errors
    /// ε of another length or negative, several outputs or a linear part, no admissible pattern.
    pub fn new(program: &Program, eps: Vec<f64>) -> Result<Self, ConvexError> {
        program.check_plain("adversarial training")?;
        check_box(program.samples(), &eps)?;
        let (samples, patterns) = (program.samples(), program.patterns());
        let inside = program.geometry().inside(&eps, || admissible(samples, patterns, &eps).inside);
        let found = Admissible { samples, patterns, eps: &eps, inside };
        let kept = found.filter(1)?;
        let inside = found.inside.into_iter().flatten().collect();
        Ok(Self { program: program.with_patterns(kept)?, eps, inside })
    }

    /// The program over the admissible patterns.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// ε by feature.
    pub fn eps(&self) -> &[f64] {
        &self.eps
    }

    /// Solves by the interior-point method. The certificate's pair is feasible for the robust
    /// program and its dual; θ alone is the part of the dual point that belongs to the outputs.
    ///
    /// # Errors
    /// If the solver gives no point.
    pub fn solve(&self) -> Result<Certified, ConvexError> {
        let (n, d) = (self.program.samples().n(), self.program.samples().d());
        let all = vec![true; 2 * self.program.patterns().len()];
        let mut shifts = vec![vec![0.0; d]; all.len()];
        let bce = self.program.loss() == Loss::Bce;
        // Exponential cones end at reduced accuracy, or fail; Newton's quadratic programs go on. Groups
        // that the optimum does not use hold the solver's noise: near the end without them.
        let mut best = match self.solve_once(None, &all, &mut shifts) {
            Err(_) if bce => self.solve_once(Some(&vec![0.0; n]), &all, &mut shifts)?,
            first => first?,
        };
        let mut active = all.clone();
        if best.certificate.gap <= 1e-2 {
            let Solution { v, w, .. } = &best.solution;
            active = v.chunks(d).chain(w.chunks(d)).map(|v| norm(v) > 0.0).collect();
        }
        for _ in 0..ROUNDS {
            let before = best.certificate.gap;
            if before <= FINE || self.program.late() {
                break;
            }
            let margin = |k: usize| -2.0 * self.program.targets()[k] * self.worst_output(&best.solution, k);
            let margins: Option<Vec<f64>> = bce.then(|| (0..n).map(margin).collect());
            if let Ok(now) = self.solve_once(margins.as_deref(), &active, &mut shifts) {
                best = now.or(best);
            }
            if best.certificate.gap > 0.5 * before {
                if active == all || !bce {
                    break;
                }
                active.clone_from(&all);
            }
        }
        Ok(self.or_none(best))
    }

    /// The solution without neurons, if the bound proves it as good as the solver's accuracy allows: neurons
    /// are noise then.
    fn or_none(&self, found: Certified) -> Certified {
        let solution = self.feasible(&vec![0.0; found.solution.v.len() + found.solution.w.len()]);
        let Certificate { dual_bound, theta, .. } = found.certificate.clone();
        let certificate = Certificate::new(self.objective(&solution), dual_bound, theta);
        if certificate.gap <= FINE { Certified { solution, certificate } } else { found }
    }

    /// One conic program of the active groups (all v, then all w); with `margins`
    /// bce is its model there.
    /// `shifts` are Gᵀμ − e of the dual by group, and are replaced for the active ones.
    fn solve_once(
        &self,
        margins: Option<&[f64]>,
        active: &[bool],
        shifts: &mut [Vec<f64>],
    ) -> Result<Certified, ConvexError> {
        let (program, samples) = (&self.program, self.program.samples());
        let (n, d, p, y) = (samples.n(), samples.d(), program.patterns().len(), program.targets());
        let moved = perturbed(&self.eps);
        let mut conic = Conic::default();
        let groups: Vec<usize> = (0..2 * p).filter(|&g| active[g]).collect();
        let (v, cones) = self.groups(&mut conic, &groups, &moved);
        let column = |g: usize| groups.binary_search(&g).ok().map(|at| v + at * d);

        // a_i = v_i − w_i: what samples share then couples half as many variables.
        let used: Vec<usize> = (0..p).filter(|&i| active[i] || active[p + i]).collect();
        let sides = conic.variables(used.len() * d, 0.0, 0.0).start;
        for (at, &i) in used.iter().enumerate() {
            for j in 0..d {
                let parts = [(column(i), 1.0), (column(p + i), -1.0)].into_iter();
                let parts = parts.filter_map(|(column, s)| Some((column? + j, s)));
                conic.row(0.0, parts.chain([(sides + at * d + j, -1.0)]));
            }
        }
        conic.cone(Kind::ZeroConeT(used.len() * d));
        let side = |i: usize| used.binary_search(&i).ok().map(|at| sides + at * d);

        // The local model p_k = Σ_i D_i[k] a_i depends on the sample only through its row of D:
        // q ≥ |p| and reach = ‖p‖_ε once per distinct row.
        let (classes, of) = self.distinct_rows();
        let model =
            |c: usize, j: usize, s: f64| classes[c].iter().filter_map(move |&i| Some((side(i)? + j, s)));
        let q = conic.variables(classes.len() * moved.len(), 0.0, 0.0).start;
        let reach = conic.variables(classes.len(), 0.0, 0.0).start;
        let bounds = conic.rows();
        for c in 0..classes.len() {
            self.radius_rows(&mut conic, &moved, |j, s| model(c, j, s), q + c * moved.len(), reach + c);
        }
        conic.cone(Kind::NonnegativeConeT(conic.rows() - bounds));

        let terms = |k: usize, s: f64, t: f64| {
            let x = samples.row(k).iter().enumerate();
            x.flat_map(|(j, x)| model(of[k], j, s * x)).chain([(reach + of[k], t)]).collect::<Vec<_>>()
        };
        let rows = match program.loss() {
            Loss::Squared => {
                // z_k ≥ ±(r_k − y_k) + reach_k
                let z = conic.variables(n, 0.0, 1.0).start;
                let row = |i: usize| {
                    let (k, s) = (i / 2, if i.is_multiple_of(2) { -1.0 } else { 1.0 });
                    conic.row(-s * y[k], terms(k, s, -1.0).into_iter().chain([(z + k, 1.0)]))
                };
                let rows = (0..2 * n).map(row).collect();
                conic.cone(Kind::NonnegativeConeT(2 * n));
                rows
            }
            loss => margin_rows(&mut conic, loss, y, margins, terms),
        };

        let point = conic.solve(program.left())?;
        let mut columns = vec![0.0; 2 * p * d];
        for (at, (&g, &row)) in groups.iter().zip(&cones).enumerate() {
            columns[g * d..][..d].copy_from_slice(&point.x[v + at * d..][..d]);
            shifts[g] = self.shift(g % p, &point.z[row..], &moved);
        }
        let solution = self.feasible(&columns);
        let objective = self.objective(&solution);
        let dual = Dual { rows: &rows, shifts, bounds, classes: &classes, of: &of, moved: &moved };
        let (theta, bound) = self.bound(&dual, &point.z, &solution);
        Ok(Certified { solution, certificate: Certificate::new(objective, bound, theta) })
    }

    /// Adds the groups with the cost of their norms, in their robust cones: the first variable, and
    /// the first row of each cone.
    fn groups(&self, conic: &mut Conic, groups: &[usize], moved: &[usize]) -> (usize, Vec<usize>) {
        let (program, samples) = (&self.program, self.program.samples());
        let (d, p, count) = (samples.d(), program.patterns().len(), groups.len());
        let v = conic.variables(count * d, 0.0, 0.0).start;
        let lengths = conic.variables(count, program.beta(), 0.0).start;
        let sizes = conic.variables(count * moved.len(), 0.0, 0.0).start; // |v|
        let radii = conic.variables(count, 0.0, 0.0).start; // ‖v‖_ε
        let one = |(at, g): (usize, &usize)| {
            let (cone, first, v) = (program.geometry().cone(g % p), conic.rows(), v + at * d);
            for k in (0..samples.n()).filter(|&k| cone.norms[k] > 0.0) {
                let e = cone.sign(k) / cone.norms[k];
                let own = samples.row(k).iter().enumerate().map(|(j, x)| (v + j, e * x));
                conic.row(0.0, own.chain([(radii + at, -1.0 / cone.norms[k])]));
            }
            self.radius_rows(conic, moved, |j, s| [(v + j, s)], sizes + at * moved.len(), radii + at);
            conic.cone(Kind::NonnegativeConeT(conic.rows() - first));
            conic.row(0.0, [(lengths + at, 1.0)]);
            (v..v + d).for_each(|j| {
                conic.row(0.0, [(j, 1.0)]);
            });
            conic.cone(Kind::SecondOrderConeT(d + 1));
            first
        };
        (v, groups.iter().enumerate().map(one).collect())
    }

    /// Gᵀμ − e of pattern `i` from the multipliers of its cone, clipped to μ ≥ 0, |e| ≤ ε Σ μ.
    fn shift(&self, i: usize, z: &[f64], moved: &[usize]) -> Vec<f64> {
        let (cone, samples) = (self.program.geometry().cone(i), self.program.samples());
        let (mut shift, mut sum, mut row) = (vec![0.0; samples.d()], 0.0, 0);
        for k in (0..samples.n()).filter(|&k| cone.norms[k] > 0.0) {
            let mu = z[row].max(0.0) / cone.norms[k];
            add(&mut shift, mu * cone.sign(k), samples.row(k));
            sum += mu;
            row += 1;
        }
        for (m, &j) in moved.iter().enumerate() {
            let most = self.eps[j] * sum;
            shift[j] -= (z[row + 2 * m] - z[row + 2 * m + 1]).clamp(-most, most);
        }
        shift
    }

    /// Adds size ≥ |x| by perturbed feature, two rows each, and radius ≥ Σ ε·size; `x(j, s)` are the
    /// terms of s·x_j.
    fn radius_rows<T: IntoIterator<Item = (usize, f64)>>(
        &self,
        conic: &mut Conic,
        moved: &[usize],
        x: impl Fn(usize, f64) -> T,
        size: usize,
        radius: usize,
    ) {
        for (m, &j) in moved.iter().enumerate() {
            conic.row(0.0, x(j, -1.0).into_iter().chain([(size + m, 1.0)]));
            conic.row(0.0, x(j, 1.0).into_iter().chain([(size + m, 1.0)]));
        }
        let wide = moved.iter().enumerate().map(|(m, &j)| (size + m, -self.eps[j]));
        conic.row(0.0, wide.chain([(radius, 1.0)]));
    }

    /// The distinct rows of D as lists of patterns, and which one each sample has.
    fn distinct_rows(&self) -> (Vec<Vec<usize>>, Vec<usize>) {
        let patterns = self.program.patterns();
        let mut numbers: HashMap<Vec<usize>, usize> = HashMap::new();
        let mut classes = Vec::new();
        let mut of = Vec::with_capacity(patterns.n());
        for k in 0..patterns.n() {
            let on: Vec<usize> = (0..patterns.len()).filter(|&i| patterns.on(i, k)).collect();
            let number = *numbers.entry(on.clone()).or_insert_with(|| {
                classes.push(on);
                classes.len() - 1
            });
            of.push(number);
        }
        (classes, of)
    }

    /// Moves every column into its robust cone along the point inside; columns that are nothing but
    /// the solver's noise become 0.
    fn feasible(&self, columns: &[f64]) -> Solution {
        let (samples, p) = (self.program.samples(), self.program.patterns().len());
        let d = samples.d();
        let total: f64 = columns.chunks(d).map(norm).sum();
        let mut fixed = columns.to_vec();
        for (g, v) in fixed.chunks_mut(d).enumerate() {
            if norm(v) <= 1e-7 * total {
                v.fill(0.0);
                continue;
            }
            let pattern = self.program.geometry().pattern(g % p);
            let slack = |(x, on): (&[f64], &f64)| (2.0 * on - 1.0) * dot(x, v);
            let least = samples.rows().zip(pattern).map(slack).fold(f64::INFINITY, f64::min);
            let missing = radius(v, &self.eps) - least;
            if missing > 0.0 {
                add(v, missing, &self.inside[g % p]);
            }
        }
        let (v, w) = fixed.split_at(p * d);
        let outputs = self.program.predict(v, w);
        Solution { v: v.to_vec(), w: w.to_vec(), linear_part: None, outputs }
    }

    /// Local linear models p_k = Σ_i D_i[k] (v_i − w_i).
    fn local(&self, solution: &Solution, k: usize) -> Vec<f64> {
        let d = self.program.samples().d();
        let mut local = vec![0.0; d];
        for i in (0..self.program.patterns().len()).filter(|&i| self.program.patterns().on(i, k)) {
            add(&mut local, 1.0, &solution.v[i * d..][..d]);
            add(&mut local, -1.0, &solution.w[i * d..][..d]);
        }
        local
    }

    /// The output of sample k at its worst point of the box.
    fn worst_output(&self, solution: &Solution, k: usize) -> f64 {
        let (r, y) = (solution.outputs[k], self.program.targets()[k]);
        let reach = radius(&self.local(solution, k), &self.eps);
        match self.program.loss() {
            Loss::Squared => r + if r >= y { reach } else { -reach },
            Loss::Hinge | Loss::Bce => r - y * reach,
        }
    }

    /// Worst-case loss plus β Σ (‖v_i‖ + ‖w_i‖).
    pub fn objective(&self, solution: &Solution) -> f64 {
        let worst: Vec<f64> =
            (0..self.program.samples().n()).map(|k| self.worst_output(solution, k)).collect();
        self.program.objective(&worst, &solution.v, &solution.w)
    }

    /// Dual bound: for θ_k with weights s_k ≥ |θ_k| and |g_c| ≤ ε Σ_{k∈c} s_k, the loss is at least
    /// Σ θ_k r_k + Σ_c g_cᵀp_c − κ; so −κ bounds the optimum if for all i and signs
    /// ‖±(F_iᵀθ + Σ_{c∋i} g_c) − G_iᵀμ + e‖ ≤ β with some μ ≥ 0, |e| ≤ ε Σ μ. The solver's multipliers,
    /// clipped to these ranges and scaled down, do.
    fn bound(&self, dual: &Dual<'_>, z: &[f64], solution: &Solution) -> (Vec<f64>, f64) {
        let program = &self.program;
        let (n, p, y) = (program.samples().n(), program.patterns().len(), program.targets());
        let (mut theta, mut weight) = (vec![0.0; n], vec![0.0; n]);
        for k in 0..n {
            match program.loss() {
                Loss::Squared => {
                    let (a, b) = (z[dual.rows[2 * k]].max(0.0), z[dual.rows[2 * k + 1]].max(0.0));
                    (theta[k], weight[k]) = (a - b, a + b);
                }
                Loss::Hinge => {
                    weight[k] = z[dual.rows[k]].clamp(0.0, 1.0);
                    theta[k] = -y[k] * weight[k];
                }
                Loss::Bce => {
                    weight[k] = 2.0 * sigmoid(-2.0 * y[k] * self.worst_output(solution, k));
                    theta[k] = -y[k] * weight[k];
                }
            }
        }
        let mut sums = vec![0.0; dual.classes.len()];
        (0..n).for_each(|k| sums[dual.of[k]] += weight[k]);
        let mut pulled = program.geometry().pull(&theta);
        for (c, on) in dual.classes.iter().enumerate() {
            for (m, &j) in dual.moved.iter().enumerate() {
                let row = dual.bounds + c * (2 * dual.moved.len() + 1) + 2 * m;
                let most = self.eps[j] * sums[c];
                let g = (z[row] - z[row + 1]).clamp(-most, most);
                on.iter().for_each(|&i| pulled[(j, i)] += g);
            }
        }
        let distance = |g: usize| {
            let (i, sign) = (g % p, if g < p { 1.0 } else { -1.0 });
            let rest = pulled.col_as_slice(i).iter().zip(&dual.shifts[g]);
            norm(&rest.map(|(x, shift)| sign * x - shift).collect::<Vec<_>>())
        };
        let limit = (0..2 * p).map(distance).fold(f64::MIN_POSITIVE, f64::max) * (1.0 + 1e-12);
        let most = program.beta() / limit;
        let scale = if program.loss() == Loss::Squared {
            let linear: f64 = -theta.iter().zip(y).map(|(t, y)| t * y).sum::<f64>();
            (linear / dot(&weight, &weight).max(f64::MIN_POSITIVE)).clamp(0.0, most)
        } else {
            most.min(1.0)
        };
        theta.iter_mut().for_each(|t| *t *= scale);
        let value = |k: usize| match program.loss() {
            Loss::Squared => -theta[k] * y[k] - 0.5 * (scale * weight[k]).powi(2),
            loss => loss.dual(theta[k], y[k]),
        };
        let value = (0..n).map(value).sum();
        (theta, value)
    }
}

/// Where the multipliers lie, and how the samples share rows of D.
struct Dual<'a> {
    /// Loss rows by sample.
    rows: &'a [usize],
    /// Gᵀμ − e by group.
    shifts: &'a [Vec<f64>],
    /// First row of the bounds q ≥ |p|, two a feature and one more a class.
    bounds: usize,
    classes: &'a [Vec<usize>],
    of: &'a [usize],
    moved: &'a [usize],
}
