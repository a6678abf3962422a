//! The minimum of a test function or a program, by gradients ([`Descent`]) or by values alone
//! ([`thalweg_cbo::Algorithm`]).

mod descent;
mod history;
mod objective;
mod report;
mod search;
mod settings;
pub mod tour;

use serde::Serialize;
use thalweg_plot::Table;

pub use descent::{Descent, Trajectory};
pub use objective::{Side, rows};
pub use search::Summary;
pub use settings::Settings;

use crate::{Folder, Host, Result};

/// The picture of paths in the plane.
const PICTURE: &str = "trajectories.svg";
/// The picture of a search.
const CONVERGENCE: &str = "convergence.svg";

/// What was found. As JSON: the search, the path, or the list of the paths that were compared.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Found {
    /// By values alone.
    Search(Box<Summary>),
    /// By one method with gradients.
    Descent(Box<Trajectory>),
    /// By several of them.
    Compared(Vec<Trajectory>),
}

impl Found {
    /// As a table for people.
    pub fn table(&self) -> Table {
        match self {
            Self::Search(summary) => summary.table(),
            Self::Descent(path) => report::table(std::slice::from_ref(path)),
            Self::Compared(paths) => report::table(paths),
        }
    }

    /// Whether a run reached the target; paths have none.
    pub fn succeeded(&self) -> bool {
        !matches!(self, Self::Search(summary) if summary.successes == Some(0))
    }
}

/// Minimizes as the settings say. With a folder, everything is written there, and an interrupted run goes on.
///
/// ```
/// use thalweg_tasks::Host;
/// use thalweg_tasks::minimize::{Found, Settings, minimize};
///
/// let settings = Settings { function: Some("rastrigin".into()), target: Some(1e-3), ..Settings::default() };
/// let Found::Search(found) = minimize(&settings, None, &Host::default())? else { unreachable!() };
/// assert_eq!((found.successes, found.stop.as_str()), (Some(1), "target"));
///
/// let settings = Settings { method: Some("lbfgs".into()), start: vec![0.2, -0.1], target: None, ..settings };
/// let Found::Descent(path) = minimize(&settings, None, &Host::default())? else { unreachable!() };
/// assert!(path.best_f < 1e-10);
/// # Ok::<(), thalweg_tasks::TaskError>(())
/// ```
///
/// # Errors
/// Settings that do not fit each other or the method, a function without gradient for a method that needs one, a
/// program that has no value anywhere, an interruption.
pub fn minimize(settings: &Settings, folder: Option<&Folder>, host: &Host) -> Result<Found> {
    if settings.searches()? {
        return Ok(Found::Search(Box::new(search::search(settings, folder, host)?)));
    }
    let mut paths = descent::descend(settings, folder, host)?;
    Ok(match settings.compare {
        None => Found::Descent(Box::new(paths.swap_remove(0))),
        Some(_) => Found::Compared(paths),
    })
}
