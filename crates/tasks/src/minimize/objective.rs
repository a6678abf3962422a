//! What is minimized: a test function or a program, and in which space.

use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thalweg_cbo::Space;
use thalweg_cbo::space::{Start, Surface};
use thalweg_core::Invalid;
use thalweg_data::{Table, TableOptions};
use thalweg_optim::blackbox::{BlackBox, Call, Constraints, External, Penalty};
use thalweg_optim::functions::{TestFunction, by_name};

use super::Settings;
use crate::error::bail;
use crate::{Context, Host, Result};

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
pub(super) enum Objective {
    /// Shifted and rotated anew for each run.
    Functions(Vec<TestFunction>),
    /// The same program for all.
    Program(Box<External>),
}

impl Objective {
    /// What the settings name. Programs are not called any more after the host's time or interruption.
    pub fn new(settings: &Settings, dim: usize, host: &Host) -> Result<Self> {
        let call = match (&settings.command, &settings.process, &settings.function) {
            (Some(line), ..) => Call::Once(line.clone()),
            (_, Some(line), _) => Call::Process(line.clone()),
            (_, _, Some(_)) => return Ok(Self::Functions(settings.functions(dim)?)),
            _ => bail!("there is nothing to minimize; set `function`, `command` or `process`"),
        };
        let deadline = host.time.map(|t| Instant::now() + t);
        let patience = settings.eval_time.map_or(Duration::from_secs(60), |t| t.0);
        let program = External::new(call, rayon::current_num_threads(), patience)?;
        let mut program = program.until(deadline).interrupt(host.interrupt.clone());
        if let Some(inequalities) = settings.constraints {
            let plain = Penalty::default();
            let penalty = Penalty { weight: settings.penalty.unwrap_or(plain.weight), ..plain };
            penalty.validate()?;
            program = program.constrained(Constraints { inequalities, equalities: 0, penalty });
        }
        Ok(Self::Program(Box::new(program)))
    }

    /// That of run `k`.
    pub fn of_run(&self, k: u64) -> &dyn BlackBox {
        match self {
            Self::Functions(all) => &all[k as usize % all.len()],
            Self::Program(program) => program.as_ref(),
        }
    }

    /// Half the side of the box that is usual for it.
    fn half_width(&self) -> Option<f64> {
        match self {
            Self::Functions(all) => all.first().map(TestFunction::half_width),
            Self::Program(_) => None,
        }
    }
}

impl Settings {
    /// Number of unknowns.
    pub(super) fn unknowns(&self) -> Result<usize> {
        let sides = Some(self.sides.len()).filter(|n| *n > 1);
        let lengths = [self.dim, Some(self.start.len()).filter(|n| *n > 0), sides];
        let plane = self.function.is_some().then_some(2);
        let Some(dim) = lengths.into_iter().flatten().next().or(plane) else {
            bail!("the number of unknowns is missing; set `dim`, or `start`");
        };
        if let Some(other) = lengths.into_iter().flatten().find(|n| *n != dim) {
            bail!("{dim} and {other} unknowns; `dim`, `start` and `box` must agree");
        }
        Invalid::count("dim", dim)?;
        Ok(dim)
    }

    /// Where a search may go.
    pub(super) fn space(&self, dim: usize, objective: &Objective) -> Result<Space> {
        let start = match self.std {
            Some(std) => {
                let mean = if self.start.is_empty() { vec![0.0; dim] } else { self.start.clone() };
                Start::Normal { mean, std }
            }
            None if !self.start.is_empty() => bail!("a start needs its spread here; set `std` too"),
            None => Start::Uniform,
        };
        let usual = objective.half_width().filter(|_| self.std.is_none());
        let (bounds, surface) = (self.bounds(dim, usual), self.surface(dim)?);
        let space = Space { dim, bounds, boundary: self.boundary.unwrap_or_default(), start, surface };
        space.validate()?;
        Ok(space)
    }

    /// The box: the one that is set, else that of the usual half width.
    pub(super) fn bounds(&self, dim: usize, usual: Option<f64>) -> Option<Vec<(f64, f64)>> {
        match self.sides.as_slice() {
            [] => usual.map(|half| vec![(-half, half); dim]),
            [one] => Some(vec![(one.0, one.1); dim]),
            all => Some(all.iter().map(|s| (s.0, s.1)).collect()),
        }
    }

    fn surface(&self, dim: usize) -> Result<Surface> {
        let Some(text) = self.surface.as_deref() else { return Ok(Surface::None) };
        let bad =
            || format!("surface = {text} is not allowed; use sphere, plane:OFFSET or stiefel:ROWSxCOLS");
        Ok(match text.split_once(':') {
            None if text == "sphere" => Surface::Sphere,
            Some(("plane", offset)) => {
                Surface::Plane { normal: vec![1.0; dim], offset: offset.parse().ok().with_context(bad)? }
            }
            Some(("stiefel", shape)) => {
                let (rows, cols) = shape.split_once('x').with_context(bad)?;
                let (rows, cols) =
                    (rows.parse().ok().with_context(bad)?, cols.parse().ok().with_context(bad)?);
                Surface::Stiefel { rows, cols }
            }
            _ => bail!("{}", bad()),
        })
    }

    /// The test function in `dim` unknowns, as often as there are shifts or rotations of it.
    pub(super) fn functions(&self, dim: usize) -> Result<Vec<TestFunction>> {
        let name = self.function.as_deref().unwrap_or_default();
        let base = by_name(name, dim)?;
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
        (0..count).map(one).collect()
    }
}

/// Rows of `count` numbers in a CSV file; of the rows that name a function, those of `function`. The columns
/// `function`, `half_width` and `seed` are none of the numbers.
///
/// # Errors
/// A file that cannot be read, another count, a cell that is no finite number, no row.
pub fn rows(file: &Path, count: usize, function: Option<&str>) -> Result<Vec<Vec<f64>>> {
    let table = Table::read(file, &TableOptions::default())?;
    let (place, header) = (file.display(), table.columns());
    let named = header.iter().position(|h| h == "function");
    let beside = |i: &usize| ["function", "half_width", "seed"].contains(&header[*i].as_str());
    let numbers: Vec<usize> = (0..header.len()).filter(|i| !beside(i)).collect();
    if numbers.len() != count {
        bail!("{place} has {} numbers per row where {count} are needed; check `dim`", numbers.len());
    }
    let wanted = |name: &str| function.is_none_or(|f| f == name || (f == "rosenbrock" && name == "rosen"));
    let rows = (0..table.rows()).filter(|&row| named.is_none_or(|i| wanted(table.cell(row, i))));
    let rows = rows.map(|row| numbers.iter().map(|&i| Ok(table.number(row, i)?)).collect());
    let rows = rows.collect::<Result<Vec<Vec<f64>>>>()?;
    if rows.is_empty() {
        bail!("{place} has no row for {}", function.unwrap_or("anything"));
    }
    Ok(rows)
}
