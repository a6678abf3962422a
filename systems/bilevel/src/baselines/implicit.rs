use rand::RngExt;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Method, MethodError, Progress, Seed};

use crate::method::sampled::{
    Sampled, Valued, add, decayed, descend, descend_within, exponents, positive, report,
};
use crate::set::{dot, norm2};
use crate::{Batch, BilevelError, Oracle, Set, Solution};

/// How `v ≈ (∇²_yy g)⁻¹ ∇_y f` is had, and with it the method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Linear {
    /// AID (Pedregosa 2016, Grazzi et al. 2020): T full lower steps, then conjugate gradients from the last v.
    #[default]
    Aid,
    /// stocBiO (Ji, Yang and Liang 2021): T sampled lower steps, then a Neumann series
    /// `v = γ Σ_q (I − γ∇²_yy g)^q ∇_y f` with fresh terms in each product.
    Stocbio,
    /// SOBA (Dagréou et al. 2022): one sampled step each on z, v and x, all taken at the same old point.
    Soba,
    /// SABA (ibid.): SOBA with SAGA's memory of each batch in all five directions.
    Saba,
    /// AmIGO (Arbel and Mairal 2022): T sampled lower steps, then T sampled steps on v from the last one.
    Amigo,
}

/// Implicit differentiation: `x −= α(∇_x f − ∇²_xy g·v)` at an inexact lower solution. It needs products with second
/// derivatives and a lower level with one solution; constraints of Y are projected onto in the lower steps but not
/// differentiated.
///
/// `v −= γ(∇²_yy g·v − ∇_y f)` where v moves by steps. Defaults as in benchmark_bilevel: 10 lower steps, 10 products.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Implicit {
    /// Which of them. Default AID.
    pub linear: Linear,
    /// Step α on x at first. Default 0.1.
    pub alpha: f64,
    /// Its exponent (and γ's, for sampled methods that decay). Default 0.
    pub power: f64,
    /// Step γ on z and v. Default 0.1.
    pub gamma: f64,
    /// Lower steps T; 1 for SOBA and SABA. Default 10.
    pub inner: u64,
    /// Products per linear system. Default 10.
    pub products: u64,
    /// Terms per gradient; 0 for all. Default 64 (AID takes all).
    pub batch: u64,
    /// Iterations before decay sets in, > 0. Default 100.
    pub shift: f64,
    /// Divide lower-level steps by the curvature of each coordinate, where the problem knows it. Default false.
    pub scaled: bool,
    /// Longest step on x. Default 1e3.
    pub trust: f64,
}

impl Default for Implicit {
    fn default() -> Self {
        Self {
            linear: Linear::Aid,
            alpha: 0.1,
            power: 0.0,
            gamma: 0.1,
            inner: 10,
            products: 10,
            batch: 64,
            shift: 100.0,
            scaled: false,
            trust: 1e3,
        }
    }
}

/// State of the sampled implicit methods.
pub type SampledImplicit = Sampled<Memories>;

/// What [`Implicit`] keeps: v, and SABA's memories.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Memories {
    v: Vec<f64>,
    /// Per batch of f: ∇_x f and ∇_y f.
    f: Vec<(Vec<f64>, Vec<f64>)>,
    /// Per batch of g: ∇_y g, ∇²_yy g·v and ∇²_xy g·v.
    g: Vec<(Vec<f64>, Vec<f64>, Vec<f64>)>,
    /// The means of them, weighted by the sizes of the batches.
    mean: [Vec<f64>; 5],
}

/// The terms of batch number `i` when `terms` are cut into batches.
fn slice(terms: u64, batch: u64, i: u64) -> Vec<u64> {
    (i * batch..((i + 1) * batch).min(terms)).collect()
}

impl Implicit {
    fn size(&self, terms: u64) -> u64 {
        if self.batch == 0 { terms } else { self.batch.min(terms) }
    }

    /// SABA's directions of z (∇_y g), of v (∇²_yy g·v − ∇_y f), of x (∇_x f − ∇²_xy g·v), and f on its batch.
    fn saga(
        &self,
        oracle: &mut Oracle<'_>,
        state: &mut SampledImplicit,
    ) -> Result<([Vec<f64>; 3], f64), BilevelError> {
        let (n_f, n_g) = oracle.problem().terms();
        let (b_f, b_g) = (self.size(n_f), self.size(n_g));
        let (parts_f, parts_g) = (n_f.div_ceil(b_f), n_g.div_ceil(b_g));
        let Sampled { at, rng, memory, .. } = state;
        let at = (&at.x[..], &at.z[..]);
        let v = memory.v.clone();
        let f_of = |oracle: &mut Oracle<'_>, i: u64| oracle.f_xy(at, Batch::Terms(&slice(n_f, b_f, i)));
        let g_of = |oracle: &mut Oracle<'_>, i: u64| {
            let terms = slice(n_g, b_g, i);
            let (cross, product) = oracle.hessian(at, &v, Batch::Terms(&terms))?;
            Ok::<_, BilevelError>((oracle.g_y(at, Batch::Terms(&terms))?, product, cross))
        };
        if memory.f.is_empty() {
            let pair = |f: Valued| (f.x, f.y);
            memory.f = (0..parts_f).map(|i| f_of(oracle, i).map(pair)).collect::<Result<_, _>>()?;
            memory.g = (0..parts_g).map(|i| g_of(oracle, i)).collect::<Result<_, _>>()?;
            let (n, m) = (at.0.len(), at.1.len());
            memory.mean = [vec![0.0; n], vec![0.0; m], vec![0.0; m], vec![0.0; m], vec![0.0; n]];
            for (i, (x, y)) in memory.f.iter().enumerate() {
                let share = slice(n_f, b_f, i as u64).len() as f64 / n_f as f64;
                add(&mut memory.mean[0], share, x);
                add(&mut memory.mean[1], share, y);
            }
            for (i, (y, product, cross)) in memory.g.iter().enumerate() {
                let share = slice(n_g, b_g, i as u64).len() as f64 / n_g as f64;
                add(&mut memory.mean[2], share, y);
                add(&mut memory.mean[3], share, product);
                add(&mut memory.mean[4], share, cross);
            }
        }
        let (i, j) = (rng.random_range(0..parts_f), rng.random_range(0..parts_g));
        let (f, g) = (f_of(oracle, i)?, g_of(oracle, j)?);
        let (share_f, share_g) =
            (slice(n_f, b_f, i).len() as f64 / n_f as f64, slice(n_g, b_g, j).len() as f64 / n_g as f64);
        let (old_f, old_g) = (&mut memory.f[i as usize], &mut memory.g[j as usize]);
        // new − remembered + mean, and the mean moves along.
        let mut refresh = |k: usize, new: Vec<f64>, old: &mut Vec<f64>, share: f64, parts: u64| {
            let mean = &mut memory.mean[k];
            // Batches are drawn evenly; a short last one counts as much less as it is shorter.
            let weight = share * parts as f64;
            let direction =
                (0..new.len()).map(|c| weight * (new[c] - old[c]) + mean[c]).collect::<Vec<f64>>();
            (0..new.len()).for_each(|c| mean[c] += share * (new[c] - old[c]));
            *old = new;
            direction
        };
        let f_x = refresh(0, f.x, &mut old_f.0, share_f, parts_f);
        let f_y = refresh(1, f.y, &mut old_f.1, share_f, parts_f);
        let g_y = refresh(2, g.0, &mut old_g.0, share_g, parts_g);
        let mut of_v = refresh(3, g.1, &mut old_g.1, share_g, parts_g);
        let cross = refresh(4, g.2, &mut old_g.2, share_g, parts_g);
        add(&mut of_v, -1.0, &f_y);
        let mut of_x = f_x;
        add(&mut of_x, -1.0, &cross);
        Ok(([g_y, of_v, of_x], f.value))
    }

    /// One step each on z and v from the same point; the direction of x there, and f.
    fn single(
        &self,
        oracle: &mut Oracle<'_>,
        state: &mut SampledImplicit,
        gamma: f64,
        scale: Option<&[f64]>,
    ) -> Result<(Vec<f64>, f64), BilevelError> {
        let ([of_z, of_v, of_x], value) = match self.linear {
            Linear::Saba => self.saga(oracle, state)?,
            _ => {
                let (xi, zeta) = state.draw(oracle, self.batch);
                let at = (&state.at.x[..], &state.at.z[..]);
                let f = oracle.f_xy(at, xi.batch())?;
                let (cross, mut of_v) = oracle.hessian(at, &state.memory.v, zeta.batch())?;
                let of_z = oracle.g_y(at, zeta.batch())?;
                add(&mut of_v, -1.0, &f.y);
                let mut of_x = f.x;
                add(&mut of_x, -1.0, &cross);
                ([of_z, of_v, of_x], f.value)
            }
        };
        descend(&mut state.at.z, oracle.problem().y_set(), gamma, &of_z, scale);
        descend(&mut state.memory.v, &Set::Free, gamma, &of_v, scale);
        Ok((of_x, value))
    }

    /// T steps on z, then a linear system for v; the direction of x there, and f.
    fn double(
        &self,
        oracle: &mut Oracle<'_>,
        state: &mut SampledImplicit,
        gamma: f64,
        scale: Option<&[f64]>,
    ) -> Result<(Vec<f64>, f64), BilevelError> {
        let batch = if self.linear == Linear::Aid { 0 } else { self.batch };
        for _ in 0..self.inner {
            let (_, zeta) = state.draw(oracle, batch);
            let d = oracle.g_y((&state.at.x, &state.at.z), zeta.batch())?;
            descend(&mut state.at.z, oracle.problem().y_set(), gamma, &d, scale);
        }
        match self.linear {
            Linear::Aid => {
                let Sampled { at, memory, .. } = &mut *state;
                self.conjugate_gradients(oracle, (&at.x, &at.z), &mut memory.v)?;
            }
            Linear::Stocbio => {
                // Σ (I − γD⁻¹H)^q γD⁻¹∇_y f, D the scaling.
                let (xi, _) = state.draw(oracle, batch);
                let slope = oracle.f_y((&state.at.x, &state.at.z), xi.batch())?;
                let mut term = vec![0.0; slope.len()];
                descend(&mut term, &Set::Free, -gamma, &slope, scale);
                let mut sum = term.clone();
                for _ in 1..self.products {
                    let (_, zeta) = state.draw(oracle, batch);
                    let product = oracle.hessian((&state.at.x, &state.at.z), &term, zeta.batch())?.1;
                    descend(&mut term, &Set::Free, gamma, &product, scale);
                    add(&mut sum, 1.0, &term);
                }
                state.memory.v = sum;
            }
            _ => {
                for _ in 0..self.products {
                    let (xi, zeta) = state.draw(oracle, batch);
                    let at = (&state.at.x[..], &state.at.z[..]);
                    let mut d = oracle.hessian(at, &state.memory.v, zeta.batch())?.1;
                    add(&mut d, -1.0, &oracle.f_y(at, xi.batch())?);
                    descend(&mut state.memory.v, &Set::Free, gamma, &d, scale);
                }
            }
        }
        let (xi, zeta) = state.draw(oracle, batch);
        let at = (&state.at.x[..], &state.at.z[..]);
        let (value, mut d) = oracle.f_x(at, xi.batch())?;
        add(&mut d, -1.0, &oracle.hessian(at, &state.memory.v, zeta.batch())?.0);
        Ok((d, value))
    }

    /// Conjugate gradients on `∇²_yy g·v = ∇_y f` from v.
    fn conjugate_gradients(
        &self,
        oracle: &mut Oracle<'_>,
        at: (&[f64], &[f64]),
        v: &mut [f64],
    ) -> Result<(), BilevelError> {
        let mut r = oracle.f_y(at, Batch::Full)?;
        solve(oracle, at, &mut r, v, self.products, 0.0)
    }
}

/// Conjugate gradients from `v`, at most `limit` products beside the first, to the relative residual `tolerance`;
/// `r` holds the right-hand side.
pub(super) fn solve(
    oracle: &mut Oracle<'_>,
    at: (&[f64], &[f64]),
    r: &mut [f64],
    v: &mut [f64],
    limit: u64,
    tolerance: f64,
) -> Result<(), BilevelError> {
    let norm = norm2(r);
    add(r, -1.0, &oracle.hessian(at, v, Batch::Full)?.1);
    let (mut p, mut rr) = (r.to_vec(), norm2(r));
    for _ in 0..limit {
        if rr <= tolerance * tolerance * norm || rr == 0.0 {
            break;
        }
        let product = oracle.hessian(at, &p, Batch::Full)?.1;
        let curvature = dot(&p, &product);
        if curvature <= 0.0 {
            break; // g is not convex here: what has been found must do
        }
        let t = rr / curvature;
        add(v, t, &p);
        add(r, -t, &product);
        let new = norm2(r);
        p.iter_mut().zip(&*r).for_each(|(p, r)| *p = r + new / rr * *p);
        rr = new;
    }
    Ok(())
}

/// Refuses a lower solution, of which `left` is the projected gradient, that a constraint holds.
///
/// # Errors
/// [`BilevelError::Held`].
pub(crate) fn unheld(oracle: &mut Oracle<'_>, at: (&[f64], &[f64]), left: f64) -> Result<(), BilevelError> {
    if matches!(oracle.problem().y_set(), Set::Free) {
        return Ok(());
    }
    let slope = oracle.g_y(at, Batch::Full)?;
    let gradient = norm2(&slope).sqrt();
    // What pushes y into the boundary is the same however long a step is; the rest of a solve's residual is not.
    let curvature =
        norm2(&oracle.hessian(at, &slope, Batch::Full)?.1).sqrt() / gradient.max(f64::MIN_POSITIVE);
    let size = 1e-6 * curvature * norm2(at.1).sqrt();
    if gradient > (10.0 * left).max(size) { Err(BilevelError::Held { gradient }) } else { Ok(()) }
}

/// v with `∇²_yy g·v = rhs`, from v.
///
/// # Errors
/// [`BilevelError::NotUnique`] where none is found: the matrix is singular or indefinite.
pub(crate) fn unique(
    oracle: &mut Oracle<'_>,
    at: (&[f64], &[f64]),
    rhs: &[f64],
    v: &mut [f64],
    tolerance: f64,
) -> Result<(), BilevelError> {
    let norm = norm2(rhs).sqrt();
    let mut r = rhs.to_vec();
    solve(oracle, at, &mut r, v, 10 * v.len() as u64, tolerance)?;
    let residual = norm2(&r).sqrt() / norm.max(f64::MIN_POSITIVE);
    // Differences of gradients have no more than nine digits.
    if residual > 1e3 * tolerance.max(1e-9) { Err(BilevelError::NotUnique { residual }) } else { Ok(()) }
}

impl<'p> Method<Oracle<'p>> for Implicit {
    type State = SampledImplicit;
    type Solution = Solution;

    fn name(&self) -> &'static str {
        match self.linear {
            Linear::Aid => "aid",
            Linear::Stocbio => "stocbio",
            Linear::Soba => "soba",
            Linear::Saba => "saba",
            Linear::Amigo => "amigo",
        }
    }

    fn validate(&self) -> Result<(), Invalid> {
        let &Self { alpha, power, gamma, inner, products, shift, trust, .. } = self;
        positive([("alpha", alpha), ("gamma", gamma), ("shift", shift), ("trust", trust)])?;
        exponents([("power", power)])?;
        Invalid::count("inner", inner)?;
        Invalid::count("products", products)
    }

    fn init(&self, oracle: &mut Oracle<'p>, seed: Seed) -> Result<Self::State, MethodError> {
        let (f, g) = oracle.problem().terms();
        if self.linear == Linear::Saba && f.max(g) == u64::MAX {
            return Err(BilevelError::Data(
                "SABA remembers every batch and needs finite sums; use soba".into(),
            )
            .into());
        }
        let at = oracle.start();
        let memory = Memories { v: vec![0.0; at.y.len()], ..Memories::default() };
        Ok(Sampled::new(at, seed, memory))
    }

    fn step(&self, oracle: &mut Oracle<'p>, state: &mut Self::State) -> Result<Progress, MethodError> {
        let before = oracle.calls();
        let alpha = decayed(self.alpha, self.power, self.shift, state.k);
        let gamma = decayed(self.gamma, self.power, self.shift, state.k);
        let scale = oracle.curvature(self.scaled, &state.at.x, state.at.y.len());
        let (direction, value) = match self.linear {
            Linear::Soba | Linear::Saba => self.single(oracle, state, gamma, scale.as_deref())?,
            _ => self.double(oracle, state, gamma, scale.as_deref())?,
        };
        let Solution { x, y, z } = &mut state.at;
        descend_within(x, oracle.problem().x_set(), alpha, &direction, self.trust);
        y.copy_from_slice(z);
        state.k += 1;
        Ok(report(oracle, before, value, &direction, &[]))
    }

    fn current<'s>(&self, state: &'s Self::State) -> Option<&'s Solution> {
        Some(&state.at)
    }

    fn finish(&self, _: &mut Oracle<'p>, state: Self::State) -> Result<Solution, MethodError> {
        Ok(state.at)
    }
}
