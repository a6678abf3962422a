use thalweg_core::MethodError;
use thiserror::Error;

/// Why a step could not be made. Only where `Invalid` and `MethodError` do not do; most systems need no such file.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum TemplateError {
    /// The gradient does not point uphill.
    #[error("no step along the gradient of norm {norm} descends; check the gradient against differences")]
    NoDescent {
        /// ‖g‖.
        norm: f64,
    },
}

impl From<TemplateError> for MethodError {
    fn from(error: TemplateError) -> Self {
        Self::Problem(error.into())
    }
}
