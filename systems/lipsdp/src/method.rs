use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thalweg_core::Invalid;

use crate::ball::times;
use crate::certificate::Multipliers;
use crate::lmi::Lmi;
use crate::network::{Block, Network};
use crate::size::Size;
use crate::{
    Activation, Bound, Certificate, LipError, Norm, baselines, ipm, recursion, reduce, start, verify,
};

/// A Lipschitz certificate of a network by semidefinite programming (Fazlyab et al. 2019, Pauli
/// et al. 2024).
///
/// Whatever the solver returns, only a bound that was proved from the multipliers and the stored
/// weights, with all rounding accounted for, is called a bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LipSdp {
    /// Norms of input and output. Default ℓ2 to ℓ2.
    pub norm: Norm,
    /// Method. Default the tightest that is quick.
    pub bound: Bound,
    /// Relative duality gap at which the solver stops, in (0, 1). It affects how tight a bound is,
    /// never whether it holds. Default 1e-8.
    pub tol: f64,
    /// Memory that the solver may use, in bytes. Default 4 GiB.
    pub max_memory: u64,
    /// Evaluations of [`Bound::FirstOrder`] at most. Default 200.
    #[serde(alias = "evaluations")]
    pub max_evaluations: u64,
    /// Seconds that [`Bound::FirstOrder`] may take. Default 60.
    #[serde(alias = "seconds")]
    pub max_seconds: f64,
}

impl Default for LipSdp {
    fn default() -> Self {
        Self {
            norm: Norm::L2,
            bound: Bound::Auto,
            tol: 1e-8,
            max_memory: 4 << 30,
            max_evaluations: 200,
            max_seconds: 60.0,
        }
    }
}

impl LipSdp {
    /// Proves a bound. If the solver's multipliers cannot be proved, the product of norms is given instead, with
    /// `verified = false`.
    ///
    /// # Errors
    /// Settings out of range; a method that does not apply to the network or norm; a
    /// matrix inequality beyond `max_memory`, with its estimate; an implicit layer that cannot be
    /// shown to have one state.
    pub fn certify(&self, net: &Network) -> Result<Certificate, LipError> {
        self.validate()?;
        let clock = Instant::now();
        let bound = self.resolve(net)?;
        let mut certificate = match bound {
            Bound::FirstOrder => self.first_order(net),
            Bound::Eclipse => self.eclipse(net),
            Bound::Split(size) => self.split(net, size),
            Bound::Product => Ok(self.closed(net, bound, baselines::product(net, self.norm)?)),
            Bound::Patterns => self.patterns(net),
            Bound::Auto | Bound::Neuron | Bound::Layer | Bound::Nsr | Bound::NsrPaper => {
                self.program(net, bound)
            }
        }?;
        certificate.seconds = clock.elapsed().as_secs_f64();
        Ok(certificate)
    }

    /// Every method on the same network, in the order of [`Bound::ALL`]; errors where one does not apply.
    pub fn all(&self, net: &Network) -> Vec<(Bound, Result<Certificate, LipError>)> {
        Bound::ALL.map(|bound| (bound, Self { bound, ..self.clone() }.certify(net))).into()
    }

    /// Repeats the proof of a certificate on a network, without any solver, and gives the bound
    /// that it proves.
    ///
    /// # Errors
    /// That is above the certificate's (by more than 1e-12 relative, for other machines' rounding), or nothing
    /// is proved.
    pub fn check(certificate: &Certificate, net: &Network) -> Result<f64, LipError> {
        let bound: Bound = certificate.method.parse()?;
        let proved = match (&certificate.multipliers, bound) {
            (Some(multipliers), _) => {
                verify::prove(net, certificate.norm.over(net), bound.form(), multipliers)?.bound
            }
            (None, Bound::Product) => baselines::product(net, certificate.norm)?,
            _ => Self { bound, norm: certificate.norm, ..Self::default() }.certify(net)?.bound,
        };
        if !certificate.bound.is_finite() || proved > certificate.bound * (1.0 + 1e-12) {
            let claimed = certificate.bound;
            return Err(LipError::Unverified(format!("it claims {claimed} but proves only {proved}")));
        }
        Ok(proved)
    }

    /// Names the first setting that is out of range.
    ///
    /// # Errors
    /// That setting, with its legal range.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::in_open("tol", self.tol, 0.0, 1.0)?;
        Invalid::check(self.max_memory > 0, "max_memory", self.max_memory, "at least 1 byte")?;
        Invalid::count("max_evaluations", self.max_evaluations)?;
        Invalid::in_open("max_seconds", self.max_seconds, 0.0, 1e9)
    }

    /// The size of the matrix inequality that the method would solve, after reductions.
    ///
    /// # Errors
    /// None but defects.
    pub fn size(&self, net: &Network) -> Result<Size, LipError> {
        let form = self.bound.form();
        let norm = self.norm.over(net);
        Ok(Size::of(&reduce::reduce(net, norm, form)?.0, norm, form))
    }

    /// What `Auto` stands for; an error if the method does not fit the activations.
    fn resolve(&self, net: &Network) -> Result<Bound, LipError> {
        let elementwise = |b: &Block| match b {
            Block::Affine(_) => None,
            Block::Activation(act)
            | Block::Residual { activation: act, .. }
            | Block::Equilibrium { activation: act, .. } => Some(matches!(act, Activation::Slope(_))),
        };
        let kinds: Vec<bool> = net.blocks().iter().filter_map(elementwise).collect();
        let (any_slope, all_slopes) = (kinds.contains(&true), !kinds.contains(&false));
        let l2 = self.norm == Norm::L2;
        match self.bound {
            Bound::Auto => {
                let size = self.size(net)?;
                let quick = size.seconds() < 60.0 && size.bytes() < self.max_memory as f64;
                let implicit = net.blocks().iter().any(|b| matches!(b, Block::Equilibrium { .. }));
                Ok(match quick || !l2 || implicit {
                    true if all_slopes => Bound::Neuron,
                    true => Bound::Nsr,
                    false => Bound::FirstOrder,
                })
            }
            b @ (Bound::Neuron | Bound::Layer) if !all_slopes => {
                let why = "is for elementwise activations; GroupSort, Householder and pooling are not slope-restricted \
                           neuron by neuron";
                Err(LipError::not_applicable(b.to_string(), why, "`bound` nsr"))
            }
            b @ Bound::NsrPaper if any_slope || kinds.is_empty() => {
                let why = "is the published form for GroupSort and Householder";
                Err(LipError::not_applicable(b.to_string(), why, "`bound` nsr, or neuron"))
            }
            b @ (Bound::FirstOrder | Bound::Eclipse | Bound::Split(_) | Bound::Patterns) if !l2 => Err(
                LipError::not_applicable(b.to_string(), "is for ℓ2 only", "`bound` nsr, neuron or product"),
            ),
            b => Ok(b),
        }
    }

    /// Reduce, solve, carry back, prove.
    fn program(&self, net: &Network, bound: Bound) -> Result<Certificate, LipError> {
        let (norm, form) = (self.norm.over(net), bound.form());
        let (small, reduction) = reduce::reduce(net, norm, form)?;
        let size = Size::of(&small, norm, form);
        size.check(self.max_memory)?;
        let (lmi, layout) = Lmi::new(&small, norm, form)?;
        let start = start::start(&small, norm, form, &lmi, &layout)?;
        let solved = ipm::minimize(&lmi, start, self.tol, |_| false)?;
        let multipliers = reduction.restore(&layout.split(&solved.p));
        let sum: f64 = multipliers.input.iter().chain(&multipliers.output).sum();
        let value = if norm == Norm::Linf { 0.5 * sum } else { sum.sqrt() };
        Ok(Certificate {
            solver_value: Some(value),
            gap: Some(solved.gap),
            iterations: Some(solved.iterations),
            lmi_size: Some(size),
            ..self.proved(net, bound, &multipliers)?
        })
    }

    fn first_order(&self, net: &Network) -> Result<Certificate, LipError> {
        let form = Bound::FirstOrder.form();
        let (small, reduction) = reduce::reduce(net, self.norm, form)?;
        // ECLipsE's multipliers where they apply are the better start.
        let start = match baselines::eclipse(&small) {
            Ok((m, _)) => spread(&m, &start::feasible(&small, self.norm, form)?),
            Err(_) => start::feasible(&small, self.norm, form)?,
        };
        let limit = Duration::from_secs_f64(self.max_seconds);
        let (found, value, evaluations) = recursion::descend(&small, &start, self.max_evaluations, limit)?;
        let multipliers = reduction.restore(&found);
        let scale = (multipliers.input[0] / found.input[0]).sqrt();
        Ok(Certificate {
            solver_value: Some(value * scale),
            iterations: Some(evaluations as usize),
            ..self.proved(net, Bound::FirstOrder, &multipliers)?
        })
    }

    fn eclipse(&self, net: &Network) -> Result<Certificate, LipError> {
        let (multipliers, value) = baselines::eclipse(net)?;
        let proved = self.proved(net, Bound::Eclipse, &multipliers)?;
        Ok(Certificate { solver_value: Some(value), ..proved })
    }

    fn split(&self, net: &Network, size: usize) -> Result<Certificate, LipError> {
        let (groups, factor) = baselines::split(net, size)?;
        let inner = Self { bound: Bound::Auto, ..self.clone() };
        let mut total = factor;
        for group in &groups {
            total = times(total, inner.certify(group)?.bound);
        }
        Ok(self.closed(net, Bound::Split(size), total))
    }

    fn patterns(&self, net: &Network) -> Result<Certificate, LipError> {
        let inner = Self { bound: Bound::Auto, tol: 1e-6, ..self.clone() };
        let (bound, leaves) = baselines::maximum(net, |head| Ok(inner.certify(&head)?.bound))?;
        Ok(Certificate { iterations: Some(leaves), ..self.closed(net, Bound::Patterns, bound) })
    }

    /// The proof of the multipliers, or the product of norms where there is none.
    fn proved(
        &self,
        net: &Network,
        bound: Bound,
        multipliers: &Multipliers,
    ) -> Result<Certificate, LipError> {
        let product = || baselines::product(net, self.norm);
        let proof = match verify::prove(net, self.norm.over(net), bound.form(), multipliers) {
            Ok(proof) => proof,
            Err(LipError::Unverified(_)) => {
                return Ok(Certificate { verified: false, ..self.closed(net, bound, product()?) });
            }
            Err(e) => return Err(e),
        };
        // Multipliers far from the optimum may prove less than the norms do.
        if let Ok(product) = product()
            && product < proof.bound
        {
            return Ok(self.closed(net, bound, product));
        }
        Ok(Certificate {
            margin: Some(proof.margin),
            theta: Some(proof.theta),
            multipliers: Some(multipliers.clone()),
            ..self.closed(net, bound, proof.bound)
        })
    }

    fn closed(&self, net: &Network, method: Bound, bound: f64) -> Certificate {
        Certificate {
            bound,
            norm: self.norm,
            method: method.to_string(),
            verified: true,
            margin: None,
            theta: None,
            solver_value: None,
            gap: None,
            iterations: None,
            seconds: 0.0,
            neurons: net.neurons(),
            lmi_size: None,
            multipliers: None,
        }
    }
}

/// One multiplier per layer for every neuron of it.
fn spread(one: &Multipliers, like: &Multipliers) -> Multipliers {
    let fill = |(p, like): (&Vec<f64>, &Vec<f64>)| vec![p.first().copied().unwrap_or(1.0); like.len()];
    // A little above, where everything is strictly positive definite.
    let more = |(i, p): (usize, Vec<f64>)| {
        p.iter().map(|p| p * 1.02f64.powi((like.layers.len() - i) as i32)).collect()
    };
    let layers = one.layers.iter().zip(&like.layers).map(fill).enumerate().map(more).collect();
    Multipliers { layers, ..one.clone() }
}
