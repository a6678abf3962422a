use std::time::Instant;

use serde::{Deserialize, Serialize};
use thalweg_core::Invalid;

use crate::lmi::{Lmi, Size};
use crate::net::{Block, Network};
use crate::qc::Form;
use crate::verify::Proof;
use crate::{Activation, LipError, Multipliers, ipm, reduce, start, verify};

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Euclidean input, Euclidean output. Default.
    #[default]
    L2,
    /// Largest change of an input, sum of the absolute changes of the outputs; of one output
    /// ([`Network::row`], [`Network::pair`]) its absolute change.
    Linf,
    /// Largest change of an input, Euclidean output.
    LinfL2,
}

/// How a bound is found, from the tightest to the cheapest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// The tight program if it takes less than a minute, else [`Bound::FirstOrder`]. Default.
    #[default]
    Auto,
    /// One multiplier per neuron (elementwise activations only).
    Neuron,
    /// One multiplier per layer (elementwise activations only).
    Layer,
    /// One multiplier per neuron or group, preserved directions eliminated.
    Nsr,
    /// The published form for GroupSort and Householder (Pauli et al., S = P = 0).
    NsrPaper,
    /// The same value as `Nsr` from above, by descent on its multipliers; no large matrix.
    FirstOrder,
    /// Closed form for slopes in [0, 1] (ECLipsE-fast).
    Eclipse,
    /// Product of the bounds of consecutive groups of this many layers.
    Split(usize),
    /// Product of the layers' norms.
    Product,
    /// Largest norm over all activation patterns: the best that a method blind to reachability
    /// can prove.
    Patterns,
}

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
    /// Evaluations of [`Bound::FirstOrder`]. Default 200.
    pub evaluations: u64,
}

impl Default for LipSdp {
    fn default() -> Self {
        Self { norm: Norm::L2, bound: Bound::Auto, tol: 1e-8, max_memory: 4 << 30, evaluations: 200 }
    }
}

/// A proved bound and how it came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The Lipschitz constant is at most this, for the stored weights in real arithmetic.
    pub bound: f64,
    /// Norms.
    pub norm: Norm,
    /// Method, as on the command line.
    pub method: String,
    /// That the bound is proved; `false` only if the proof failed and `bound` is the product of
    /// norms instead.
    pub verified: bool,
    /// Smallest certified eigenvalue of the scaled matrix inequalities; absent for closed forms.
    pub margin: Option<f64>,
    /// Enlargement of the multipliers that the proof needed.
    pub theta: Option<f64>,
    /// What the solver found before the proof.
    pub solver_value: Option<f64>,
    /// Relative duality gap of the solver.
    pub gap: Option<f64>,
    /// Iterations, or evaluations of the first-order method.
    pub iterations: Option<usize>,
    /// Seconds for solve and proof.
    pub seconds: f64,
    /// Neurons behind activations.
    pub neurons: usize,
    /// Size of the matrix inequality that was solved.
    pub lmi_size: Option<Size>,
    /// What proves the bound; absent for closed forms.
    pub multipliers: Option<Multipliers>,
}

impl LipSdp {
    /// Proves a bound.
    ///
    /// Errors: settings out of range; a method that does not apply to the network or norm; a
    /// matrix inequality beyond `max_memory`, with its estimate; an implicit layer that cannot be
    /// shown to have one state.
    pub fn certify(&self, net: &Network) -> Result<Certificate, LipError> {
        self.validate()?;
        let clock = Instant::now();
        let bound = self.resolve(net);
        let mut certificate = match bound {
            Bound::Auto | Bound::Nsr | Bound::Neuron => self.program(net, Form::Tight, bound),
            Bound::Layer => self.program(net, Form::Layer, bound),
            Bound::NsrPaper => self.program(net, Form::Paper, bound),
            _ => todo!(),
        }?;
        certificate.seconds = clock.elapsed().as_secs_f64();
        Ok(certificate)
    }

    /// Names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::check(self.tol > 0.0 && self.tol < 1.0, "tol", self.tol, "a number in (0, 1)")?;
        Invalid::check(self.max_memory > 0, "max_memory", self.max_memory, "at least 1 byte")?;
        Invalid::check(self.evaluations > 0, "evaluations", self.evaluations, "at least 1")
    }

    fn resolve(&self, net: &Network) -> Bound {
        self.bound
    }

    /// Reduce, solve, carry back, prove.
    fn program(&self, net: &Network, form: Form, bound: Bound) -> Result<Certificate, LipError> {
        let (small, reduction) = reduce::reduce(net, self.norm, form)?;
        let size = Size::of(&small, self.norm, form);
        let (lmi, layout) = Lmi::new(&small, self.norm, form)?;
        let start = start::start(&small, self.norm, form, &lmi, &layout)?;
        let solved = ipm::minimise(&lmi, start, self.tol, |_| false)?;
        let multipliers = reduction.restore(&layout.split(&solved.p));
        let value: f64 = match self.norm {
            Norm::L2 => multipliers.input[0].sqrt(),
            Norm::Linf => 0.5 * multipliers.input.iter().chain(&multipliers.output).sum::<f64>(),
            Norm::LinfL2 => multipliers.input.iter().sum::<f64>().sqrt(),
        };
        let proof = verify::prove(net, self.norm, form, &multipliers)?;
        Ok(Certificate {
            bound: proof.bound,
            norm: self.norm,
            method: format!("{bound:?}"),
            verified: true,
            margin: Some(proof.margin),
            theta: Some(proof.theta),
            solver_value: Some(value),
            gap: Some(solved.gap),
            iterations: Some(solved.iterations),
            seconds: 0.0,
            neurons: net.neurons(),
            lmi_size: Some(size),
            multipliers: Some(proof.multipliers),
        })
    }
}
