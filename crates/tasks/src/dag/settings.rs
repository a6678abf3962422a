//! What decides which graph is learned.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use thalweg_core::named::text;
use thalweg_data::{Header, Separator, TableOptions};
use thalweg_topo::score::Mlp;
use thalweg_topo::search::Candidates;
use thalweg_topo::walks::Walks;
use thalweg_topo::{Init, Mode, Penalty, Score, Topo, TopoError};

use crate::error::bail;
use crate::settings::first_given;
use crate::{Context, Result};

/// What decides the result.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// CSV, npy or npz, packed or not; or `sachs`
    pub data: Option<String>,
    /// The graph to improve: a list of edges or a matrix.
    #[arg(skip)]
    pub w: Option<String>,
    /// topo, or a continuous method as it was published: notears, dagma or golem [default: topo]
    #[arg(long, value_parser = text::<MethodName>)]
    pub method: Option<MethodName>,
    /// auto, bic, l2, ev (equal variances), mcp, logistic or mlp [default: auto: l2 with a penalty, else bic]
    #[arg(long, value_parser = |name: &str| text::<ScoreName>(&name.to_lowercase()))]
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
    /// Weights below it are no edges [default: 0.3; mlp 0.5; bic and logistic choose by BIC]
    #[arg(long, allow_negative_numbers = true)]
    pub threshold: Option<f64>,
    /// Divide each column by its standard deviation
    #[arg(long, visible_alias = "standardise", num_args = 0, default_missing_value = "true")]
    #[serde(alias = "standardise")]
    pub standardize: Option<bool>,
    /// Take logarithms first
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub log: Option<bool>,
    /// Whether a table's first row holds names: auto, yes or no [default: auto]
    #[arg(long, value_parser = named(&Header::ALL))]
    pub header: Option<String>,
    /// What separates a table's cells: comma, semicolon, tab, bar or blanks [default: found out]
    #[arg(long, value_parser = named(&Separator::ALL))]
    pub separator: Option<String>,
    /// What else marks a missing value in a table, beside NA, NaN, null, ? and the like
    #[arg(long, value_delimiter = ',', value_name = "MARK,…", allow_hyphen_values = true)]
    pub missing: Option<Vec<String>>,
    /// Leave out rows with missing values
    #[arg(long, num_args = 0, default_missing_value = "true")]
    #[serde(alias = "drop_missing")]
    pub drop_missing: Option<bool>,
    /// Columns to leave out
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,…")]
    pub drop: Option<Vec<String>>,
    /// Edges that the graph must not have (from,to)
    #[arg(long, value_name = "FILE")]
    pub forbid: Option<PathBuf>,
    /// Edges that it must have (from,to)
    #[arg(long, value_name = "FILE")]
    pub require: Option<PathBuf>,
    /// Tiers of the variables (node,tier): no edge goes from a higher one to a lower one
    #[arg(long, value_name = "FILE")]
    pub tiers: Option<PathBuf>,
    /// All of these in one file, as Tetrad and causal-learn write it
    #[arg(long, value_name = "FILE")]
    pub knowledge: Option<PathBuf>,
    /// Graphs learned from so many resamples tell how often each edge is found [default: 0]
    #[arg(long, value_name = "N")]
    pub bootstrap: Option<usize>,
    /// Seed [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))] // TOML's largest
    pub seed: Option<u64>,
}

/// A method of learning a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MethodName {
    /// Swaps in an order: [`Topo`].
    #[default]
    Topo,
    /// [`thalweg_topo::baselines::Notears`].
    Notears,
    /// [`thalweg_topo::baselines::Dagma`].
    Dagma,
    /// [`thalweg_topo::baselines::Golem`] with equal variances.
    Golem,
}

/// A score without its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScoreName {
    /// [`Score::L2`] where a penalty is asked for, else [`Score::Bic`], which does not depend on units.
    #[default]
    Auto,
    /// [`Score::L2`].
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

/// A parser of the names of choices.
fn named<T>(
    all: &'static [(&'static str, T)],
) -> impl Fn(&str) -> Result<String, String> + Clone + Send + Sync
where
    T: Copy + Send + Sync,
{
    move |name| choice(all, name).map(|_| name.to_owned()).map_err(|e| e.to_string())
}

/// The choice of this name.
fn choice<T: Copy>(all: &[(&str, T)], name: &str) -> Result<T> {
    let found = all.iter().find(|(n, _)| *n == name).map(|(_, choice)| *choice);
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    found.with_context(|| format!("{name} is none of {}", names.join(", ")))
}

/// Its name in settings.
pub(super) fn name_of(value: impl Serialize) -> String {
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

    /// The score's name, without `auto`, and why it is this one.
    pub fn chosen(&self) -> (ScoreName, &'static str) {
        match (self.score.unwrap_or_default(), self.penalty) {
            _ if self.continuous() => (ScoreName::L2, "what the method minimizes, without its penalty"),
            (ScoreName::Auto, Some(_)) => (ScoreName::L2, "auto: it takes the penalty"),
            (ScoreName::Auto, None) => (ScoreName::Bic, "auto: it does not depend on units"),
            (name, _) => (name, "as asked for"),
        }
    }

    /// Whether a continuous method learns the graph.
    pub(super) fn continuous(&self) -> bool {
        self.method.unwrap_or_default() != MethodName::Topo
    }

    fn score(&self) -> Result<Score> {
        use ScoreName as Name;
        if self.continuous() {
            self.no_swaps()?;
            return Ok(Score::L2(Penalty::None));
        }
        let (name, _) = self.chosen();
        self.only_what_acts(name)?;
        let lambda = self.lambda.unwrap_or(0.1);
        let gamma = self.gamma.unwrap_or(1.0);
        let penalty = match self.penalty.unwrap_or_default() {
            PenaltyName::None => Penalty::None,
            PenaltyName::L1 => Penalty::L1(lambda),
            PenaltyName::L2 => Penalty::L2(lambda),
            PenaltyName::Mcp => Penalty::Mcp(lambda, gamma),
        };
        Ok(match name {
            Name::L2 => Score::L2(penalty),
            Name::Ev => Score::EqualVariance,
            Name::Auto | Name::Bic => self.lambda.map_or(Score::BIC, Score::Bic),
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

    /// Refuses what the score or the mode would ignore.
    fn only_what_acts(&self, score: ScoreName) -> Result<()> {
        use ScoreName as Name;
        let name = name_of(score);
        if let Some(penalty) =
            self.penalty.filter(|_| !matches!(score, Name::L2 | Name::Logistic | Name::LogLl))
        {
            let penalty = name_of(penalty);
            bail!("`penalty` {penalty} does not go with `score` {name}; it belongs to l2 and logistic");
        }
        let penalty = self.penalty.unwrap_or_default();
        let penalized = penalty != PenaltyName::None;
        if self.lambda.is_some() && !penalized && matches!(score, Name::L2 | Name::Logistic) {
            bail!("`lambda` without `penalty`; set `penalty` to l1, l2 or mcp");
        }
        let paper = self.mode == Some(Mode::Paper);
        let mcp = score == Name::Mcp || penalty == PenaltyName::Mcp;
        for (field, given, acts, belongs) in [
            ("lambda", self.lambda.is_some(), score != Name::Ev, "a penalty, bic, mcp and mlp"),
            ("gamma", self.gamma.is_some(), mcp, "mcp as `score` or `penalty`"),
            ("hidden", self.hidden.is_some(), score == Name::Mlp, "mlp"),
        ] {
            if given && !acts {
                bail!("`{field}` does nothing under `score` {name}; it belongs to {belongs}");
            }
        }
        if let Some(field) = first_given(self.published()).filter(|_| !paper) {
            bail!("`{field}` does nothing in the fast search; set `mode` to paper, or leave it out");
        }
        if self.window.is_some() && paper {
            bail!("`window` does nothing in the published search; set `mode` to fast, or leave it out");
        }
        Ok(())
    }

    /// Refuses what belongs to swaps and not to the continuous methods.
    fn no_swaps(&self) -> Result<()> {
        let swaps = [
            ("score", self.score.is_some()),
            ("penalty", self.penalty.is_some()),
            ("gamma", self.gamma.is_some()),
            ("hidden", self.hidden.is_some()),
            ("mode", self.mode.is_some()),
            ("init", self.init.is_some()),
            ("restarts", self.restarts.is_some()),
            ("window", self.window.is_some()),
            ("forbid", self.forbid.is_some()),
            ("require", self.require.is_some()),
            ("tiers", self.tiers.is_some()),
            ("knowledge", self.knowledge.is_some()),
            ("bootstrap", self.bootstrap.is_some()),
        ];
        if let Some(field) = first_given(swaps.into_iter().chain(self.published())) {
            let method = name_of(self.method);
            bail!(
                "`method` {method} takes no `{field}`; leave it out, or start swaps from its order with `init` {method}"
            );
        }
        Ok(())
    }

    /// The fields of the published search, and whether they are given.
    fn published(&self) -> [(&'static str, bool); 5] {
        [
            ("small", self.small.is_some()),
            ("large", self.large.is_some()),
            ("large_budget", self.large_budget.is_some()),
            ("walks", self.walks.is_some()),
            ("candidates", self.candidates.is_some()),
        ]
    }

    /// Refuses what a search over orders takes and an exact one does not.
    pub(super) fn no_search(&self) -> Result<()> {
        let search = [
            ("method", self.method.is_some()),
            ("mode", self.mode.is_some()),
            ("init", self.init.is_some()),
            ("restarts", self.restarts.is_some()),
            ("window", self.window.is_some()),
        ];
        if let Some(field) = first_given(search.into_iter().chain(self.published())) {
            bail!("an exact search has no `{field}`; leave it out");
        }
        Ok(())
    }

    /// How tables are read.
    ///
    /// # Errors
    /// A name that is none of the choices.
    pub fn table_options(&self) -> Result<TableOptions> {
        Ok(TableOptions {
            separator: self.separator.as_deref().map(|name| choice(&Separator::ALL, name)).transpose()?,
            header: self.header.as_deref().map_or(Ok(Header::Auto), |name| choice(&Header::ALL, name))?,
            missing: self.missing.clone().unwrap_or_default(),
            drop_missing: self.drop_missing == Some(true),
        })
    }

    /// With what is decided, so that the run can be repeated.
    pub(super) fn effective(&self, topo: &Topo) -> Self {
        Self {
            score: Some(self.score.unwrap_or_default()).filter(|_| !self.continuous()),
            mode: Some(topo.mode).filter(|_| !self.continuous()),
            init: Some(self.init.clone().unwrap_or(Start::Found(topo.init))).filter(|_| !self.continuous()),
            seed: Some(self.seed.unwrap_or(0)),
            ..self.clone()
        }
    }
}
