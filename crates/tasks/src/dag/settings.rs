//! Options of a search, from flags and a file.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use thalweg::topo::{Candidates, Init, Mlp, Mode, Penalty, Score, Topo, TopoError, Walks};

/// What a search may be told; a configuration file holds the same names.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// l2, ev, bic, mcp, logistic or mlp [default: l2]
    #[arg(long)]
    pub score: Option<String>,
    /// Penalty of l2 and logistic: none, l1, l2 or mcp [default: none]
    #[arg(long)]
    reg: Option<String>,
    /// Factor of the penalty [default: 0.1; bic: 2, as BOSS has it; mlp: 0.01]
    #[arg(long, allow_negative_numbers = true)]
    lambda: Option<f64>,
    /// Reach of the penalty mcp [default: 1]
    #[arg(long, allow_negative_numbers = true)]
    gamma: Option<f64>,
    /// Hidden units of mlp [default: 40]
    #[arg(long)]
    hidden: Option<usize>,
    /// fast, or paper for the published search [default: fast]
    #[arg(long)]
    mode: Option<String>,
    /// td, varsort, random, notears, dagma, golem, order:FILE or w:FILE [default: td]
    #[arg(long)]
    pub init: Option<String>,
    /// Further searches from random orders [default: bic 8, else 0]
    #[arg(long, value_name = "N")]
    restarts: Option<usize>,
    /// Positions put into their best order at a time when no move helps [default: 8; bic 5]
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// Pairs that the published search tries first
    #[arg(long, value_name = "N")]
    small: Option<usize>,
    /// Pairs that it tries when those do not help
    #[arg(long, value_name = "N")]
    large: Option<usize>,
    /// How often it may succeed with those [default: 15]
    #[arg(long, value_name = "N")]
    large_budget: Option<usize>,
    /// How it counts walks: logdet, exp or poly [default: logdet]
    #[arg(long)]
    walks: Option<String>,
    /// Which pairs it tries: walks-then-gradient, walks, or kkt:TAU,XI
    #[arg(long)]
    candidates: Option<String>,
    /// Weights below it are no edges [default: by the score]
    #[arg(long, allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// Divide each column by its standard deviation
    #[arg(long, visible_alias = "standardise")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub standardize: bool,
    /// Take logarithms first
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub log: bool,
    /// Leave out rows with missing values
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drop_missing: bool,
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
    #[arg(long)]
    pub seed: Option<u64>,
}

impl Settings {
    /// The method, without a start from a file.
    pub fn method(&self) -> Result<Topo> {
        let d = Topo::default();
        Ok(Topo {
            score: self.score()?,
            mode: match self.mode.as_deref() {
                None | Some("fast") => Mode::Fast,
                Some("paper") => Mode::Paper,
                Some(other) => bail!("there is no mode `{other}`; use fast or paper"),
            },
            init: match self.init.as_deref() {
                None | Some("td") => Init::Td,
                Some("varsort") => Init::Varsort,
                Some("random") => Init::Random,
                Some("notears") => Init::Notears,
                Some("dagma") => Init::Dagma,
                Some("golem") => Init::Golem,
                Some(file) if file.starts_with("order:") || file.starts_with("w:") => Init::Td,
                Some(other) => {
                    bail!(
                        "there is no start `{other}`; use td, varsort, random, notears, dagma, golem, order:FILE or w:FILE"
                    )
                }
            },
            restarts: self.restarts,
            window: self.window,
            small: self.small,
            large: self.large,
            large_budget: self.large_budget.unwrap_or(d.large_budget),
            walks: match self.walks.as_deref() {
                None | Some("logdet") => Walks::Logdet,
                Some("exp") => Walks::Exp,
                Some("poly") => Walks::Poly,
                Some(other) => bail!("there is no count of walks `{other}`; use logdet, exp or poly"),
            },
            candidates: self.candidates()?,
            threshold: self.threshold,
            standardise: self.standardize,
        })
    }

    fn score(&self) -> Result<Score> {
        let lambda = self.lambda.unwrap_or(0.1);
        let gamma = self.gamma.unwrap_or(1.0);
        let penalty = match self.reg.as_deref() {
            None | Some("none") => Penalty::None,
            Some("l1") => Penalty::L1(lambda),
            Some("l2") => Penalty::L2(lambda),
            Some("mcp") => Penalty::Mcp(lambda, gamma),
            Some(other) => bail!("there is no penalty `{other}`; use none, l1, l2 or mcp"),
        };
        let name = self.score.as_deref().unwrap_or("l2");
        if let Some(reg) = self.reg.as_deref().filter(|_| !matches!(name, "l2" | "logistic" | "logll")) {
            bail!("--reg {reg} does not go with --score {name}; it belongs to l2 and logistic");
        }
        if self.lambda.is_some() && matches!(name, "l2" | "logistic") && penalty == Penalty::None {
            bail!("--lambda without --reg; add --reg l1, l2 or mcp");
        }
        Ok(match name {
            "l2" => Score::L2(penalty),
            "ev" => Score::Ev,
            "bic" => Score::Bic(self.lambda.unwrap_or(2.0)),
            "mcp" => Score::Mcp(lambda, gamma),
            "logll" if matches!(penalty, Penalty::Mcp(..)) => Score::Mcp(lambda, gamma),
            "logll" => return Err(TopoError::OrderFree.into()),
            "logistic" => Score::Logistic(penalty),
            "mlp" => {
                let d = Mlp::default();
                let (l1, l2) = (self.lambda.unwrap_or(d.l1), self.lambda.unwrap_or(d.l2));
                let (hidden, seed) = (self.hidden.unwrap_or(d.hidden), self.seed.unwrap_or(0));
                Score::Mlp(Mlp { hidden, l1, l2, seed, ..d })
            }
            other => bail!("there is no score `{other}`; use l2, ev, bic, mcp, logistic or mlp"),
        })
    }

    fn candidates(&self) -> Result<Candidates> {
        let text = match self.candidates.as_deref() {
            None | Some("walks-then-gradient") => return Ok(Candidates::WalksThenGradient),
            Some("walks") => return Ok(Candidates::Walks),
            Some(text) => text,
        };
        let pair = text.strip_prefix("kkt:").and_then(|p| p.split_once(','));
        let pair = pair.and_then(|(t, x)| Some((t.parse().ok()?, x.parse().ok()?)));
        match pair {
            Some((tau, xi)) => Ok(Candidates::Kkt { tau, xi }),
            None => bail!(
                "there is no rule `{text}`; use walks-then-gradient, walks, or kkt:TAU,XI, e.g. kkt:0,0"
            ),
        }
    }
}
