use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thalweg_core::Invalid;

use crate::ball::times;
use crate::certificate::{Basis, Multipliers, fingerprint};
use crate::essence::{essence, is_constant};
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
    /// Proves a bound. If the solver finds no multipliers, or they cannot be proved, the product of norms is given instead,
    /// with `verified = false`.
    ///
    /// # Errors
    /// Settings out of range; a method that does not apply to the network or norm; a
    /// matrix inequality beyond `max_memory`, with its estimate; an implicit layer that cannot be
    /// shown to have one state.
    pub fn certify(&self, net: &Network) -> Result<Certificate, LipError> {
        self.validate()?;
        let clock = Instant::now();
        let constant = is_constant(net);
        let bound = self.resolve(net, constant)?;
        let found = match bound {
            _ if constant => Ok(self.closed(bound, Basis::Constant, 0.0)),
            Bound::FirstOrder => self.first_order(net),
            Bound::Eclipse => self.eclipse(net),
            Bound::Split(size) => self.split(net, size),
            Bound::Product => self.product(net, bound),
            Bound::Patterns => self.patterns(net),
            Bound::Auto | Bound::Neuron | Bound::Layer | Bound::Nsr | Bound::NsrPaper => {
                self.program(net, bound)
            }
        };
        let certificate = match found {
            Err(e @ (LipError::NoStart | LipError::Unverified(_))) => {
                Certificate { verified: false, ..self.product(net, bound).map_err(|_| e)? }
            }
            found => found?,
        };
        let seconds = clock.elapsed().as_secs_f64();
        Ok(Certificate { seconds, neurons: net.neurons(), network: fingerprint(net), ..certificate })
    }

    /// Every method on the same network, in the order of [`Bound::ALL`]; errors where one does not apply.
    pub fn all(&self, net: &Network) -> Vec<(Bound, Result<Certificate, LipError>)> {
        Bound::ALL.map(|bound| (bound, Self { bound, ..self.clone() }.certify(net))).into()
    }

    /// Repeats the proof of a certificate for its network and gives the bound that it proves. Nothing is solved: what its
    /// [`Basis`] names is evaluated again.
    ///
    /// # Errors
    /// The network is another one, what is proved is above the certificate's bound (by more than 1e-12 relative, for other
    /// machines' rounding), or nothing is proved.
    pub fn check(certificate: &Certificate, net: &Network) -> Result<f64, LipError> {
        let this = fingerprint(net);
        if certificate.network != this {
            return Err(LipError::OtherNetwork { of: certificate.network.clone(), this });
        }
        let proved = repeat(certificate, net)?;
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
        if is_constant(net) {
            return Ok(Size { side: 0, terms: 0, multipliers: 0 });
        }
        let form = self.bound.form();
        let net = essence(net, form, false)?;
        let norm = self.norm.over(&net);
        Ok(Size::of(&reduce::reduce(&net, norm, form)?.0, norm, form))
    }

    /// What `Auto` stands for; an error if the method does not fit the activations.
    fn resolve(&self, net: &Network, constant: bool) -> Result<Bound, LipError> {
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
                let small = size.seconds() < 60.0 && size.bytes() < self.max_memory as f64;
                let quick = constant || small;
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
        let form = bound.form();
        let core = essence(net, form, false)?;
        let norm = self.norm.over(&core);
        let (small, reduction) = reduce::reduce(&core, norm, form)?;
        if reduce::vanishes(&small) {
            return self.product(net, bound);
        }
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
            ..self.proved(net, &core, bound, &multipliers)?
        })
    }

    fn first_order(&self, net: &Network) -> Result<Certificate, LipError> {
        let form = Bound::FirstOrder.form();
        let core = essence(net, form, false)?;
        let (small, reduction) = reduce::reduce(&core, self.norm, form)?;
        if reduce::vanishes(&small) {
            return self.product(net, Bound::FirstOrder);
        }
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
            ..self.proved(net, &core, Bound::FirstOrder, &multipliers)?
        })
    }

    fn eclipse(&self, net: &Network) -> Result<Certificate, LipError> {
        let core = essence(net, Bound::Eclipse.form(), false)?;
        let (multipliers, value) = baselines::eclipse(&core)?;
        if value == 0.0 {
            // Maps that were multiplied cancel: nothing is left to prove.
            return self.product(net, Bound::Eclipse);
        }
        let proved = self.proved(net, &core, Bound::Eclipse, &multipliers)?;
        Ok(Certificate { solver_value: Some(value), ..proved })
    }

    fn split(&self, net: &Network, size: usize) -> Result<Certificate, LipError> {
        let (groups, factor) = baselines::split(net, size)?;
        let inner = Self { bound: Bound::Auto, ..self.clone() };
        let parts: Vec<Certificate> =
            groups.iter().map(|group| inner.certify(group)).collect::<Result<_, _>>()?;
        let total = parts.iter().fold(factor, |total, part| times(total, part.bound));
        let verified = parts.iter().all(|part| part.verified);
        Ok(Certificate { verified, parts, ..self.closed(Bound::Split(size), Basis::Parts, total) })
    }

    fn patterns(&self, net: &Network) -> Result<Certificate, LipError> {
        let inner = Self { bound: Bound::Auto, tol: 1e-6, ..self.clone() };
        let mut parts = Vec::new();
        let core = essence(net, Bound::Patterns.form(), false)?;
        let (bound, leaves) = baselines::maximum(&core, |head| {
            let part = inner.certify(&head)?;
            let bound = part.bound;
            parts.push(part);
            Ok(bound)
        })?;
        let closed = self.closed(Bound::Patterns, Basis::Patterns, bound);
        Ok(Certificate { iterations: Some(leaves), parts, ..closed })
    }

    fn product(&self, net: &Network, bound: Bound) -> Result<Certificate, LipError> {
        Ok(self.closed(bound, Basis::Product, baselines::product(net, self.norm)?))
    }

    /// The proof of the multipliers of a network's essence, or the product of norms where that is less.
    fn proved(
        &self,
        net: &Network,
        core: &Network,
        bound: Bound,
        multipliers: &Multipliers,
    ) -> Result<Certificate, LipError> {
        let proof = verify::prove(core, self.norm.over(core), bound.form(), multipliers)?;
        // Multipliers far from the optimum may prove less than the norms do.
        if let Ok(product) = self.product(net, bound)
            && product.bound < proof.bound
        {
            return Ok(product);
        }
        Ok(Certificate {
            margin: Some(proof.margin),
            theta: Some(proof.theta),
            multipliers: Some(multipliers.clone()),
            ..self.closed(bound, Basis::Multipliers, proof.bound)
        })
    }

    fn closed(&self, method: Bound, basis: Basis, bound: f64) -> Certificate {
        Certificate {
            bound,
            norm: self.norm,
            method: method.to_string(),
            verified: true,
            basis,
            network: String::new(),
            margin: None,
            theta: None,
            solver_value: None,
            gap: None,
            iterations: None,
            seconds: 0.0,
            neurons: 0,
            lmi_size: None,
            multipliers: None,
            parts: Vec::new(),
        }
    }
}

/// What a certificate rests on, evaluated again.
fn repeat(certificate: &Certificate, net: &Network) -> Result<f64, LipError> {
    let missing = |what: &str| LipError::Unverified(format!("it lacks {what}"));
    let bound: Bound = certificate.method.parse()?;
    match certificate.basis {
        Basis::Constant if is_constant(net) => Ok(0.0),
        Basis::Constant => Err(LipError::Unverified("an output depends on an input".into())),
        Basis::Product => baselines::product(net, certificate.norm),
        _ if is_constant(net) => Ok(0.0),
        Basis::Multipliers => {
            let multipliers = certificate.multipliers.as_ref().ok_or_else(|| missing("its multipliers"))?;
            let core = essence(net, bound.form(), false)?;
            Ok(verify::prove(&core, certificate.norm.over(&core), bound.form(), multipliers)?.bound)
        }
        Basis::Parts | Basis::Patterns if certificate.norm != Norm::L2 => {
            Err(LipError::not_applicable(bound.to_string(), "is for ℓ2 only", "another certificate"))
        }
        Basis::Parts => {
            let Bound::Split(size) = bound else { return Err(missing("the size of its parts")) };
            let (groups, factor) = baselines::split(net, size)?;
            let mut parts = groups.iter().enumerate();
            parts.try_fold(factor, |total, (i, group)| {
                let part = certificate.parts.get(i).ok_or_else(|| missing("the bound of a part"))?;
                Ok(times(total, LipSdp::check(part, group)?))
            })
        }
        Basis::Patterns => {
            let core = essence(net, bound.form(), false)?;
            let mut parts = certificate.parts.iter();
            let head = |head: Network| {
                let part = parts.next().ok_or_else(|| missing("the bound of a part"))?;
                LipSdp::check(part, &head)
            };
            Ok(baselines::maximum(&core, head)?.0)
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
