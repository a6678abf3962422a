//! What is told of a graph once it is found.

use faer::Mat;
use thalweg_core::StopReason;

use crate::certificate::kkt_violation;
use crate::cpdag::Cpdag;
use crate::graph::{edges, thresholded};
use crate::knowledge::Rules;
use crate::method::{Score, Topo};
use crate::metrics::varsortability;
use crate::prepared::Prepared;
use crate::score::{Bic, Logistic, Memo};
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
    /// Intercept of each linear equation, in the units of the (standardized) data; empty for other scores.
    pub intercepts: Vec<f64>,
    /// Equivalence class of the graph.
    pub cpdag: Cpdag,
    /// Largest violation of the optimality conditions at `weights`; `None` without a gradient. For BIC
    /// it is that of the likelihood over the edges.
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
        let Prepared { sample, s, score, .. } = prepared;
        let SearchResult { order, score: value, weights, trace, ends } = best;
        let d = sample.d();
        let graph = graph(topo, prepared, &order, &weights);
        let cpdag = Cpdag::of(&graph).ok_or_else(|| TopoError::Cyclic("the learned graph".into()))?;
        warnings.extend(units(topo, &graph, s));
        if let Score::Logistic(p) = topo.score
            && let Some(v) = Logistic::new(sample, p)?.separated(&weights)
        {
            warnings.push(separated(sample, v));
        }
        let linear = !matches!(topo.score, Score::Logistic(_) | Score::Mlp(_));
        let means = sample.means();
        let intercept = |v: usize| means[v] - (0..d).map(|u| weights[(u, v)] * means[u]).sum::<f64>();
        let strengths = match topo.score {
            Score::Bic(l) => strengths(&Bic::new(s.clone(), sample.n(), l), &graph, sample.n()),
            _ => Vec::new(),
        };
        Ok(Self {
            score: value,
            kkt_violation: kkt_violation(&**score, &weights, &order),
            intercepts: if linear { (0..d).map(intercept).collect() } else { Vec::new() },
            order,
            trace,
            starts: ends,
            evaluations: 0,
            weights,
            graph,
            cpdag,
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
        (None, Score::Mlp(_)) => pruned(weights, 0.5, rules),
        (None, Score::Bic(_)) => weights.clone(),
        (None, _) => pruned(weights, 0.3, rules),
    }
}

/// What is to be said of least squares, which compares variances.
fn units(topo: &Topo, graph: &Mat<f64>, s: &Mat<f64>) -> Option<String> {
    let squares = matches!(topo.score, Score::L2(_) | Score::EqualVariance);
    if squares && standardized(s) {
        return topo.threshold.is_none().then(|| {
            "the data look standardized: least squares compares variances that were all made 1, so its order means \
             little; set `score` to bic. Edges are those that BIC keeps in this order"
                .into()
        });
    }
    let rises = squares && varsortability(graph, s).is_some_and(|v| v > 0.95);
    rises.then(|| {
        "variances rise along the learned order (varsortability above 0.95): the units may have decided it; compare \
         with `standardize` and bic as `score`"
            .into()
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
