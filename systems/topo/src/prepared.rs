//! Data, rules and score, checked.

use faer::Mat;
use thalweg_core::Seed;
use thalweg_linalg::dense::solve_semidefinite;

use crate::baselines::{Dagma, Golem, Notears};
use crate::factor::Factor;
use crate::graph::{made_acyclic, topological_order};
use crate::knowledge::{Knowledge, Rules};
use crate::method::{Init, Score, Topo};
use crate::score::{Bic, Linear, Logistic, Loss, NodeScore, Penalty};
use crate::start::{random_order, top_down, variance_order};
use crate::{Sample, TopoError};

/// What a search works on.
pub(crate) struct Prepared {
    /// The data, standardized if that was asked for.
    pub sample: Sample,
    /// Their covariance.
    pub s: Mat<f64>,
    pub rules: Rules,
    pub score: Box<dyn NodeScore>,
}

impl Prepared {
    pub fn new(topo: &Topo, sample: &Sample, knowledge: &Knowledge) -> Result<Self, TopoError> {
        topo.validate()?;
        let sample = if topo.standardize { sample.standardized() } else { sample.clone() };
        let rules = knowledge.rules(&sample)?;
        let s = sample.covariance();
        solvable(topo.score, &sample, &s)?;
        let linear = |loss, penalty| Box::new(Linear::new(s.clone(), loss, penalty));
        let score: Box<dyn NodeScore> = match topo.score {
            Score::L2(p) => linear(Loss::Squares, p),
            Score::EqualVariance => linear(Loss::EqualVariance, Penalty::None),
            Score::Mcp(l, g) => linear(Loss::LogVariance, Penalty::Mcp(l, g)),
            Score::Bic(l) => Box::new(Bic::new(s.clone(), sample.n(), l)),
            Score::Logistic(p) => Box::new(Logistic::new(&sample, p)?),
            Score::Mlp(mlp) => Box::new(mlp.on(&sample)),
        };
        Ok(Self { sample, s, rules, score })
    }

    /// The order that the first search starts from.
    ///
    /// A method whose graph it is ends when `go_on` says no, with what it has.
    pub fn first(
        &self,
        init: Init,
        seed: Seed,
        go_on: &dyn Fn() -> bool,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<usize>, TopoError> {
        let mut of = |w: Mat<f64>, name: &str| {
            let (w, cut) = made_acyclic(&w);
            if cut > 0.0 {
                warnings.push(format!(
                    "{name}'s graph had a cycle; weights up to {cut:.3} were dropped to start from it"
                ));
            }
            topological_order(&w).ok_or_else(|| TopoError::Cyclic(format!("{name}'s graph")))
        };
        Ok(match init {
            Init::TopDown => top_down(&self.s),
            Init::ByVariance => variance_order(&self.s),
            Init::Random => random_order(self.sample.d(), seed, 0),
            Init::Notears => of(Notears::default().fit_while(&self.s, go_on)?, "NOTEARS")?,
            Init::Dagma => of(Dagma::default().fit_while(&self.s, go_on)?, "DAGMA")?,
            Init::Golem => of(Golem::default().fit_while(&self.s, go_on)?, "GOLEM")?,
        })
    }
}

/// Refuses data on which the regressions of this score have no single solution: too few samples for it, or a
/// column that others determine. With no more samples than variables every column is one of those; then only
/// copies are.
fn solvable(score: Score, sample: &Sample, s: &Mat<f64>) -> Result<(), TopoError> {
    let (n, d) = (sample.n(), sample.d());
    let dense = match score {
        Score::L2(Penalty::None) | Score::EqualVariance | Score::Logistic(Penalty::None) => true,
        // A residual of 0 has the logarithm −∞, whatever the weights cost.
        Score::Mcp(..) => true,
        _ => false,
    };
    if dense && n <= d {
        return Err(TopoError::TooFewSamples { rows: n, columns: d });
    }
    let scale: Vec<f64> = (0..d).map(|v| s[(v, v)].sqrt()).collect();
    let correlation = Mat::from_fn(d, d, |i, j| s[(i, j)] / (scale[i] * scale[j]));
    let collinear = |k: usize, others: &[usize]| {
        Err(TopoError::Collinear { column: sample.names()[k].clone(), others: sample.list(others) })
    };
    if n <= d {
        let pairs = (0..d).flat_map(|k| (0..k).map(move |i| (i, k)));
        // Two points lie on a line.
        let copy = pairs.into_iter().find(|e| n > 2 && 1.0 - correlation[*e].abs() < COPY);
        return copy.map_or(Ok(()), |(i, k)| collinear(k, &[i]));
    }
    let all: Vec<usize> = (0..d).collect();
    let Err(k) = Factor::new(&correlation, &all) else { return Ok(()) };
    // Which of the earlier columns make it up.
    let gram = Mat::from_fn(k, k, |i, j| correlation[(i, j)]);
    let w = solve_semidefinite(&gram, &(0..k).map(|i| correlation[(i, k)]).collect::<Vec<_>>());
    collinear(k, &(0..k).filter(|i| w[*i].abs() > 1e-6).collect::<Vec<_>>())
}

/// A correlation this near to ±1 is that of a copy.
const COPY: f64 = 1e-10;
