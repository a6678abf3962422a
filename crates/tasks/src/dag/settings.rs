//! What decides which graph is learned.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use thalweg_core::named::text;
use thalweg_topo::score::Mlp;
use thalweg_topo::search::Candidates;
use thalweg_topo::walks::Walks;
use thalweg_topo::{Init, Mode, Penalty, Score, Topo, TopoError};

use crate::Result;
use crate::error::bail;

/// What decides the result.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// CSV, npy or npz, packed or not; or `sachs`
    pub data: Option<String>,
    /// The graph to improve: a list of edges or a matrix.
    #[arg(skip)]
    pub w: Option<String>,
    /// l2, ev (equal variances), bic, mcp, logistic or mlp [default: l2]
    #[arg(long, value_parser = text::<ScoreName>)]
    pub score: Option<ScoreName>,
    /// Penalty of l2 and logistic: none, l1, l2 or mcp [default: none]
    #[arg(long, alias = "reg", value_parser = text::<PenaltyName>)]
    #[serde(alias = "reg")]
    pub penalty: Option<PenaltyName>,
    /// Factor of the penalty [default: 0.1; bic: 2, as BOSS has it; mlp: 0.01]
    #[arg(long, allow_negative_numbers = true)]
    pub lambda: Option<f64>,
    /// Reach of the penalty mcp [default: 1]
    #[arg(long, allow_negative_numbers = true)]
    pub gamma: Option<f64>,
    /// Hidden units of mlp [default: 40]
    #[arg(long)]
    pub hidden: Option<usize>,
    /// fast, or paper for the published search [default: fast]
    #[arg(long, value_parser = text::<Mode>)]
    pub mode: Option<Mode>,
    /// td (top-down), varsort, random, notears, dagma, golem, order:FILE or w:FILE [default: td]
    #[arg(long, value_parser = text::<Start>)]
    pub init: Option<Start>,
    /// Further searches from random orders [default: bic 8, else 0]
    #[arg(long, value_name = "N")]
    pub restarts: Option<usize>,
    /// Positions put into their best order at a time when no move helps [default: 8; bic 5]
    #[arg(long, value_name = "N")]
    pub window: Option<usize>,
    /// Pairs that the published search tries first
    #[arg(long, value_name = "N")]
    pub small: Option<usize>,
    /// Pairs that it tries when those do not help
    #[arg(long, value_name = "N")]
    pub large: Option<usize>,
    /// How often it may succeed with those [default: 15]
    #[arg(long, value_name = "N")]
    #[serde(alias = "large_budget")]
    pub large_budget: Option<usize>,
    /// How it counts walks: logdet, exp or poly [default: logdet]
    #[arg(long, value_parser = text::<Walks>)]
    pub walks: Option<Walks>,
    /// Which pairs it tries: walks-then-gradient, walks, or kkt:TAU,XI
    #[arg(long, value_parser = text::<Candidates>)]
    pub candidates: Option<Candidates>,
    /// Weights below it are no edges [default: by the score]
    #[arg(long, allow_negative_numbers = true)]
    pub threshold: Option<f64>,
    /// Divide each column by its standard deviation
    #[arg(long, visible_alias = "standardise", num_args = 0, default_missing_value = "true")]
    #[serde(alias = "standardise")]
    pub standardize: Option<bool>,
    /// Take logarithms first
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub log: Option<bool>,
    /// Leave out rows with missing values
    #[arg(long, num_args = 0, default_missing_value = "true")]
    #[serde(alias = "drop_missing")]
    pub drop_missing: Option<bool>,
    /// Edges that the graph must not have (from,to)
    #[arg(long, value_name = "FILE")]
    pub forbid: Option<PathBuf>,
    /// Edges that it must have (from,to)
    #[arg(long, value_name = "FILE")]
    pub require: Option<PathBuf>,
    /// Tiers of the variables (node,tier): no edge goes from a higher one to a lower one
    #[arg(long, value_name = "FILE")]
    pub tiers: Option<PathBuf>,
    /// Seed [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))] // TOML's largest
    pub seed: Option<u64>,
}

/// A score without its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScoreName {
    /// [`Score::L2`].
    #[default]
    L2,
    /// [`Score::EqualVariance`].
    Ev,
    /// [`Score::Bic`].
    Bic,
    /// [`Score::Mcp`].
    Mcp,
    /// The same likelihood, which needs a penalty to depend on the order.
    LogLl,
    /// [`Score::Logistic`].
    Logistic,
    /// [`Score::Mlp`].
    Mlp,
}

/// A penalty without its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PenaltyName {
    /// [`Penalty::None`].
    #[default]
    None,
    /// [`Penalty::L1`].
    L1,
    /// [`Penalty::L2`].
    L2,
    /// [`Penalty::Mcp`].
    Mcp,
}

/// Where the first search starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Start {
    /// As the method finds it.
    Found(Init),
    /// The order of a file.
    Order(PathBuf),
    /// The order of a graph in a file.
    Graph(String),
}

impl TryFrom<String> for Start {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.split_once(':') {
            Some(("order", file)) => Ok(Self::Order(file.into())),
            Some(("w", file)) => Ok(Self::Graph(file.into())),
            _ => text(&name).map(Self::Found).map_err(|e| format!("{e}, `order:FILE`, `w:FILE`")),
        }
    }
}

impl From<Start> for String {
    fn from(start: Start) -> Self {
        match start {
            Start::Found(init) => name_of(init),
            Start::Order(file) => format!("order:{}", file.display()),
            Start::Graph(file) => format!("w:{file}"),
        }
    }
}

/// Its name in settings.
fn name_of(value: impl Serialize) -> String {
    let name = serde_json::to_value(value).unwrap_or_default();
    name.as_str().unwrap_or_default().into()
}

impl Settings {
    /// The method, without a start from a file.
    ///
    /// # Errors
    /// Settings that do not go together.
    pub fn method(&self) -> Result<Topo> {
        let plain = Topo::default();
        Ok(Topo {
            score: self.score()?,
            mode: self.mode.unwrap_or(plain.mode),
            init: match self.init {
                Some(Start::Found(init)) => init,
                _ => plain.init,
            },
            restarts: self.restarts,
            window: self.window,
            small: self.small,
            large: self.large,
            large_budget: self.large_budget.unwrap_or(plain.large_budget),
            walks: self.walks.unwrap_or(plain.walks),
            candidates: self.candidates.unwrap_or(plain.candidates),
            threshold: self.threshold,
            standardize: self.standardize == Some(true),
        })
    }

    fn score(&self) -> Result<Score> {
        use ScoreName as Name;
        let name = self.score.unwrap_or_default();
        if let Some(penalty) =
            self.penalty.filter(|_| !matches!(name, Name::L2 | Name::Logistic | Name::LogLl))
        {
            let (penalty, name) = (name_of(penalty), name_of(name));
            bail!("`penalty` {penalty} does not go with `score` {name}; it belongs to l2 and logistic");
        }
        let lambda = self.lambda.unwrap_or(0.1);
        let gamma = self.gamma.unwrap_or(1.0);
        let penalty = match self.penalty.unwrap_or_default() {
            PenaltyName::None => Penalty::None,
            PenaltyName::L1 => Penalty::L1(lambda),
            PenaltyName::L2 => Penalty::L2(lambda),
            PenaltyName::Mcp => Penalty::Mcp(lambda, gamma),
        };
        if self.lambda.is_some() && matches!(name, Name::L2 | Name::Logistic) && penalty == Penalty::None {
            bail!("`lambda` without `penalty`; set `penalty` to l1, l2 or mcp");
        }
        Ok(match name {
            Name::L2 => Score::L2(penalty),
            Name::Ev => Score::EqualVariance,
            Name::Bic => Score::Bic(self.lambda.unwrap_or(2.0)),
            Name::Mcp => Score::Mcp(lambda, gamma),
            Name::LogLl if matches!(penalty, Penalty::Mcp(..)) => Score::Mcp(lambda, gamma),
            Name::LogLl => return Err(TopoError::OrderFree.into()),
            Name::Logistic => Score::Logistic(penalty),
            Name::Mlp => {
                let plain = Mlp::default();
                Score::Mlp(Mlp {
                    hidden: self.hidden.unwrap_or(plain.hidden),
                    l1: self.lambda.unwrap_or(plain.l1),
                    l2: self.lambda.unwrap_or(plain.l2),
                    seed: self.seed.unwrap_or(0),
                    ..plain
                })
            }
        })
    }

    /// With what is decided, so that the run can be repeated.
    pub(super) fn effective(&self, topo: &Topo) -> Self {
        Self {
            score: Some(self.score.unwrap_or_default()),
            mode: Some(topo.mode),
            init: Some(self.init.clone().unwrap_or(Start::Found(topo.init))),
            seed: Some(self.seed.unwrap_or(0)),
            ..self.clone()
        }
    }
}
