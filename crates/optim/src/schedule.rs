use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thalweg_core::Invalid;

/// A factor on the learning rate as a function of the step.
///
/// Written as text, on the command line and in configuration files:
///
/// | text | factor at step t of T (from 0) |
/// |---|---|
/// | `constant` | 1 |
/// | `linear`, `linear:T` | (T − t)/(T − w) |
/// | `cosine`, `cosine:T` | ½ (1 + cos π (t − w)/(T − w)) |
/// | `inverse-sqrt` | √(w/(t + 1)), w at least 1 |
/// | `step:80,120:0.1` | 0.1 to the number of milestones reached; also `step:50%,75%:0.1` |
/// | `warmup:w+…` | (t + 1)/w for t < w, then one of the above |
///
/// What needs the number of steps T and has none gets it from [`Schedule::bind`].
///
/// ```
/// use thalweg_optim::Schedule;
/// let schedule: Schedule = "warmup:10+linear".parse()?;
/// let schedule = schedule.bind(110);
/// assert_eq!(schedule.to_string(), "warmup:10+linear:110");
/// assert_eq!((schedule.factor(4), schedule.factor(10), schedule.factor(60)), (0.5, 1.0, 0.5));
/// # Ok::<(), thalweg_core::Invalid>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Schedule {
    /// The course after the warm-up.
    pub shape: Shape,
    /// Steps of linear warm-up. Default 0.
    pub warmup: u64,
    /// Number of steps of the run, for the shapes that need it.
    pub total: Option<u64>,
}

/// Course of a [`Schedule`] after its warm-up.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Shape {
    /// No change.
    #[default]
    Constant,
    /// Falls to 0 on a line.
    Linear,
    /// Falls to 0 on half a cosine.
    Cosine,
    /// Falls with the root of the step (Vaswani et al. 2017).
    InverseSqrt,
    /// Multiplied by `factor` at each milestone.
    Step {
        /// Milestones.
        at: Vec<Milestone>,
        /// Factor, > 0.
        factor: f64,
    },
}

/// Where a step schedule drops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Milestone {
    /// At this step.
    Step(u64),
    /// After this percentage of the run.
    Percent(f64),
}

impl Schedule {
    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let legal = "constant, linear, cosine, inverse-sqrt or step:80,120:0.1, after warmup:500+ if wanted";
        let invalid = || Invalid { field: "schedule".into(), value: text.into(), legal: legal.into() };
        let (warmup, course) = match text.strip_prefix("warmup:") {
            None => (0, text),
            Some(rest) => {
                let (steps, course) = rest.split_once('+').unwrap_or((rest, "constant"));
                (steps.parse().map_err(|_| invalid())?, course)
            }
        };
        let (name, arguments) = course.split_once(':').map_or((course, None), |(n, a)| (n, Some(a)));
        let total = |text: Option<&str>| text.map(|n| n.parse().map_err(|_| invalid())).transpose();
        let (shape, total) = match (name, arguments) {
            ("constant", None) => (Shape::Constant, None),
            ("inverse-sqrt", None) => (Shape::InverseSqrt, None),
            ("linear", n) => (Shape::Linear, total(n)?),
            ("cosine", n) => (Shape::Cosine, total(n)?),
            ("step", Some(text)) => {
                let mut parts = text.split(':');
                let at = parts.next().unwrap_or_default().split(',').map(Milestone::parse).collect();
                let factor = parts.next().and_then(|f| f.parse().ok());
                let n = total(parts.next())?;
                let shape = Option::zip(at, factor).map(|(at, factor)| Shape::Step { at, factor });
                (shape.filter(|_| parts.next().is_none()).ok_or_else(invalid)?, n)
            }
            _ => return Err(invalid()),
        };
        let schedule = Self { shape, warmup, total };
        schedule.check(false)?;
        Ok(schedule)
    }

    /// Tells the number of steps of the run to a schedule that needs it and has none of its own.
    pub fn bind(mut self, total: u64) -> Self {
        if self.needs_total() {
            self.total = self.total.or(Some(total));
        }
        self
    }

    /// Multiplies every count of steps by `n`: turns a schedule in epochs into one in steps.
    pub fn scale(mut self, n: u64) -> Self {
        self.warmup = self.warmup.saturating_mul(n);
        self.total = self.total.map(|t| t.saturating_mul(n));
        if let Shape::Step { at, .. } = &mut self.shape {
            for milestone in at {
                if let Milestone::Step(s) = milestone {
                    *s = s.saturating_mul(n);
                }
            }
        }
        self
    }

    /// Names what is missing or out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.check(true)
    }

    fn check(&self, bound: bool) -> Result<(), Invalid> {
        let check = |legal_now, legal| Invalid::check(legal_now, "schedule", self, legal);
        if bound && self.needs_total() {
            check(
                self.total.is_some(),
                "the number of steps too, e.g. linear:1000, cosine:1000 or step:50%:0.1:1000",
            )?;
        }
        if let Shape::Step { at, factor } = &self.shape {
            check(*factor > 0.0 && factor.is_finite(), "a factor > 0")?;
            let legal = |m: &Milestone| !matches!(m, Milestone::Percent(p) if !(0.0..=100.0).contains(p));
            check(at.iter().all(legal), "percentages from 0 to 100")?;
        }
        Ok(())
    }

    fn needs_total(&self) -> bool {
        match &self.shape {
            Shape::Constant | Shape::InverseSqrt => false,
            Shape::Linear | Shape::Cosine => true,
            Shape::Step { at, .. } => at.iter().any(|m| matches!(m, Milestone::Percent(_))),
        }
    }

    /// The factor of step `t`, from 0. In \[0, 1\] for every factor of a step schedule ≤ 1.
    pub fn factor(&self, t: u64) -> f64 {
        if t < self.warmup {
            return (t + 1) as f64 / self.warmup as f64;
        }
        let (w, total) = (self.warmup, self.total.unwrap_or(u64::MAX));
        let left = total.saturating_sub(t) as f64 / total.saturating_sub(w).max(1) as f64;
        match &self.shape {
            Shape::Constant => 1.0,
            Shape::Linear => left,
            Shape::Cosine => 0.5 * (1.0 - (PI * left).cos()),
            Shape::InverseSqrt => (w.max(1) as f64 / (t + 1) as f64).sqrt(),
            Shape::Step { at, factor } => {
                let reached = |m: &&Milestone| match **m {
                    Milestone::Step(s) => t >= s,
                    Milestone::Percent(p) => t as f64 >= p / 100.0 * total as f64,
                };
                factor.powi(at.iter().filter(reached).count() as i32)
            }
        }
    }
}

impl Milestone {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(p) => p.parse().ok().map(Self::Percent),
            None => text.parse().ok().map(Self::Step),
        }
    }
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(s) => write!(f, "{s}"),
            Self::Percent(p) => write!(f, "{p}%"),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.warmup > 0 {
            write!(f, "warmup:{}+", self.warmup)?;
        }
        match &self.shape {
            Shape::Constant => f.write_str("constant")?,
            Shape::Linear => f.write_str("linear")?,
            Shape::Cosine => f.write_str("cosine")?,
            Shape::InverseSqrt => f.write_str("inverse-sqrt")?,
            Shape::Step { at, factor } => {
                let at: Vec<String> = at.iter().map(Milestone::to_string).collect();
                write!(f, "step:{}:{factor}", at.join(","))?;
            }
        }
        match self.total.filter(|_| self.needs_total()) {
            Some(total) => write!(f, ":{total}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Schedule {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Schedule {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.to_string()
    }
}
