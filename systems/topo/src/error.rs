use thalweg_core::{MethodError, RunError};
use thiserror::Error;

/// Why no graph could be learned. Each says what is wrong and what to do.
#[derive(Debug, Error)]
pub enum TopoError {
    /// A cell that is not a finite number.
    #[error(
        "row {row}, column {column} is {value}; every cell must be a finite number: drop the row, or impute it"
    )]
    NotFinite {
        /// Row of the data, from 1.
        row: usize,
        /// Name of the column.
        column: String,
        /// What stands there.
        value: f64,
    },
    /// A variable that never changes.
    #[error("column {0} is constant, so nothing can be learned about it; name it in `drop`")]
    Constant(String),
    /// Two columns of one name.
    #[error("two columns are named {0}; give each variable a name of its own")]
    Duplicate(String),
    /// Too little data altogether.
    #[error("the data have {rows} rows and {columns} columns; at least 2 rows and 1 column are needed")]
    Empty {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
    /// A column that others determine.
    #[error(
        "column {column} is a linear combination of {others}, so that the data cannot tell them apart; name one of them \
         in `drop`"
    )]
    Collinear {
        /// Name of the column.
        column: String,
        /// Names of the others.
        others: String,
    },
    /// Dense fits need more samples than variables.
    #[error(
        "{rows} samples of {columns} variables: a regression on all predecessors needs more samples than variables; \
         set `score` to bic, or to l2 or logistic with `penalty` l1 or l2"
    )]
    TooFewSamples {
        /// Samples.
        rows: usize,
        /// Variables.
        columns: usize,
    },
    /// Values that a score cannot take.
    #[error(
        "row {row}, column {column} is {value}; the logistic score takes 0 and 1 alone; set `score` to l2, bic or mlp"
    )]
    NotBinary {
        /// Row of the data, from 1.
        row: usize,
        /// Name of the column.
        column: String,
        /// What stands there.
        value: f64,
    },
    /// The likelihood with free variances does not depend on the order.
    #[error(
        "the Gaussian likelihood with unequal variances and no penalty is ½ log det S for every order; set \
         `score` to mcp (the likelihood with a sparsity penalty), bic, or ev for equal variances"
    )]
    OrderFree,
    /// A matrix or an order that does not fit the data.
    #[error("{what} has {found} where the data have {needed} variables; use a matching one")]
    Size {
        /// What was given.
        what: String,
        /// What it has.
        found: usize,
        /// What it needs.
        needed: usize,
    },
    /// A matrix that is no graph over so many nodes.
    #[error("{what} is a matrix of {rows} × {columns}; it must be one of {needed} × {needed}")]
    Shape {
        /// What was given.
        what: String,
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
        /// Nodes.
        needed: usize,
    },
    /// A score that is no number.
    #[error("the score of node {node} behind {parents:?} is {value}; a score must be a number, and not −∞")]
    NoNumber {
        /// The node.
        node: usize,
        /// Its possible parents.
        parents: Vec<usize>,
        /// What came back.
        value: f64,
    },
    /// A fit with another number of weights than of possible parents.
    #[error("the fit of node {node} has {found} weights for {needed} possible parents; give one for each")]
    Weights {
        /// The node.
        node: usize,
        /// Weights.
        found: usize,
        /// Possible parents.
        needed: usize,
    },
    /// An order that misses or repeats a variable.
    #[error("{0} is no order: every variable must stand in it once")]
    NotAnOrder(String),
    /// A graph that must have no cycle.
    #[error("{0} has a directed cycle; remove edges until it has none")]
    Cyclic(String),
    /// Knowledge that contradicts itself.
    #[error("the required edge {from} → {to} is forbidden by {by}; drop one of the two")]
    Contradiction {
        /// Tail.
        from: String,
        /// Head.
        to: String,
        /// What forbids it.
        by: String,
    },
    /// The exact search is exponential.
    #[error(
        "the exact search over {found} variables would take 2^{found} subsets; it takes at most {limit} {why}"
    )]
    TooMany {
        /// Variables.
        found: usize,
        /// Variables allowed.
        limit: usize,
        /// For which score.
        why: &'static str,
    },
    /// A combination that is not defined.
    #[error("{what} does not go with {with}; {remedy}")]
    Combination {
        /// An option.
        what: String,
        /// Another.
        with: String,
        /// What to do.
        remedy: String,
    },
    /// A continuous method left its domain or diverged.
    #[error("{method} found no finite solution: {cause}; set `standardize`, or `init` to td")]
    Diverged {
        /// The method.
        method: &'static str,
        /// What happened.
        cause: String,
    },
    /// The token asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// The driver of a search failed.
    #[error(transparent)]
    Run(Box<RunError>),
    /// A hyper-parameter outside its range.
    #[error(transparent)]
    Invalid(#[from] thalweg_core::Invalid),
}

impl From<RunError> for TopoError {
    fn from(e: RunError) -> Self {
        // What the search itself says comes back as it was.
        match e {
            RunError::Method { step, source: MethodError::Problem(own) } => match own.downcast() {
                Ok(own) => *own,
                Err(own) => Self::Run(Box::new(RunError::Method { step, source: MethodError::Problem(own) })),
            },
            RunError::Invalid(e) => Self::Invalid(e),
            e => Self::Run(Box::new(e)),
        }
    }
}
