use std::ops::ControlFlow;

use faer::Mat;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Seed};
use thalweg_linalg::dense::solve_semidefinite;

use crate::bic::Bic;
use crate::certificate::kkt_violation;
use crate::cpdag::Cpdag;
use crate::factor::Factor;
use crate::graph::{edges, is_order, made_acyclic, thresholded, topological_order};
use crate::knowledge::{Knowledge, Rules};
use crate::least_squares::{Linear, Loss, Penalty};
use crate::logistic::Logistic;
use crate::metrics::varsortability;
use crate::mlp::Mlp;
use crate::score::{Memo, NodeScore};
use crate::search::{self, Candidates, Found, Paper, Round, Watch};
use crate::start::{random_order, top_down, variance_order};
use crate::walks::Walks;
use crate::{Dagma, Golem, Notears, Sample, TopoError};

/// What is minimised over graphs without cycles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Score {
    /// Least squares (1/2n)‖X − XW‖² plus a penalty. Depends on the units of the variables.
    L2(Penalty),
    /// The Gaussian likelihood with one variance for all nodes: least squares on another scale.
    Ev,
    /// The Gaussian likelihood with a variance for each node, ½ Σ log σ², and the MCP penalty: λ, γ.
    Mcp(f64, f64),
    /// Gaussian BIC with parents chosen among the predecessors; the factor of the penalty, 1 for the
    /// classical one. Does not depend on units.
    Bic(f64),
    /// Logistic regression of binary variables plus a penalty.
    Logistic(Penalty),
    /// A network with one hidden layer for each node.
    Mlp(Mlp),
}

impl Default for Score {
    fn default() -> Self {
        Self::L2(Penalty::None)
    }
}

/// How orders are searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// All exchanges and insertions from one Cholesky factor for least squares without or with ridge;
    /// each node to its best position for other scores. The default.
    #[default]
    Fast,
    /// The published search over exchanges that the optimality conditions point at.
    Paper,
}

/// Where the first search starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// Always the variable of least conditional variance. The default.
    #[default]
    Td,
    /// By rising variance.
    Varsort,
    /// A random order.
    Random,
    /// The order of NOTEARS's graph.
    Notears,
    /// The order of DAGMA's graph.
    Dagma,
    /// The order of GOLEM's graph.
    Golem,
}

/// Learning a directed acyclic graph by moves in a topological order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Topo {
    /// What is minimised. Default: least squares without penalty.
    pub score: Score,
    /// How orders are searched. Default: fast.
    pub mode: Mode,
    /// Where the first search starts. Default: top-down.
    pub init: Init,
    /// Further searches from random orders; the best of all counts. Default: 8 for BIC, else 0.
    pub restarts: Option<usize>,
    /// Positions in a window that is put into its best order when no move helps, 0 to 12; 0 leaves
    /// that out. Default: 8 for the fast search of least squares, 5 of BIC, else 0.
    pub window: Option<usize>,
    /// Pairs that the published search tries first. Default: min(5 d, d (d − 1)/2).
    pub small: Option<usize>,
    /// Pairs that it tries when those do not help. Default: all.
    pub large: Option<usize>,
    /// How often it may succeed with the large set. Default 15.
    pub large_budget: usize,
    /// How it counts walks. Default: logdet.
    pub walks: Walks,
    /// Which pairs it tries. Default: fewest walks, then largest gradient.
    pub candidates: Candidates,
    /// Weights below it are no edges. Default: 0.3 (for least squares of standardised data: what BIC
    /// prunes instead), 0.5 for networks, 0 for BIC.
    pub threshold: Option<f64>,
    /// Divides each column by its standard deviation first. Default: no.
    pub standardise: bool,
}

impl Default for Topo {
    fn default() -> Self {
        Self {
            score: Score::default(),
            mode: Mode::Fast,
            init: Init::Td,
            restarts: None,
            window: None,
            small: None,
            large: None,
            large_budget: 15,
            walks: Walks::Logdet,
            candidates: Candidates::WalksThenGradient,
            threshold: None,
            standardise: false,
        }
    }
}

/// What goes with the data.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// What is known of the graph.
    pub knowledge: &'a Knowledge,
    /// Where randomness comes from.
    pub seed: Seed,
    /// Told of each round; may stop the search.
    pub watch: Watch<'a>,
}

impl Default for Given<'_> {
    fn default() -> Self {
        const NOTHING: &Knowledge =
            &Knowledge { forbidden: Vec::new(), required: Vec::new(), tiers: Vec::new() };
        Self { knowledge: NOTHING, seed: Seed::default(), watch: &|_: &Round| ControlFlow::Continue(()) }
    }
}

impl Given<'_> {
    /// Nothing but a seed.
    pub fn seed(seed: u64) -> Self {
        Self { seed: Seed(seed), ..Self::default() }
    }
}

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
    /// Intercept of each linear equation, in the units of the (standardised) data; empty for other scores.
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

/// Data, rules and score, checked.
struct Ready {
    sample: Sample,
    s: Mat<f64>,
    rules: Rules,
    score: Box<dyn NodeScore>,
}

impl Topo {
    /// Names the bad field, its value and its legal range.
    pub fn validate(&self) -> Result<(), Invalid> {
        let penalty = |p: &Penalty| match *p {
            Penalty::None => Ok(()),
            Penalty::L1(l) | Penalty::L2(l) => Invalid::positive("lambda", l),
            Penalty::Mcp(l, g) => Invalid::positive("lambda", l).and_then(|()| Invalid::positive("gamma", g)),
        };
        match &self.score {
            Score::L2(p) | Score::Logistic(p) => penalty(p)?,
            Score::Mcp(l, g) => penalty(&Penalty::Mcp(*l, *g))?,
            Score::Bic(l) => Invalid::positive("lambda", *l)?,
            Score::Ev => {}
            Score::Mlp(mlp) => mlp.validate()?,
        }
        Invalid::at_least_zero("threshold", self.threshold.unwrap_or(0.0))?;
        let window = self.window.unwrap_or(0);
        Invalid::check(window <= 12, "window", window, "0 to 12")
    }

    /// Learns a graph.
    ///
    /// # Errors
    /// Bad settings; data that the score cannot take; knowledge that contradicts itself; a stop by the
    /// watcher.
    pub fn fit(&self, sample: &Sample, given: &Given) -> Result<Learned, TopoError> {
        let ready = self.ready(sample, given.knowledge)?;
        let mut warnings = Vec::new();
        let first = self.first(&ready, given, &mut warnings)?;
        self.learn(&ready, first, given, self.restarts(), warnings)
    }

    /// As [`Topo::fit`], from an order.
    pub fn fit_from(&self, order: &[usize], sample: &Sample, given: &Given) -> Result<Learned, TopoError> {
        let ready = self.ready(sample, given.knowledge)?;
        if !is_order(order, sample.d()) {
            return Err(TopoError::NotAnOrder(format!("the list {order:?}")));
        }
        self.learn(&ready, order.to_vec(), given, self.restarts(), Vec::new())
    }

    /// Improves the graph of another method: `w[(from, to)]` in the units of the sample. The score never
    /// rises. A cycle is cut at its weakest edges.
    pub fn polish(&self, w: &Mat<f64>, sample: &Sample, given: &Given) -> Result<Polished, TopoError> {
        let ready = self.ready(sample, given.knowledge)?;
        let d = sample.d();
        if w.nrows() != d || w.ncols() != d {
            let what = "the matrix of weights".into();
            return Err(TopoError::Size { what, found: w.nrows(), needed: d });
        }
        let deviation: Vec<f64> = match self.standardise {
            true => (0..d).map(|v| sample.covariance()[(v, v)].sqrt()).collect(),
            false => vec![1.0; d],
        };
        let off = |u: usize, v: usize| if u == v { 0.0 } else { w[(u, v)] * deviation[u] / deviation[v] };
        let (w, cut) = made_acyclic(&Mat::from_fn(d, d, off));
        let order = topological_order(&w).ok_or_else(|| TopoError::Cyclic("the graph".into()))?;
        let order = ready.rules.repaired(&order);
        let total = |sum| ready.score.total(sum);
        let before = ready.score.at(&w).map(total);
        let refit = total(Memo::new(&*ready.score, &ready.rules).along(&order).iter().sum());
        let learned = self.learn(&ready, order, given, self.restarts.unwrap_or(0), Vec::new())?;
        Ok(Polished { before, refit, cut, learned })
    }

    /// The best graph of all, by dynamic programming over subsets of at most 20 variables (14 for scores
    /// that are not Gaussian).
    pub fn exact(&self, sample: &Sample, given: &Given) -> Result<Learned, TopoError> {
        let ready = self.ready(sample, given.knowledge)?;
        let (order, weights, evaluations) =
            crate::exact::optimum(self, (&ready.s, ready.sample.n()), &*ready.score, &ready.rules, given)?;
        let memo = Memo::new(&*ready.score, &ready.rules);
        let sum = match self.score {
            Score::Bic(_) => ready.score.at(&weights).unwrap_or(f64::NAN),
            _ => memo.along(&order).iter().sum(),
        };
        let found = Found { order, sum, trace: vec![sum] };
        let mut learned = self.conclude(&ready, found, weights, vec![sum], Vec::new())?;
        learned.evaluations = evaluations;
        Ok(learned)
    }

    /// Searches orders for a score of the user's own, from `start` or a random order.
    pub fn search(
        &self,
        score: &dyn NodeScore,
        start: Option<&[usize]>,
        seed: Seed,
    ) -> Result<Searched, TopoError> {
        self.validate()?;
        let d = score.nodes();
        let first = start.map_or_else(|| random_order(d, seed, 0), <[usize]>::to_vec);
        if !is_order(&first, d) {
            return Err(TopoError::NotAnOrder(format!("the list {first:?}")));
        }
        let rules = Rules::free(d);
        let memo = Memo::new(score, &rules);
        let given = Given { seed, ..Given::default() };
        let (found, _) = best_of(first, self.restarts.unwrap_or(0), d, &rules, &given, |start, order| {
            self.walk(&memo, (start, order), given.watch)
        })?;
        let weights = memo.weights(&found.order);
        let total = |sum: &f64| score.total(*sum);
        let trace = found.trace.iter().map(total).collect();
        Ok(Searched { score: total(&found.sum), order: found.order, weights, trace })
    }

    fn restarts(&self) -> usize {
        self.restarts.unwrap_or(if matches!(self.score, Score::Bic(_)) { 8 } else { 0 })
    }

    /// Whether Cholesky factors give all scores of orders; if so, the ridge.
    fn ridge(&self, rules: &Rules) -> Option<f64> {
        match self.score {
            _ if rules.bans => None,
            Score::L2(Penalty::None) | Score::Ev => Some(0.0),
            Score::L2(Penalty::L2(l)) if !rules.orders => Some(l),
            _ => None,
        }
    }

    fn ready(&self, sample: &Sample, knowledge: &Knowledge) -> Result<Ready, TopoError> {
        self.validate()?;
        let sample = if self.standardise { sample.standardised() } else { sample.clone() };
        let rules = knowledge.rules(&sample)?;
        let s = sample.covariance();
        self.solvable(&sample, &s)?;
        let linear = |loss, penalty| Box::new(Linear::new(s.clone(), loss, penalty));
        let score: Box<dyn NodeScore> = match &self.score {
            Score::L2(p) => linear(Loss::Squares, *p),
            Score::Ev => linear(Loss::EqualVariance, Penalty::None),
            Score::Mcp(l, g) => linear(Loss::LogVariance, Penalty::Mcp(*l, *g)),
            Score::Bic(l) => Box::new(Bic::new(s.clone(), sample.n(), *l)),
            Score::Logistic(p) => Box::new(Logistic::new(&sample, *p)?),
            Score::Mlp(mlp) => Box::new(mlp.on(&sample)),
        };
        Ok(Ready { sample, s, rules, score })
    }

    /// Refuses data on which the regressions of this score have no single solution.
    fn solvable(&self, sample: &Sample, s: &Mat<f64>) -> Result<(), TopoError> {
        let dense = matches!(self.score, Score::L2(Penalty::None) | Score::Ev);
        let sparse = matches!(self.score, Score::Bic(_)) && sample.n() > sample.d();
        if !dense && !sparse {
            return Ok(());
        }
        if dense && sample.n() <= sample.d() {
            return Err(TopoError::TooFewSamples { rows: sample.n(), columns: sample.d() });
        }
        let d = sample.d();
        let scale: Vec<f64> = (0..d).map(|v| s[(v, v)].sqrt()).collect();
        let correlation = Mat::from_fn(d, d, |i, j| s[(i, j)] / (scale[i] * scale[j]));
        let all: Vec<usize> = (0..d).collect();
        let Err(k) = Factor::new(&correlation, &all) else { return Ok(()) };
        // Which of the earlier columns make it up.
        let gram = Mat::from_fn(k, k, |i, j| correlation[(i, j)]);
        let w = solve_semidefinite(&gram, &(0..k).map(|i| correlation[(i, k)]).collect::<Vec<_>>());
        let others: Vec<usize> = (0..k).filter(|i| w[*i].abs() > 1e-6).collect();
        Err(TopoError::Collinear { column: sample.names()[k].clone(), others: sample.list(&others) })
    }

    /// The order that the first search starts from.
    fn first(
        &self,
        ready: &Ready,
        given: &Given,
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
        Ok(match self.init {
            Init::Td => top_down(&ready.s),
            Init::Varsort => variance_order(&ready.s),
            Init::Random => random_order(ready.sample.d(), given.seed, 0),
            Init::Notears => of(Notears::default().fit(&ready.s)?, "NOTEARS")?,
            Init::Dagma => of(Dagma::default().fit(&ready.s)?, "DAGMA")?,
            Init::Golem => of(Golem::default().fit(&ready.s)?, "GOLEM")?,
        })
    }

    /// One search for a score without shortcuts.
    fn walk(&self, memo: &Memo, start: (usize, &[usize]), watch: Watch) -> Result<Found, TopoError> {
        let d = start.1.len();
        let pairs = d * d.saturating_sub(1) / 2;
        match self.mode {
            Mode::Paper => {
                let settings = Paper {
                    candidates: self.candidates,
                    walks: self.walks,
                    small: self.small.unwrap_or(pairs.min(5 * d)),
                    large: self.large.unwrap_or(pairs),
                    budget: self.large_budget,
                };
                search::paper(memo, &settings, start, watch)
            }
            Mode::Fast => {
                let window = self.window.unwrap_or(if matches!(self.score, Score::Bic(_)) { 5 } else { 0 });
                search::insertions(memo, start, window, watch)
            }
        }
    }

    fn learn(
        &self,
        ready: &Ready,
        first: Vec<usize>,
        given: &Given,
        restarts: usize,
        warnings: Vec<String>,
    ) -> Result<Learned, TopoError> {
        let d = ready.sample.d();
        let rules = &ready.rules;
        let memo = Memo::new(&*ready.score, rules);
        let ridge = self.ridge(rules).filter(|_| self.mode == Mode::Fast);
        let (found, starts) = match ridge {
            Some(ridge) => {
                let s = Mat::from_fn(d, d, |i, j| ready.s[(i, j)] + if i == j { ridge } else { 0.0 });
                // The factor of S + λI has the variances plus λ each.
                let shift = 0.5 * ridge * d as f64;
                let total = |sum: f64| ready.score.total(sum - shift);
                let window = self.window.unwrap_or(8);
                best_of(first, restarts, d, rules, given, |start, order| {
                    let mut found = search::gaussian(&s, rules, (start, order), window, &total, given.watch)?;
                    found.sum -= shift;
                    found.trace.iter_mut().for_each(|t| *t -= shift);
                    Ok(found)
                })?
            }
            None => best_of(first, restarts, d, rules, given, |start, order| {
                self.walk(&memo, (start, order), given.watch)
            })?,
        };
        let weights = memo.weights(&found.order);
        let mut learned = self.conclude(ready, found, weights, starts, warnings)?;
        learned.evaluations = memo.evaluations();
        Ok(learned)
    }

    /// Everything that is told of the graph with these weights.
    fn conclude(
        &self,
        ready: &Ready,
        found: Found,
        weights: Mat<f64>,
        starts: Vec<f64>,
        mut warnings: Vec<String>,
    ) -> Result<Learned, TopoError> {
        let Ready { sample, s, rules, score } = ready;
        let Found { order, sum, trace } = found;
        let d = sample.d();
        let squares = matches!(self.score, Score::L2(_) | Score::Ev);
        let alike = standardised(s);
        let graph = match (self.threshold, &self.score) {
            (None, Score::L2(_) | Score::Ev) if alike => {
                warnings.push(
                    "the data look standardised: least squares compares variances that were all made 1, so its order \
                     means little; use --score bic. Edges are those that BIC keeps in this order"
                        .into(),
                );
                Memo::new(&Bic::new(s.clone(), sample.n(), 1.0), rules).weights(&order)
            }
            (Some(t), _) => pruned(&weights, t, rules),
            (None, Score::Mlp(_)) => pruned(&weights, 0.5, rules),
            (None, Score::Bic(_)) => weights.clone(),
            (None, _) => pruned(&weights, 0.3, rules),
        };
        let cpdag = Cpdag::of(&graph).ok_or_else(|| TopoError::Cyclic("the learned graph".into()))?;
        if squares && !alike && varsortability(&graph, s).is_some_and(|v| v > 0.95) {
            warnings.push(
                "variances rise along the learned order (varsortability above 0.95): the units may have decided it; \
                 compare with --standardize --score bic"
                    .into(),
            );
        }
        if let Score::Logistic(p) = self.score
            && let Some(v) = Logistic::new(sample, p)?.separated(&weights)
        {
            warnings.push(format!(
                "the regression of {} separates its classes, so that its weights grow without bound; use --reg l2 \
                 --lambda 0.01",
                sample.names()[v]
            ));
        }
        let linear = !matches!(self.score, Score::Logistic(_) | Score::Mlp(_));
        let means = sample.means();
        let intercept = |v: usize| means[v] - (0..d).map(|u| weights[(u, v)] * means[u]).sum::<f64>();
        let total = |sum: &f64| score.total(*sum);
        let strengths = match self.score {
            Score::Bic(l) => strengths(&Bic::new(s.clone(), sample.n(), l), &graph, sample.n()),
            _ => Vec::new(),
        };
        Ok(Learned {
            score: total(&sum),
            kkt_violation: kkt_violation(&**score, &weights, &order),
            intercepts: if linear { (0..d).map(intercept).collect() } else { Vec::new() },
            trace: trace.iter().map(total).collect(),
            starts: starts.iter().map(total).collect(),
            evaluations: 0,
            order,
            weights,
            graph,
            cpdag,
            strengths,
            warnings,
        })
    }
}

/// What a search over a score of the user's own found.
#[derive(Clone, Debug)]
pub struct Searched {
    /// The score.
    pub score: f64,
    /// The order.
    pub order: Vec<usize>,
    /// Its best weights.
    pub weights: Mat<f64>,
    /// Scores after each round.
    pub trace: Vec<f64>,
}

/// The best of searches from `first` and random orders, made legal, and where each ended. The earlier
/// start wins a tie.
fn best_of(
    first: Vec<usize>,
    restarts: usize,
    d: usize,
    rules: &Rules,
    given: &Given,
    run: impl Fn(usize, &[usize]) -> Result<Found, TopoError> + Sync,
) -> Result<(Found, Vec<f64>), TopoError> {
    let from = |k: usize| {
        let order = if k == 0 { first.clone() } else { random_order(d, given.seed, k as u64) };
        run(k, &rules.repaired(&order))
    };
    let all: Vec<Found> = (0..=restarts).into_par_iter().map(from).collect::<Result<_, _>>()?;
    let ends = all.iter().map(|f| f.sum).collect();
    let best = all.into_iter().min_by(|a, b| a.sum.total_cmp(&b.sum));
    best.map(|b| (b, ends)).ok_or(TopoError::Stopped)
}

/// Whether all variances are 1 up to rounding and the divisor.
fn standardised(s: &Mat<f64>) -> bool {
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
