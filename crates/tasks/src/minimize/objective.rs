//! What is minimised: a test function or a program, and in which space.

use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use thalweg::cbo::{
    BlackBox, Call, Constraints, External, Penalty, Space, Start, Surface, TestFunction, Walls,
};

use super::Settings;

/// One side of the box.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Side(f64, f64);

impl FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends = text.split_once(':').and_then(|(lo, hi)| Some((lo.parse().ok()?, hi.parse().ok()?)));
        ends.map(|(lo, hi)| Self(lo, hi)).ok_or_else(|| format!("{text:?} is no side; use LO:HI, e.g. -5:5"))
    }
}

impl TryFrom<String> for Side {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Side> for String {
    fn from(side: Side) -> Self {
        format!("{}:{}", side.0, side.1)
    }
}

/// An objective per run.
pub enum Objective {
    /// Shifted and rotated anew for each run.
    Functions(Vec<TestFunction>),
    /// The same program for all.
    Program(Box<External>),
}

impl Objective {
    /// That of run `k`.
    pub fn of_run(&self, k: u64) -> &dyn BlackBox {
        match self {
            Self::Functions(all) => &all[k as usize % all.len()],
            Self::Program(program) => program.as_ref(),
        }
    }
}

impl Settings {
    /// Objective and space; programs are not called any more after `time`.
    pub fn resolve(&self, time: Option<Duration>) -> Result<(Objective, Space)> {
        let (start, std) = (self.start.as_slice(), self.std);
        let sides = Some(self.sides.len()).filter(|n| *n > 1);
        let lengths = [self.dim, Some(start.len()).filter(|n| *n > 0), sides];
        let Some(dim) = lengths.into_iter().flatten().next() else {
            bail!("the number of unknowns is missing; give --dim N, or --start X,X,…");
        };
        if let Some(other) = lengths.into_iter().flatten().find(|n| *n != dim) {
            bail!("{dim} and {other} unknowns; --dim, --start and --box must agree");
        }
        if dim == 0 {
            bail!("dim = 0 is not allowed; use at least 1");
        }
        let objective = self.objective(dim, time)?;
        let mut bounds: Vec<(f64, f64)> = self.sides.iter().map(|s| (s.0, s.1)).collect();
        if bounds.len() == 1 {
            bounds = vec![bounds[0]; dim];
        }
        if let (true, Objective::Functions(all), None) = (bounds.is_empty(), &objective, std) {
            bounds = vec![(-all[0].half_width(), all[0].half_width()); dim];
        }
        let start = match std {
            Some(std) => {
                let mean = if start.is_empty() { vec![0.0; dim] } else { start.to_vec() };
                Start::Normal { mean, std }
            }
            None if !start.is_empty() => bail!("a start needs its spread here; give --std too"),
            None => Start::Uniform,
        };
        let walls = match self.walls.as_deref().unwrap_or("reflect") {
            "reflect" => Walls::Reflect,
            "clip" => Walls::Clip,
            "resample" => Walls::Resample,
            "open" => Walls::Open,
            other => bail!("walls = {other} is not allowed; use reflect, clip, resample or open"),
        };
        let bounds = Some(bounds).filter(|b| !b.is_empty());
        let space = Space { dim, bounds, walls, start, surface: self.surface(dim)? };
        space.validate()?;
        Ok((objective, space))
    }

    fn surface(&self, dim: usize) -> Result<Surface> {
        let Some(text) = self.surface.as_deref() else { return Ok(Surface::None) };
        let bad =
            || format!("surface = {text} is not allowed; use sphere, plane:OFFSET or stiefel:ROWSxCOLS");
        Ok(match text.split_once(':') {
            None if text == "sphere" => Surface::Sphere,
            Some(("plane", offset)) => {
                Surface::Plane { normal: vec![1.0; dim], offset: offset.parse().with_context(bad)? }
            }
            Some(("stiefel", shape)) => {
                let (rows, cols) = shape.split_once('x').with_context(bad)?;
                Surface::Stiefel {
                    rows: rows.parse().with_context(bad)?,
                    cols: cols.parse().with_context(bad)?,
                }
            }
            _ => bail!(bad()),
        })
    }

    fn objective(&self, dim: usize, time: Option<Duration>) -> Result<Objective> {
        if self.constraints.is_some() && self.function.is_some() {
            bail!("--constraints has no meaning for test functions; use --command or --process");
        }
        let call = match (&self.command, &self.process, &self.function) {
            (Some(line), ..) => Call::Once(line.clone()),
            (_, Some(line), _) => Call::Process(line.clone()),
            (_, _, Some(name)) => return self.functions(name, dim),
            _ => bail!("there is nothing to minimise; give --function, --command or --process"),
        };
        let deadline = time.map(|t| Instant::now() + t);
        let workers = rayon::current_num_threads();
        let patience = self.eval_time.map_or(Duration::from_secs(60), |t| t.0);
        let mut program = External::new(call, workers, patience)?.until(deadline);
        if let Some(inequalities) = self.constraints {
            let plain = Penalty::default();
            let penalty = Penalty { weight: self.penalty.unwrap_or(plain.weight), ..plain };
            penalty.validate()?;
            program = program.constrained(Constraints { inequalities, equalities: 0, penalty });
        }
        Ok(Objective::Program(Box::new(program)))
    }

    fn functions(&self, name: &str, dim: usize) -> Result<Objective> {
        let base = TestFunction::named(name, dim)?;
        let shifts = self.shift.as_deref().map(|f| rows(f, dim, Some(name))).transpose()?;
        let turns = self.rotate.as_deref().map(|f| rows(f, dim * dim, None)).transpose()?;
        let count = shifts.as_ref().map_or(1, Vec::len).max(turns.as_ref().map_or(1, Vec::len));
        let one = |k: usize| {
            let mut f = base.clone();
            if let Some(s) = &shifts {
                f = f.shifted(s[k % s.len()].clone())?;
            }
            if let Some(q) = &turns {
                f = f.rotated(q[k % q.len()].clone())?;
            }
            Ok(f)
        };
        Ok(Objective::Functions((0..count).map(one).collect::<Result<_>>()?))
    }
}

/// Rows of `count` numbers; of the rows that name a function, those of `function`.
pub fn rows(file: &Path, count: usize, function: Option<&str>) -> Result<Vec<Vec<f64>>> {
    let place = file.display();
    let mut reader = csv::Reader::from_path(file).with_context(|| format!("cannot read {place}"))?;
    let header = reader.headers().with_context(|| format!("cannot read {place}"))?.clone();
    let named = header.iter().position(|h| h == "function");
    let numbers: Vec<usize> =
        (0..header.len()).filter(|i| !["function", "half_width", "seed"].contains(&&header[*i])).collect();
    if numbers.len() != count {
        bail!("{place} has {} numbers per row where {count} are needed; check --dim", numbers.len());
    }
    let wanted = |name: &str| function.is_none_or(|f| f == name || (f == "rosenbrock" && name == "rosen"));
    let mut rows = Vec::new();
    for row in reader.records() {
        let row = row.with_context(|| format!("cannot read {place}"))?;
        let line = row.position().map_or(0, csv::Position::line);
        if named.is_none_or(|i| wanted(&row[i])) {
            let number = |i: &usize| {
                let x = row[*i].trim().parse().ok().filter(|x: &f64| x.is_finite());
                x.with_context(|| {
                    format!("{place}, line {line}, column {}: {:?} is no finite number", i + 1, &row[*i])
                })
            };
            rows.push(numbers.iter().map(number).collect::<Result<Vec<f64>>>()?);
        }
    }
    if rows.is_empty() {
        bail!("{place} has no row for {}", function.unwrap_or("anything"));
    }
    Ok(rows)
}
