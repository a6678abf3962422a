//! Learners: they choose an arm, are told its cost, and learn.

mod binned;
mod boxed;
mod chebcb;
mod joint;
mod tsallis;
mod young;

pub use binned::Binned;
pub use boxed::least_squares;
pub use chebcb::{ChebCb, inverse_gap_weighting};
pub use joint::{Axis, Joint, JointModel};
pub use tsallis::{Tsallis, tsallis_probabilities};
pub use young::Young;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Seed};

use crate::solver::Solved;
use crate::{RelaxError, Scheme};

/// Where contexts or arms lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Smallest value.
    pub low: f64,
    /// Largest value.
    pub high: f64,
}

impl Interval {
    /// From `low` to `high`.
    pub fn new(low: f64, high: f64) -> Self {
        Self { low, high }
    }

    /// The value mapped to [−1, 1]; what lies outside goes to the nearer end.
    pub fn unit(self, value: f64) -> f64 {
        (2.0 * (value - self.low) / (self.high - self.low) - 1.0).clamp(-1.0, 1.0)
    }

    /// Whether a value lies inside.
    pub fn contains(self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    fn validate(self) -> Result<(), Invalid> {
        let legal = self.low.is_finite() && self.high.is_finite() && self.low < self.high;
        Invalid::check(
            legal,
            "interval",
            format!("{}..{}", self.low, self.high),
            "two finite numbers, low < high",
        )
    }
}

/// T₀(u) … T_{m−1}(u).
pub(crate) fn chebyshev(u: f64, m: usize) -> Vec<f64> {
    let mut t = vec![1.0; m];
    for j in 1..m {
        t[j] = if j == 1 { u } else { 2.0 * u * t[j - 1] - t[j - 2] };
    }
    t
}

/// `count` values of ω equally spaced from `low` to `high`. The paper's grid is (1, 1.95, 20).
pub fn omega_grid(low: f64, high: f64, count: usize) -> Vec<f64> {
    let step = (high - low) / (count.max(2) - 1) as f64;
    (0..count).map(|i| low + step * i as f64).collect()
}

/// `count` values of ω from `low` to `high`, equally spaced in log(2 − ω): costs are flat below the
/// optimum and explode towards 2.
pub fn log_grid(low: f64, high: f64, count: usize) -> Vec<f64> {
    omega_grid((2.0 - low).ln(), (2.0 - high).ln(), count).into_iter().map(|g| 2.0 - g.exp()).collect()
}

/// How ω is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Always the same ω.
    Fixed(f64),
    /// [`Tsallis`]: competes with the best fixed ω.
    TsallisInf,
    /// [`Tsallis`] with the estimator of lower variance.
    TsallisInfRv,
    /// [`Binned`]: competes with the best ω per bin of contexts.
    TsallisInfCb {
        /// Bins.
        bins: usize,
    },
    /// [`ChebCb`]: competes with the best ω for every instance.
    #[serde(rename = "chebcb")]
    ChebCb {
        /// Chebyshev polynomials per arm.
        features: usize,
    },
    /// [`Joint`]: one model for all arms and contexts.
    Joint(JointModel),
    /// [`Young`]: no bandit but the theory of consistently ordered matrices; the joint model takes
    /// over where they disagree.
    Young,
    /// The arm that is best in hindsight: a yardstick, which takes trial solves.
    BestFixed,
    /// The best ω for every instance: a yardstick, which takes trial solves.
    Oracle,
}

impl Default for Policy {
    fn default() -> Self {
        Self::Joint(JointModel::default())
    }
}

impl Policy {
    /// The names on the command line.
    pub const NAMES: &str = "tsallis-inf, tsallis-inf-rv, tsallis-inf-cb[:BINS], chebcb[:FEATURES], joint, young, \
                             fixed:OMEGA, best-fixed or oracle";

    /// Whether the policy learns from costs.
    pub fn learns(&self) -> bool {
        !matches!(self, Self::Fixed(_) | Self::BestFixed | Self::Oracle)
    }

    /// Names the bad field, its value and its legal range.
    pub fn validate(&self) -> Result<(), Invalid> {
        let count = |field, n| Invalid::check((1..=32).contains(&n), field, n, "1 to 32");
        match *self {
            Self::Fixed(omega) => Invalid::check(
                omega > 0.0 && omega < 2.0,
                "omega",
                omega,
                "a number in (0, 2); outside it relaxation diverges",
            ),
            Self::TsallisInfCb { bins } => {
                Invalid::check((1..=10_000).contains(&bins), "bins", bins, "1 to 10000")
            }
            Self::ChebCb { features } => count("features", features),
            Self::Joint(m) => {
                count("context_features", m.context_features)?;
                count("omega_features", m.omega_features)?;
                Invalid::positive("ridge", m.ridge)?;
                Invalid::at_least_zero("bonus", m.bonus)?;
                Invalid::share("memory", m.memory)
            }
            _ => Ok(()),
        }
    }

    /// The name without parameters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fixed(_) => "fixed",
            Self::TsallisInf => "tsallis-inf",
            Self::TsallisInfRv => "tsallis-inf-rv",
            Self::TsallisInfCb { .. } => "tsallis-inf-cb",
            Self::ChebCb { .. } => "chebcb",
            Self::Joint(_) => "joint",
            Self::Young => "young",
            Self::BestFixed => "best-fixed",
            Self::Oracle => "oracle",
        }
    }
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(omega) => write!(f, "fixed:{omega}"),
            _ => f.write_str(self.name()),
        }
    }
}

impl std::str::FromStr for Policy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid { field: "policy".into(), value: text.into(), legal: Self::NAMES.into() };
        let (name, parameter) = match text.split_once([':', '=']) {
            Some((name, parameter)) => (name, Some(parameter)),
            None => (text, None),
        };
        let count = |default: usize| parameter.map_or(Ok(default), |p| p.parse().map_err(|_| wrong()));
        let policy = match name {
            "fixed" => Self::Fixed(parameter.and_then(|p| p.parse().ok()).ok_or_else(wrong)?),
            "tsallis-inf-cb" => Self::TsallisInfCb { bins: count(6)? },
            "chebcb" => Self::ChebCb { features: count(6)? },
            _ if parameter.is_some() => return Err(wrong()),
            "tsallis-inf" => Self::TsallisInf,
            "tsallis-inf-rv" => Self::TsallisInfRv,
            "joint" => Self::default(),
            "young" => Self::Young,
            "best-fixed" => Self::BestFixed,
            "oracle" => Self::Oracle,
            _ => return Err(wrong()),
        };
        policy.validate()?;
        Ok(policy)
    }
}

/// What a learner played, and why.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Which arm; Young's rule names the nearest.
    pub arm: usize,
    /// The arm's place on the line: ω.
    pub omega: f64,
    /// Probability with which it was drawn; 1 where nothing is random.
    pub probability: f64,
    /// Predicted cost, of learners that predict.
    pub predicted: Option<f64>,
    /// The context, as given.
    pub context: f64,
    /// The dominance that the choice was made for, of Young's rule.
    dominance: Option<f64>,
}

/// A policy at work: it chooses an arm, is told the cost, and learns. It can be saved at any time and
/// goes on in the same bits.
///
/// Arms are any finite list; what the learner needs of each is its place on a line, along which the joint
/// model expects costs to change gradually. Costs are positive numbers in any unit. Learners take costs for large
/// beside 1, as iterations are: whole numbers they learn as they are; if the first cost is another number, seconds
/// say, it becomes 100, and all costs are measured in its hundredths. What is below 1 then counts as 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Learner {
    rule: Rule,
    places: Vec<f64>,
    interval: Interval,
    rng: ChaCha8Rng,
    /// What costs are measured in; 0 before the first.
    unit: f64,
    /// Smallest cost seen, in this unit.
    smallest: f64,
    /// Costs beyond this multiple of the smallest are cut, so that a capped solve does not drown all
    /// others.
    clip: f64,
    clipped: u64,
    outside: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Rule {
    Fixed(f64),
    Tsallis(Tsallis),
    Binned(Binned),
    ChebCb(ChebCb),
    Joint(Joint),
    Young(Young, Joint),
}

impl Learner {
    /// A learner over arms at these places (their ω), for contexts in this interval.
    pub fn new(policy: &Policy, places: &[f64], interval: Interval, seed: Seed) -> Result<Self, RelaxError> {
        policy.validate()?;
        interval.validate()?;
        Invalid::count("arms", places.len())?;
        Invalid::check(
            places.iter().all(|p| p.is_finite()),
            "arms",
            format!("{places:?}"),
            "finite numbers",
        )?;
        if let Policy::Joint(JointModel { axis: Axis::Omega, .. }) | Policy::Young = policy {
            let largest = places.iter().copied().fold(f64::MIN, f64::max);
            Invalid::check(largest < 2.0, "arms", largest, "places below 2 (ω), or the axis `linear`")?;
        }
        let arms = places.len();
        let rule = match *policy {
            Policy::Fixed(omega) => Rule::Fixed(omega),
            Policy::TsallisInf => Rule::Tsallis(Tsallis::new(arms, false)),
            Policy::TsallisInfRv => Rule::Tsallis(Tsallis::new(arms, true)),
            Policy::TsallisInfCb { bins } => Rule::Binned(Binned::new(arms, bins, interval)),
            Policy::ChebCb { features } => Rule::ChebCb(ChebCb::new(arms, features, interval)),
            Policy::Joint(model) => Rule::Joint(Joint::new(places, interval, model)),
            Policy::Young => {
                Rule::Young(Young::default(), Joint::new(places, interval, JointModel::default()))
            }
            Policy::BestFixed | Policy::Oracle => {
                return Err(RelaxError::Policy {
                    policy: policy.to_string(),
                    why: "compares trial solves and learns nothing".into(),
                    instead: "a pilot".into(),
                });
            }
        };
        Ok(Self {
            rule,
            places: places.into(),
            interval,
            rng: seed.stream("pilot", 0),
            unit: 0.0,
            smallest: f64::INFINITY,
            clip: 1000.0,
            clipped: 0,
            outside: 0,
        })
    }

    /// Chooses an arm for the system with this context.
    ///
    /// # Errors
    /// A context that is not a finite number.
    pub fn choose(&mut self, context: f64) -> Result<Decision, Invalid> {
        self.choose_for(context, None, Scheme::Sor)
    }

    /// Chooses an arm; Young's rule also wants the matrix's dominance and the method.
    ///
    /// # Errors
    /// A context that is not a finite number.
    pub fn choose_for(
        &mut self,
        context: f64,
        dominance: Option<f64>,
        method: Scheme,
    ) -> Result<Decision, Invalid> {
        Invalid::check(context.is_finite(), "context", context, "a finite number")?;
        self.outside += u64::from(!self.interval.contains(context));
        let (arm, own, probability, predicted) = match (&self.rule, dominance) {
            (Rule::Fixed(omega), _) => (self.nearest(*omega), Some(*omega), 1.0, None),
            (Rule::Young(young, _), Some(dominance)) if !young.disagrees() => {
                let omega = young.choose(dominance, method);
                (self.nearest(omega), Some(omega), 1.0, None)
            }
            (Rule::Joint(j) | Rule::Young(_, j), _) => {
                let (arm, predicted) = j.choose(context);
                (arm, None, 1.0, Some(predicted * self.unit()))
            }
            (Rule::Tsallis(t), _) => {
                let (arm, p) = t.choose(&mut self.rng);
                (arm, None, p, None)
            }
            (Rule::Binned(b), _) => {
                let (arm, p) = b.choose(context, &mut self.rng);
                (arm, None, p, None)
            }
            (Rule::ChebCb(c), _) => {
                let (arm, p, predicted) = c.choose(context, &mut self.rng);
                (arm, None, p, Some(predicted * self.unit()))
            }
        };
        let omega = own.unwrap_or(self.places[arm]);
        Ok(Decision { arm, omega, probability, predicted, context, dominance })
    }

    fn unit(&self) -> f64 {
        if self.unit > 0.0 { self.unit } else { 1.0 }
    }

    /// The arm whose ω is nearest.
    fn nearest(&self, omega: f64) -> usize {
        let gap = |i: &usize| (self.places[*i] - omega).abs();
        (0..self.places.len()).min_by(|a, b| gap(a).total_cmp(&gap(b))).unwrap_or(0)
    }

    /// Learns what a choice cost, e.g. its iterations, and gives the cost it learnt: clipped if it is not even near
    /// the best.
    ///
    /// # Errors
    /// A cost that is not a positive, finite number.
    pub fn feedback(&mut self, choice: &Decision, cost: f64) -> Result<f64, Invalid> {
        Invalid::positive("cost", cost)?;
        if self.unit == 0.0 {
            self.unit = if cost.fract() == 0.0 { 1.0 } else { (cost / 100.0).max(f64::MIN_POSITIVE) };
        }
        let unit = self.unit;
        let cost = (cost / unit).max(1.0);
        self.smallest = self.smallest.min(cost);
        let learnt = cost.min(self.clip * self.smallest);
        self.clipped += u64::from(learnt < cost);
        let Decision { arm, probability, context, .. } = *choice;
        let predicted = choice.predicted.map(|p| p / unit);
        match &mut self.rule {
            Rule::Fixed(_) => {}
            Rule::Tsallis(t) => t.learn(arm, probability, learnt),
            Rule::Binned(b) => b.learn(context, arm, probability, learnt),
            Rule::ChebCb(c) => c.learn(context, arm, predicted.unwrap_or(learnt), learnt),
            Rule::Joint(j) | Rule::Young(_, j) => j.learn(context, arm, learnt),
        }
        Ok(learnt * unit)
    }

    /// As [`Learner::feedback`], with the solve itself, from whose rate Young's rule learns.
    ///
    /// # Errors
    /// As [`Learner::feedback`].
    pub fn feedback_solved(
        &mut self,
        choice: &Decision,
        cost: f64,
        solver: (Scheme, f64),
        solved: &Solved,
    ) -> Result<f64, Invalid> {
        if let (Rule::Young(young, _), Some(dominance)) = (&mut self.rule, choice.dominance) {
            young.learn(choice.omega, dominance, solver, solved);
        }
        self.feedback(choice, cost)
    }

    /// Costs that were clipped so far.
    pub fn clipped(&self) -> u64 {
        self.clipped
    }

    /// Contexts that lay outside the interval and were moved to its nearer end.
    pub fn outside(&self) -> u64 {
        self.outside
    }
}
