//! What is told of a graph once it is found.

use faer::Mat;
use thalweg_core::StopReason;

use crate::certificate::violation;
use crate::cpdag::Cpdag;
use crate::graph::{edges, thresholded};
use crate::knowledge::Rules;
use crate::method::{Score, Topo};
use crate::metrics::varsortability;
use crate::prepared::Prepared;
use crate::score::{Bic, Kept, Logistic, Memo, Penalty};
use crate::search::SearchResult;
use crate::{Sample, TopoError};

/// A learned graph.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The score of `weights`.
    pub score: f64,
    /// The order found.
    pub order: Vec<usize>,
    /// The best weights of the order, before the threshold: `[(from, to)]`.
    pub weights: Mat<f64>,
    /// The graph: weights after the threshold.
    pub graph: Mat<f64>,
    /// Intercept of each linear or logistic equation, in the units of the (standardized) data; empty for
    /// networks.
    pub intercepts: Vec<f64>,
    /// Equivalence class of the graph: its members that obey the knowledge.
    pub cpdag: Cpdag,
    /// Largest violation of the optimality conditions at `weights` over the graphs that obey the knowledge;
    /// `None` without a gradient. For BIC it is that of the likelihood over the edges.
    pub kkt_violation: Option<f64>,
    /// Scores after each round of the best search, falling.
    pub trace: Vec<f64>,
    /// Where each search ended.
    pub starts: Vec<f64>,
    /// Node scores computed; 0 where all came from Cholesky factors.
    pub evaluations: u64,
    /// How much worse BIC × n gets without each edge, for BIC.
    pub strengths: Vec<(usize, usize, f64)>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Why the search ended: it converged, or its driver stopped it at the best so far.
    pub stopped_because: StopReason,
}

/// A graph of another method, improved.
#[derive(Clone, Debug)]
pub struct Polished {
    /// Score of the weights as given (after the cut, if any).
    pub before: Option<f64>,
    /// Score of the best weights of their order.
    pub refit: f64,
    /// Absolute value up to which weights were dropped because the graph had a cycle; 0 if it had none.
    pub cut: f64,
    /// The result.
    pub learned: Learned,
}

impl Learned {
    /// Of what a search found.
    pub(crate) fn of(
        topo: &Topo,
        prepared: &Prepared,
        best: SearchResult,
        mut warnings: Vec<String>,
    ) -> Result<Self, TopoError> {
        let Prepared { sample, s, score, rules } = prepared;
        let SearchResult { order, score: value, weights, trace, ends } = best;
        let d = sample.d();
        let graph = graph(topo, prepared, &order, &weights);
        let class = Cpdag::of(&graph).ok_or_else(|| TopoError::Cyclic("the learned graph".into()))?;
        warnings.extend(units(topo, &graph, prepared));
        warnings.extend(few(sample));
        let means = sample.means();
        let intercept = |v: usize| means[v] - (0..d).map(|u| weights[(u, v)] * means[u]).sum::<f64>();
        let intercepts = match topo.score {
            Score::Mlp(_) => Vec::new(),
            Score::Logistic(p) => {
                let logistic = Logistic::new(sample, p)?;
                warnings.extend(logistic.separated(&weights).map(|v| separated(sample, v)));
                logistic.intercepts(&weights)
            }
            _ => (0..d).map(intercept).collect(),
        };
        let strengths = match topo.score {
            Score::Bic(l) => strengths(&Bic::new(s.clone(), sample.n(), l), &graph, sample.n()),
            _ => Vec::new(),
        };
        Ok(Self {
            score: value,
            kkt_violation: violation(&**score, &weights, &order, rules),
            intercepts,
            order,
            trace,
            starts: ends,
            evaluations: 0,
            weights,
            graph,
            cpdag: class.obeying(rules),
            strengths,
            warnings,
            stopped_because: StopReason::Converged,
        })
    }
}

/// The weights that are edges.
fn graph(topo: &Topo, prepared: &Prepared, order: &[usize], weights: &Mat<f64>) -> Mat<f64> {
    let Prepared { sample, s, rules, .. } = prepared;
    match (topo.threshold, &topo.score) {
        (None, Score::L2(_) | Score::EqualVariance) if standardized(s) => {
            Memo::new(&Bic::new(s.clone(), sample.n(), 1.0), rules).weights(order)
        }
        (Some(t), _) => pruned(weights, t, rules),
        (None, Score::Logistic(p @ (Penalty::None | Penalty::L2(_)))) => match Logistic::new(sample, *p) {
            Ok(logistic) => Memo::new(&Kept::of(&logistic), rules).weights(order),
            Err(_) => weights.clone(), // refused before the search
        },
        (None, Score::Mlp(_)) => pruned(weights, 0.5, rules),
        (None, Score::Bic(_)) => weights.clone(),
        (None, _) => pruned(weights, 0.3, rules),
    }
}

/// Standard deviations that differ by more than this factor are taken for other units.
const SPREAD: f64 = 10.0;

/// Varsortability further from ½ than this may be what decided the order.
const SORTED: f64 = 0.25;

/// What is to be said of a score that depends on units.
fn units(topo: &Topo, graph: &Mat<f64>, prepared: &Prepared) -> Option<String> {
    let (score, s) = (topo.score, &prepared.s);
    if !score.depends_on_units() {
        return None;
    }
    let squares = matches!(score, Score::L2(_) | Score::EqualVariance);
    if standardized(s) {
        return (squares && topo.threshold.is_none()).then(|| {
            "the data look standardized: least squares compares variances that were all made 1, so its order means \
             little; set `score` to bic. Edges are those that BIC keeps in this order"
                .into()
        });
    }
    let mut reasons = Vec::new();
    let deviations = || (0..s.nrows()).map(|v| (s[(v, v)].sqrt(), v));
    let least = deviations().min_by(|a, b| a.0.total_cmp(&b.0))?;
    let most = deviations().max_by(|a, b| a.0.total_cmp(&b.0))?;
    if most.0 > SPREAD * least.0 {
        let name = |v: usize| &prepared.sample.names()[v];
        reasons.push(format!(
            "standard deviations go from {:.3e} ({}) to {:.3e} ({})",
            least.0,
            name(least.1),
            most.0,
            name(most.1)
        ));
    }
    // Networks compare variances of residuals too; the likelihood with a variance for each node does not.
    let compares = !matches!(score, Score::Mcp(..));
    if let Some(v) = varsortability(graph, s).filter(|v| compares && (v - 0.5).abs() > SORTED) {
        let way = if v > 0.5 { "rise" } else { "fall" };
        reasons.push(format!("variances {way} along the learned edges (varsortability {v:.2})"));
    }
    (!reasons.is_empty()).then(|| {
        format!(
            "this score depends on the units of the variables, and they may have decided the graph: {}; compare with \
             bic as `score`, or with `standardize`",
            reasons.join("; ")
        )
    })
}

/// Fewer samples than variables decide little.
fn few(sample: &Sample) -> Option<String> {
    let (n, d) = (sample.n(), sample.d());
    (n <= d).then(|| {
        format!("{n} samples of {d} variables: no more samples than variables, so that most edges are chance")
    })
}

fn separated(sample: &Sample, v: usize) -> String {
    format!(
        "the regression of {} separates its classes, so that its weights grow without bound; set `penalty` to l2 and \
         `lambda` to 0.01",
        sample.names()[v]
    )
}

/// Whether all variances are 1 up to rounding and the divisor.
fn standardized(s: &Mat<f64>) -> bool {
    let n = s.nrows();
    n > 1 && (0..n).all(|v| (s[(v, v)] - 1.0).abs() < 0.02)
}

/// Weights of at least `t`, and the required ones.
fn pruned(w: &Mat<f64>, t: f64, rules: &Rules) -> Mat<f64> {
    let kept = thresholded(w, t);
    Mat::from_fn(w.nrows(), w.ncols(), |u, v| if rules.requires(u, v) { w[(u, v)] } else { kept[(u, v)] })
}

/// What each edge is worth: n times the rise of the score without it.
fn strengths(bic: &Bic, graph: &Mat<f64>, n: usize) -> Vec<(usize, usize, f64)> {
    let parents = |v: usize| (0..graph.nrows()).filter(|u| graph[(*u, v)] != 0.0).collect::<Vec<_>>();
    let worth = |(u, v, _): (usize, usize, f64)| {
        let with = parents(v);
        let without: Vec<usize> = with.iter().copied().filter(|p| *p != u).collect();
        (u, v, n as f64 * (bic.exactly(v, &without) - bic.exactly(v, &with)))
    };
    edges(graph).into_iter().map(worth).collect()
}
