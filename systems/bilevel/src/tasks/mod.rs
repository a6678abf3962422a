//! Problems to solve: closed forms, random quadratics, choosing regularisation, cleaning labels.

pub mod classify;
pub mod cleaning;
pub mod quadratic;
pub mod regularization;
pub mod toys;
