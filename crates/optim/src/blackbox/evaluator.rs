use serde::{Deserialize, Serialize};
use thalweg_core::{MethodError, Problem};

use super::{BlackBox, Constraints};

/// The best point that was ever evaluated: by violation beyond the tolerance, then by value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incumbent {
    /// The point, `[dim]`.
    pub x: Vec<f64>,
    /// Largest violation of a constraint, 0 where it counts as none; infinite before the first evaluation.
    pub violation: f64,
    /// Its value, without penalty; infinite before the first evaluation.
    pub f: f64,
}

impl Incumbent {
    fn none(dim: usize) -> Self {
        Self { x: vec![0.0; dim], violation: f64::INFINITY, f: f64::INFINITY }
    }

    /// Whether no constraint is violated by more than the tolerance.
    pub fn feasible(&self) -> bool {
        self.violation == 0.0
    }

    fn worse_than(&self, violation: f64, f: f64) -> bool {
        violation < self.violation || (violation == self.violation && f < self.f)
    }
}

/// A black box whose evaluations are counted and ranked, and priced where it has constraints: a problem.
pub struct Evaluator<'a> {
    f: &'a dyn BlackBox,
    dim: usize,
    ledger: Ledger,
    /// Evaluations of batches that were cut short, which a resumed run makes again.
    dropped: u64,
    /// Values without penalty and those of the constraints, `[n]` and `[count, n]`.
    values: Vec<f64>,
    constraints: Vec<f64>,
}

/// What checkpoints keep.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Ledger {
    incumbent: Incumbent,
    evaluations: u64,
    failures: u64,
    /// Weight of the penalty, once there is one.
    weight: Option<f64>,
}

impl Ledger {
    fn new(dim: usize) -> Self {
        Self { incumbent: Incumbent::none(dim), evaluations: 0, failures: 0, weight: None }
    }
}

impl<'a> Evaluator<'a> {
    /// `f` over `dim` unknowns.
    pub fn new(f: &'a dyn BlackBox, dim: usize) -> Self {
        let (dropped, values, constraints) = Default::default();
        Self { f, dim, ledger: Ledger::new(dim), dropped, values, constraints }
    }

    /// Forgets everything that was evaluated: a run begins.
    pub fn reset(&mut self) {
        (self.ledger, self.dropped) = (Ledger::new(self.dim), 0);
    }

    /// Overwrites `seen` by what a method is to see at `points` (`[n, dim]`): values with their penalty; NaN and
    /// +∞ are failures. Gives the number of failures.
    ///
    /// # Errors
    /// [`MethodError::Stopped`] if the black box was stopped meanwhile: the values are void and nothing was
    /// counted. A penalty outside its range.
    pub fn evaluate(&mut self, points: &[f64], seen: &mut Vec<f64>) -> Result<u64, MethodError> {
        let n = points.len() / self.dim;
        seen.resize(n, 0.0);
        let best = match self.f.constraints() {
            None => {
                self.f.values(points, self.dim, seen);
                lowest(seen).map(|i| (i, 0.0, seen[i]))
            }
            Some(c) => self.priced(points, &c, seen)?,
        };
        if let Some((i, violation, f)) = best {
            self.offer(&points[i * self.dim..(i + 1) * self.dim], violation, f);
        }
        if let Some(why) = self.f.stopped() {
            // What the function left out in the hurry must not steer the method.
            self.dropped += n as u64;
            return Err(MethodError::Stopped(why));
        }
        let lost = seen.iter().filter(|f| failed(**f)).count() as u64;
        self.ledger.evaluations += n as u64;
        self.ledger.failures += lost;
        Ok(lost)
    }

    /// Values with penalties, and the best point's index, violation and value.
    fn priced(
        &mut self,
        points: &[f64],
        c: &Constraints,
        seen: &mut [f64],
    ) -> Result<Option<(usize, f64, f64)>, MethodError> {
        c.penalty.validate()?;
        let n = seen.len();
        self.values.resize(n, 0.0);
        self.constraints.resize(c.count() * n, 0.0);
        self.f.constrained(points, self.dim, &mut self.values, &mut self.constraints);
        let weight = *self.ledger.weight.get_or_insert(c.penalty.weight);
        let mut ranks = Vec::with_capacity(n);
        for (i, (seen, &value)) in seen.iter_mut().zip(&self.values).enumerate() {
            let (sum, largest) = c.violation(&self.constraints, i, n);
            *seen = c.priced(value, sum, weight);
            ranks.push((i, c.beyond(largest), value));
        }
        let usable = ranks.into_iter().filter(|r| !r.1.is_nan() && !failed(r.2));
        Ok(usable.min_by(|a, b| a.1.total_cmp(&b.1).then(a.2.total_cmp(&b.2))))
    }

    fn offer(&mut self, x: &[f64], violation: f64, f: f64) {
        let best = &mut self.ledger.incumbent;
        if best.worse_than(violation, f) {
            (best.violation, best.f) = (violation, f);
            best.x.copy_from_slice(x);
        }
    }

    /// Evaluates one point for the report, also when the time is over; its rank.
    pub fn report(&mut self, x: &[f64]) -> Incumbent {
        let (mut value, mut violation) = ([f64::NAN], 0.0);
        match self.f.constraints() {
            None => self.f.values(x, self.dim, &mut value),
            Some(c) => {
                self.constraints.resize(c.count(), 0.0);
                self.f.constrained(x, self.dim, &mut value, &mut self.constraints);
                violation = c.beyond(c.violation(&self.constraints, 0, 1).1);
            }
        }
        let [f] = value;
        self.ledger.evaluations += 1;
        self.ledger.failures += u64::from(failed(f));
        if !failed(f) {
            self.offer(x, violation, f);
        }
        Incumbent { x: x.to_vec(), violation, f }
    }

    /// Lets the weight of the penalty grow while the point that leads in `seen`, of the batch evaluated last, is
    /// infeasible; whether it did, so that values seen before no longer compare.
    pub fn follow_violation(&mut self, seen: &[f64]) -> bool {
        let (Some(c), Some(leader)) = (self.f.constraints(), lowest(seen)) else { return false };
        let (_, largest) = c.violation(&self.constraints, leader, seen.len());
        let Some(weight) = self.ledger.weight.as_mut().filter(|_| largest > c.penalty.tolerance) else {
            return false;
        };
        let grown = c.penalty.grown(*weight);
        let grows = grown > *weight;
        *weight = if grows { grown } else { *weight };
        grows
    }

    /// Overwrites `gradients` (`[n, dim]`) by those at `points`; `false` if they are not known.
    pub fn gradients(&self, points: &[f64], gradients: &mut [f64]) -> bool {
        self.f.gradients(points, self.dim, gradients)
    }

    /// The best point so far.
    pub fn incumbent(&self) -> &Incumbent {
        &self.ledger.incumbent
    }

    /// Evaluations made, exactly.
    pub fn evaluations(&self) -> u64 {
        self.ledger.evaluations + self.dropped
    }

    /// Evaluations that gave no finite value.
    pub fn failures(&self) -> u64 {
        self.ledger.failures
    }

    /// Whether no evaluation will ever give a value ([`BlackBox::hopeless`]).
    pub fn hopeless(&self) -> bool {
        self.f.hopeless()
    }

    /// What the first failure said.
    pub fn complaint(&self) -> Option<String> {
        self.f.complaint()
    }
}

impl Problem for Evaluator<'_> {
    fn save(&self) -> Vec<u8> {
        // Plain numbers in memory: there is nothing that could fail.
        postcard::to_stdvec(&self.ledger).unwrap_or_default()
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), MethodError> {
        let ledger = postcard::from_bytes(saved).map_err(|e| MethodError::Problem(Box::new(e)))?;
        (self.ledger, self.dropped) = (ledger, 0);
        Ok(())
    }
}

/// NaN and +∞ are failures of the function.
fn failed(f: f64) -> bool {
    f.is_nan() || f == f64::INFINITY
}

/// Index of the smallest value that is no failure.
pub fn lowest(values: &[f64]) -> Option<usize> {
    let usable = values.iter().enumerate().filter(|v| *v.1 < f64::INFINITY);
    usable.min_by(|a, b| a.1.total_cmp(b.1)).map(|v| v.0)
}
