//! The method's settings and what it is asked to do; `search` makes the moves.

use std::time::{Duration, Instant};

use faer::Mat;
use serde::{Deserialize, Serialize};
use thalweg_core::{Drive, Interrupt, Invalid, Seed, Stop};

use crate::exact;
use crate::graph::{is_order, made_acyclic, topological_order};
use crate::knowledge::{Knowledge, Rules};
use crate::learned::{Learned, Polished};
use crate::prepared::Prepared;
use crate::score::{Memo, Mlp, NodeScore, Penalty};
use crate::search::{Candidates, Gaussian, Orders, Published, SearchResult};
use crate::start::random_order;
use crate::walks::Walks;
use crate::{Sample, TopoError};

/// What is minimized over graphs without cycles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Score {
    /// Least squares (1/2n)‖X − XW‖² plus a penalty. Depends on the units of the variables.
    L2(Penalty),
    /// The Gaussian likelihood with equal variances of all nodes: least squares on another scale. `ev`.
    #[serde(rename = "ev")]
    EqualVariance,
    /// The Gaussian likelihood with a variance for each node, ½ Σ log σ², and the MCP penalty: λ, γ.
    Mcp(f64, f64),
    /// Gaussian BIC with parents chosen among the predecessors; the factor λ of the penalty, 1 for the
    /// classical one. Does not depend on units.
    Bic(f64),
    /// Logistic regression of binary variables plus a penalty.
    Logistic(Penalty),
    /// A network with one hidden layer for each node.
    Mlp(Mlp),
}

impl Score {
    /// BIC with twice the classical penalty, which keeps random edges out of large graphs (as BOSS has it).
    pub const BIC: Self = Self::Bic(2.0);

    /// Whether other units of the variables make it another score.
    pub fn depends_on_units(&self) -> bool {
        !matches!(self, Self::Bic(_) | Self::Logistic(_))
    }
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
    /// Top-down: always the variable of least conditional variance. The default, `td`.
    #[default]
    #[serde(rename = "td", alias = "top-down")]
    TopDown,
    /// By rising variance. `varsort`.
    #[serde(rename = "varsort")]
    ByVariance,
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
    /// What is minimized. Default: least squares without penalty.
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
    /// Pairs in the small set, which the published search tries first. Default: min(5 d, d (d − 1)/2).
    pub small: Option<usize>,
    /// Pairs in the large set, which it tries when those do not help. Default: all.
    pub large: Option<usize>,
    /// How often it may succeed with the large set. Default 15.
    pub large_budget: usize,
    /// How it counts walks. Default: logdet.
    pub walks: Walks,
    /// Which pairs it tries. Default: fewest walks, then largest gradient.
    pub candidates: Candidates,
    /// Weights below it are no edges. Default: 0.3, 0.5 for networks, 0 for BIC; for least squares of
    /// standardized data, and for logistic regressions without an ℓ1 penalty, BIC prunes instead.
    pub threshold: Option<f64>,
    /// Divides each column by its standard deviation first. Default: no.
    #[serde(alias = "standardise")]
    pub standardize: bool,
}

impl Default for Topo {
    fn default() -> Self {
        Self {
            score: Score::default(),
            mode: Mode::Fast,
            init: Init::TopDown,
            restarts: None,
            window: None,
            small: None,
            large: None,
            large_budget: 15,
            walks: Walks::Logdet,
            candidates: Candidates::WalksThenGradient,
            threshold: None,
            standardize: false,
        }
    }
}

/// What goes with the data.
#[derive(Clone, Copy, Debug)]
pub struct FitOptions<'a> {
    /// What is known of the graph. Default: nothing.
    pub knowledge: &'a Knowledge,
    /// Where randomness comes from. Default 0.
    pub seed: Seed,
    /// The order that the first search starts from. Default: what [`Topo::init`] says.
    pub start: Option<&'a [usize]>,
    /// Ends an exact search, which has no best so far, with [`TopoError::Interrupted`]. A fit is ended by
    /// who drives it.
    pub interrupt: Option<&'a Interrupt>,
    /// When to end with the best so far, also within a start by NOTEARS, DAGMA or GOLEM and within a long step
    /// of the search. A driver needs the same limit, which it looks at between steps. Default: never.
    pub deadline: Option<Instant>,
}

impl Default for FitOptions<'_> {
    fn default() -> Self {
        const NOTHING: &Knowledge =
            &Knowledge { forbidden: Vec::new(), required: Vec::new(), tiers: Vec::new() };
        Self { knowledge: NOTHING, seed: Seed::default(), start: None, interrupt: None, deadline: None }
    }
}

impl FitOptions<'_> {
    /// Nothing but a seed.
    pub fn seed(seed: u64) -> Self {
        Self { seed: Seed(seed), ..Self::default() }
    }

    /// Whether there is time left and nobody interrupts.
    pub fn go_on(&self) -> bool {
        !self.interrupt.is_some_and(Interrupt::requested)
            && self.deadline.is_none_or(|end| Instant::now() < end)
    }
}

/// How long a step may go on beyond the deadline. Where steps are short, a run ends between two of them, and a
/// resumed one takes the same steps as one that was never stopped.
const GRACE: Duration = Duration::from_millis(900);

/// To where no move helps.
const TO_THE_END: &[Stop] = &[];

impl Topo {
    /// Names the bad field, its value and its legal range.
    ///
    /// # Errors
    /// The first field that is out of range.
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
            Score::EqualVariance => {}
            Score::Mlp(mlp) => mlp.validate()?,
        }
        Invalid::at_least_zero("threshold", self.threshold.unwrap_or(0.0))?;
        let window = self.window.unwrap_or(0);
        Invalid::check(window <= 12, "window", window, "0 to 12")
    }

    /// Learns a graph.
    ///
    /// # Errors
    /// Bad settings; data that the score cannot take; knowledge that contradicts itself.
    pub fn fit(&self, sample: &Sample, options: &FitOptions) -> Result<Learned, TopoError> {
        let left = |end: Instant| Stop::Time(end.saturating_duration_since(Instant::now()));
        let stops: Vec<Stop> = options.deadline.map(left).into_iter().collect();
        self.fit_driven(sample, options, &mut &stops[..])
    }

    /// The order that [`Topo::init`] starts from, and warnings. Of the continuous methods it takes their time.
    ///
    /// # Errors
    /// As [`Topo::fit`]; weights that diverge.
    pub fn first_order(
        &self,
        sample: &Sample,
        options: &FitOptions,
    ) -> Result<(Vec<usize>, Vec<String>), TopoError> {
        let prepared = Prepared::new(self, sample, options.knowledge)?;
        let mut warnings = Vec::new();
        let order = prepared.first(self.init, options.seed, &|| options.go_on(), &mut warnings)?;
        Ok((order, warnings))
    }

    /// As [`Topo::fit`] under a driver, which may watch, save and stop the search; the graph is then the
    /// best so far.
    ///
    /// # Errors
    /// As [`Topo::fit`], and what the driver fails with.
    pub fn fit_driven(
        &self,
        sample: &Sample,
        options: &FitOptions,
        drive: &mut impl Drive<SearchResult>,
    ) -> Result<Learned, TopoError> {
        let prepared = Prepared::new(self, sample, options.knowledge)?;
        let mut warnings = Vec::new();
        let first = match options.start {
            None => prepared.first(self.init, options.seed, &|| options.go_on(), &mut warnings)?,
            Some(order) if is_order(order, sample.d()) => order.to_vec(),
            Some(order) => return Err(TopoError::NotAnOrder(format!("the list {order:?}"))),
        };
        let restarts = self.restarts.unwrap_or(if matches!(self.score, Score::Bic(_)) { 8 } else { 0 });
        self.learn(&prepared, (first, restarts), options, drive, warnings)
    }

    /// Improves the graph of another method: `w[(from, to)]` in the units of the sample. The score never
    /// rises. A cycle is cut at its weakest edges.
    ///
    /// # Errors
    /// As [`Topo::fit`]; weights that do not fit the data.
    pub fn polish(&self, w: &Mat<f64>, sample: &Sample, options: &FitOptions) -> Result<Polished, TopoError> {
        self.polish_driven(w, sample, options, &mut { TO_THE_END })
    }

    /// As [`Topo::polish`] under a driver.
    ///
    /// # Errors
    /// As [`Topo::polish`], and what the driver fails with.
    pub fn polish_driven(
        &self,
        w: &Mat<f64>,
        sample: &Sample,
        options: &FitOptions,
        drive: &mut impl Drive<SearchResult>,
    ) -> Result<Polished, TopoError> {
        let prepared = Prepared::new(self, sample, options.knowledge)?;
        let d = sample.d();
        if w.nrows() != d || w.ncols() != d {
            let what = "the matrix of weights".into();
            return Err(TopoError::Size { what, found: w.nrows(), needed: d });
        }
        let deviation: Vec<f64> = match self.standardize {
            true => (0..d).map(|v| sample.covariance()[(v, v)].sqrt()).collect(),
            false => vec![1.0; d],
        };
        let off = |u: usize, v: usize| if u == v { 0.0 } else { w[(u, v)] * deviation[u] / deviation[v] };
        let (w, cut) = made_acyclic(&Mat::from_fn(d, d, off));
        let order = topological_order(&w).ok_or_else(|| TopoError::Cyclic("the graph".into()))?;
        let order = prepared.rules.repaired(&order);
        let total = |sum| prepared.score.total(sum);
        let mut warnings = Vec::new();
        // What a graph that breaks the knowledge scores is no bound on those that obey it.
        let before = match prepared.rules.broken_by(&w) {
            None => prepared.score.at(&w, &prepared.rules.required_edges()).map(total),
            Some((u, v)) => {
                let (from, to) = (&sample.names()[u], &sample.names()[v]);
                warnings.push(format!(
                    "the graph as given goes against what is known (the edge {from} → {to}), so that its score is no \
                     comparison"
                ));
                None
            }
        };
        let refit = total(Memo::new(&*prepared.score, &prepared.rules).along(&order).iter().sum());
        let starts = (order, self.restarts.unwrap_or(0));
        let learned = self.learn(&prepared, starts, options, drive, warnings)?;
        Ok(Polished { before, refit, cut, learned })
    }

    /// What there is to say under this score of the weights `w[(from, to)]` of another method, as they are. A cycle
    /// is cut at its weakest edges.
    ///
    /// # Errors
    /// As [`Topo::fit`]; weights that do not fit the data.
    pub fn judge(&self, w: &Mat<f64>, sample: &Sample, options: &FitOptions) -> Result<Learned, TopoError> {
        let as_given = Self { threshold: Some(0.0), ..self.clone() };
        let prepared = Prepared::new(&as_given, sample, options.knowledge)?;
        let d = sample.d();
        if w.nrows() != d || w.ncols() != d {
            let (what, rows, columns) = ("the matrix of weights".into(), w.nrows(), w.ncols());
            return Err(TopoError::Shape { what, rows, columns, needed: d });
        }
        let (weights, cut) = made_acyclic(w);
        let order = topological_order(&weights).ok_or_else(|| TopoError::Cyclic("the graph".into()))?;
        let sum = prepared.score.at(&weights, &prepared.rules.required_edges()).unwrap_or(f64::NAN);
        let score = prepared.score.total(sum);
        let warning =
            (cut > 0.0).then(|| format!("the graph had a cycle; weights up to {cut:.3} were dropped"));
        let found = SearchResult { order, score, weights, trace: vec![score], ends: vec![score] };
        Learned::of(&as_given, &prepared, found, warning.into_iter().collect())
    }

    /// The best graph of all, by dynamic programming over subsets of at most 20 variables (14 for scores
    /// that are not Gaussian).
    ///
    /// # Errors
    /// As [`Topo::fit`]; too many variables; an interruption.
    pub fn exact(&self, sample: &Sample, options: &FitOptions) -> Result<Learned, TopoError> {
        let prepared = Prepared::new(self, sample, options.knowledge)?;
        let (order, weights, evaluations) = exact::optimum(self.score, &prepared, options.interrupt)?;
        let sum = match self.score {
            Score::Bic(_) => prepared.score.at(&weights, &[]).unwrap_or(f64::NAN),
            _ => Memo::new(&*prepared.score, &prepared.rules).along(&order).iter().sum(),
        };
        let score = prepared.score.total(sum);
        let best = SearchResult { order, score, weights, trace: vec![score], ends: vec![score] };
        let learned = Learned::of(self, &prepared, best, Vec::new())?;
        Ok(Learned { evaluations, ..learned })
    }

    /// Searches orders for a score of the user's own, from `start` or a random order.
    ///
    /// # Errors
    /// Bad settings; a start that is no order.
    pub fn search(
        &self,
        score: &dyn NodeScore,
        start: Option<&[usize]>,
        seed: Seed,
    ) -> Result<SearchResult, TopoError> {
        let d = score.nodes();
        let first = start.map_or_else(|| random_order(d, seed, 0), <[usize]>::to_vec);
        if !is_order(&first, d) {
            return Err(TopoError::NotAnOrder(format!("the list {first:?}")));
        }
        let rules = Rules::free(d);
        let starts = starts(first, self.restarts.unwrap_or(0), seed, &rules);
        let mut orders = Orders::new(Memo::new(score, &rules), None, starts);
        let found = { TO_THE_END }.drive(self, &mut orders, seed)?.solution;
        orders.memo.complete(&found.order)?;
        Ok(found)
    }

    /// Searches from an order and so many random ones.
    fn learn(
        &self,
        prepared: &Prepared,
        (first, restarts): (Vec<usize>, usize),
        options: &FitOptions,
        drive: &mut impl Drive<SearchResult>,
        warnings: Vec<String>,
    ) -> Result<Learned, TopoError> {
        let seed = options.seed;
        let Prepared { s, rules, score, .. } = prepared;
        let ridge = self.ridge(rules).filter(|_| self.mode == Mode::Fast);
        let gaussian = ridge.map(|ridge| Gaussian::new(s, ridge, self.window.unwrap_or(8)));
        let starts = starts(first, restarts, seed, rules);
        let memo = Memo::new(&**score, rules).until(options.deadline.map(|end| end + GRACE));
        let mut orders = Orders::new(memo, gaussian, starts);
        let outcome = drive.drive(self, &mut orders, seed)?;
        let learned = Learned::of(self, prepared, outcome.solution, warnings)?;
        Ok(Learned { evaluations: outcome.evaluations, stopped_because: outcome.stopped_because, ..learned })
    }

    /// Whether Cholesky factors give all scores of orders; if so, the ridge.
    fn ridge(&self, rules: &Rules) -> Option<f64> {
        match self.score {
            _ if rules.bans => None,
            Score::L2(Penalty::None) | Score::EqualVariance => Some(0.0),
            Score::L2(Penalty::L2(l)) if !rules.orders => Some(l),
            _ => None,
        }
    }

    /// Positions that a search without that shortcut puts into their best order at a time.
    pub(crate) fn reordered(&self) -> usize {
        self.window.unwrap_or(if matches!(self.score, Score::Bic(_)) { 5 } else { 0 })
    }

    /// The published search over `d` variables.
    pub(crate) fn published(&self, d: usize) -> Published {
        let pairs = d * d.saturating_sub(1) / 2;
        Published {
            candidates: self.candidates,
            walks: self.walks,
            small: self.small.unwrap_or(pairs.min(5 * d)),
            large: self.large.unwrap_or(pairs),
            budget: self.large_budget,
        }
    }
}

/// The first order and random ones, made legal.
fn starts(first: Vec<usize>, restarts: usize, seed: Seed, rules: &Rules) -> Vec<Vec<usize>> {
    let d = first.len();
    let random = (1..=restarts as u64).map(|k| random_order(d, seed, k));
    std::iter::once(first).chain(random).map(|order| rules.repaired(&order)).collect()
}
