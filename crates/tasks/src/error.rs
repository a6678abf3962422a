use std::error::Error;
use std::path::PathBuf;

use thalweg_core::{CheckpointError, Invalid, MethodError, NamedError, RunError};
use thiserror::Error;

use crate::train::TrainError;

/// Result of a task.
pub type Result<T, E = TaskError> = std::result::Result<T, E>;

/// Why a task could not be done. Messages name fields in backticks; programs that call them otherwise
/// (flags, keywords) translate.
#[derive(Debug, Error)]
pub enum TaskError {
    /// Settings or data that cannot be used, with the remedy.
    #[error("{0}")]
    Input(String),
    /// A failure that is not the input's fault: a full disk, a broken picture, numbers that contradict
    /// each other.
    #[error("{0}")]
    Failed(String),
    /// The host asked to stop.
    #[error("interrupted")]
    Interrupted {
        /// The run folder that can go on, if anything was saved.
        folder: Option<PathBuf>,
    },
    /// What was being done when another error came.
    #[error("{what}: {source}")]
    Within {
        /// File, method or field.
        what: String,
        /// The error.
        source: Box<TaskError>,
    },
    /// A run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A method or a problem failed.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// An error of a library below.
    #[error(transparent)]
    Below(Box<dyn Error + Send + Sync>),
}

/// How a task ended badly: what a program's exit status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Settings or input: try again with others.
    Input,
    /// Anything else.
    Failure,
    /// Interruption.
    Interrupted,
}

impl TaskError {
    /// Whose fault it was.
    pub fn fault(&self) -> Fault {
        let unwritable = |e: &CheckpointError| matches!(e, CheckpointError::Io { verb: "write", .. });
        let failed = match self {
            Self::Interrupted { .. } => return Fault::Interrupted,
            Self::Within { source, .. } => return source.fault(),
            Self::Failed(_) | Self::Method(MethodError::NonFinite { .. }) => true,
            Self::Run(e) => match e {
                RunError::Method { source: MethodError::NonFinite { .. }, .. }
                | RunError::Observer(_)
                | RunError::Callback { .. } => true,
                RunError::Checkpoint(e) => unwritable(e),
                _ => false,
            },
            Self::Below(e) => e.downcast_ref().is_some_and(unwritable),
            Self::Input(_) | Self::Method(_) => false,
        };
        if failed { Fault::Failure } else { Fault::Input }
    }
}

/// Errors of the libraries below that pass through unchanged.
macro_rules! below {
    ($($(#[$feature:meta])? $error:ty),* $(,)?) => {
        $($(#[$feature])?
        impl From<$error> for TaskError {
            fn from(e: $error) -> Self {
                Self::Below(Box::new(e))
            }
        })*
    };
}

below! {
    Invalid,
    NamedError,
    CheckpointError,
    TrainError,
    serde_json::Error,
    toml::de::Error,
    toml::ser::Error,
    thalweg_comm::CommError,
    thalweg_data::DataError,
    thalweg_linalg::sparse::SparseError,
    thalweg_net::NetError,
    thalweg_optim::OptimError,
    #[cfg(feature = "bilevel")]
    thalweg_bilevel::BilevelError,
    #[cfg(feature = "convex-relu")]
    thalweg_convex_relu::ConvexError,
    #[cfg(feature = "lipsdp")]
    thalweg_lipsdp::LipError,
    #[cfg(feature = "cbo")]
    thalweg_cbo::CboError,
    #[cfg(feature = "mfac")]
    thalweg_mfac::MfacError,
    #[cfg(feature = "relax")]
    thalweg_relax::RelaxError,
}

impl From<thalweg_plot::PlotError> for TaskError {
    fn from(e: thalweg_plot::PlotError) -> Self {
        Self::Failed(e.to_string())
    }
}

/// A sentence of a parser.
impl From<String> for TaskError {
    fn from(sentence: String) -> Self {
        Self::Input(sentence)
    }
}

/// Says what was being done.
pub trait Context<T> {
    /// With this name before the error's own text.
    ///
    /// # Errors
    /// The same, named.
    fn context(self, what: impl Into<String>) -> Result<T>;

    /// As [`Context::context`], the name made only when it is needed.
    ///
    /// # Errors
    /// The same, named.
    fn with_context<W: Into<String>>(self, what: impl FnOnce() -> W) -> Result<T>;
}

impl<T, E: Into<TaskError>> Context<T> for Result<T, E> {
    fn context(self, what: impl Into<String>) -> Result<T> {
        self.with_context(|| what)
    }

    fn with_context<W: Into<String>>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.map_err(|e| TaskError::Within { what: what().into(), source: Box::new(e.into()) })
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, what: impl Into<String>) -> Result<T> {
        self.ok_or_else(|| TaskError::Input(what.into()))
    }

    fn with_context<W: Into<String>>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.ok_or_else(|| TaskError::Input(what().into()))
    }
}

/// Leaves with [`TaskError::Input`].
macro_rules! bail {
    ($($text:tt)*) => { return Err($crate::TaskError::Input(format!($($text)*))) };
}
pub(crate) use bail;
