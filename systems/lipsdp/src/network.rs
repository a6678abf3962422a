use faer::Mat;
use thalweg_linalg::dense::apply;

use crate::ball::Ball;
use crate::{Activation, LipError};

/// `W x + b`; the rows of W are the outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// Weights W, `[outputs, inputs]`.
    pub weight: Mat<f64>,
    /// Bias b, `[outputs]`; bounds do not depend on it.
    pub bias: Vec<f64>,
    /// How far the weights and biases that are meant may be from these; absent where they are meant as they stand.
    pub radii: Option<Box<Radii>>,
}

/// `|meant − stored| ≤ radius`, entry by entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Radii {
    /// Of the weights, `[outputs, inputs]`.
    pub weight: Mat<f64>,
    /// Of the bias, `[outputs]`.
    pub bias: Vec<f64>,
}

impl Affine {
    /// Weights and bias that are meant as they stand.
    pub fn new(weight: Mat<f64>, bias: Vec<f64>) -> Self {
        Self { weight, bias, radii: None }
    }

    /// A linear map without bias.
    pub fn linear(weight: Mat<f64>) -> Self {
        Self { bias: vec![0.0; weight.nrows()], weight, radii: None }
    }

    /// Whether a weight is 0 beyond doubt.
    pub(crate) fn is_zero(&self, i: usize, j: usize) -> bool {
        self.weight[(i, j)] == 0.0 && self.radii.as_ref().is_none_or(|r| r.weight[(i, j)] == 0.0)
    }

    /// The weights with their radii.
    pub(crate) fn ball(&self) -> Ball {
        match &self.radii {
            None => Ball::exact(self.weight.clone()),
            Some(radii) => Ball { mid: self.weight.clone(), rad: radii.weight.clone() },
        }
    }

    pub(crate) fn at(&self, x: &[f64]) -> Vec<f64> {
        let mut z = apply(&self.weight, x);
        z.iter_mut().zip(&self.bias).for_each(|(z, b)| *z += b);
        z
    }

    fn validate(&self, inputs: usize, place: &str) -> Result<usize, LipError> {
        finite(&self.weight, &format!("{place}: weight"))?;
        let bias = Mat::from_fn(self.bias.len(), 1, |i, _| self.bias[i]);
        finite(&bias, &format!("{place}: bias"))?;
        let (rows, columns) = (self.weight.nrows(), self.weight.ncols());
        if columns != inputs || rows == 0 || columns == 0 {
            return Err(LipError::shape(
                place,
                format!("a weight of {rows} × {columns}"),
                format!("{inputs} columns"),
            ));
        }
        if self.bias.len() != rows {
            return Err(LipError::shape(place, format!("a bias of {}", self.bias.len()), rows));
        }
        if let Some(radii) = &self.radii {
            finite(&radii.weight, &format!("{place}: radius"))?;
            let found = (radii.weight.nrows(), radii.weight.ncols(), radii.bias.len());
            let negative = (0..columns).flat_map(|j| radii.weight.col_as_slice(j)).any(|r| *r < 0.0);
            if found != (rows, columns, rows) || negative || !radii.bias.iter().all(|r| *r >= 0.0) {
                let needed = format!("radii ≥ 0 of {rows} × {columns} weights and {rows} biases");
                return Err(LipError::shape(place, format!("radii of {found:?}"), needed));
            }
        }
        Ok(rows)
    }
}

/// A step of a network.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// h ← W h + b.
    Affine(Affine),
    /// h ← φ(h).
    Activation(Activation),
    /// h ← h + G φ(W h + b) + c, with `outer` = (G, c), the identity if absent.
    Residual {
        /// Weights and bias (W, b).
        inner: Affine,
        /// Activation φ.
        activation: Activation,
        /// Weights and bias (G, c).
        outer: Option<Affine>,
    },
    /// h ← the solution of z = φ(Wz z + U h + b).
    Equilibrium {
        /// Weights and bias (U, b) of the input.
        input: Affine,
        /// Weights Wz of the state, square.
        state: Mat<f64>,
        /// Activation φ.
        activation: Activation,
    },
}

/// A network as a chain of blocks, checked when it is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    inputs: usize,
    blocks: Vec<Block>,
}

impl Network {
    /// A chain that starts with `inputs` numbers.
    ///
    /// # Errors
    /// The first block that does not fit.
    pub fn new(inputs: usize, blocks: Vec<Block>) -> Result<Self, LipError> {
        let mut width = inputs;
        if inputs == 0 || blocks.is_empty() {
            return Err(LipError::shape("the network", "nothing", "at least one layer and one input"));
        }
        for (i, block) in blocks.iter().enumerate() {
            width = block.validate(width, &format!("block {}", i + 1))?;
        }
        Ok(Self { inputs, blocks })
    }

    /// Layers with the activation after each but the last.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn feedforward(layers: Vec<Affine>, activation: &Activation) -> Result<Self, LipError> {
        let activations = vec![activation.clone(); layers.len().saturating_sub(1)];
        Self::layered(layers, activations)
    }

    /// Layers with an activation of its own after each but the last.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn layered(layers: Vec<Affine>, activations: Vec<Activation>) -> Result<Self, LipError> {
        if activations.len() + 1 != layers.len() {
            let found = format!("{} activations", activations.len());
            return Err(LipError::shape("the network", found, layers.len().saturating_sub(1)));
        }
        let inputs = layers.first().map_or(0, |l| l.weight.ncols());
        let mut activations = activations.into_iter();
        let blocks = layers.into_iter().flat_map(|l| {
            [Some(Block::Affine(l)), activations.next().map(Block::Activation)].into_iter().flatten()
        });
        Self::new(inputs, blocks.collect())
    }

    /// A linear layer, blocks h ← h + φ(W h + b), a linear layer.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn residual(
        first: Affine,
        middle: Vec<Affine>,
        last: Affine,
        activation: &Activation,
    ) -> Result<Self, LipError> {
        let block = |inner| Block::Residual { inner, activation: activation.clone(), outer: None };
        let inputs = first.weight.ncols();
        let mut blocks = vec![Block::Affine(first)];
        blocks.extend(middle.into_iter().map(block));
        blocks.push(Block::Affine(last));
        Self::new(inputs, blocks)
    }

    /// z = φ(Wz z + U x + b), y = Wo z + bo.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn equilibrium(
        input: Affine,
        state: Mat<f64>,
        output: Affine,
        activation: &Activation,
    ) -> Result<Self, LipError> {
        let inputs = input.weight.ncols();
        let implicit = Block::Equilibrium { input, state, activation: activation.clone() };
        Self::new(inputs, vec![implicit, Block::Affine(output)])
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.blocks.iter().fold(self.inputs, |width, b| b.outputs(width))
    }

    /// The chain.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Number of neurons behind an activation.
    pub fn neurons(&self) -> usize {
        let mut width = self.inputs;
        let mut count = 0;
        for block in &self.blocks {
            count += match block {
                Block::Affine(_) => 0,
                Block::Activation(_) => width,
                Block::Residual { inner: w, .. } | Block::Equilibrium { input: w, .. } => w.weight.nrows(),
            };
            width = block.outputs(width);
        }
        count
    }

    /// Whether it is a chain of affine maps and activations.
    pub fn is_feedforward(&self) -> bool {
        self.blocks.iter().all(|b| matches!(b, Block::Affine(_) | Block::Activation(_)))
    }

    /// The network followed by `y ← S y`: one row of the output, or a difference of two.
    ///
    /// # Errors
    /// A selector of another width.
    pub fn followed_by(&self, selector: Mat<f64>) -> Result<Self, LipError> {
        let mut blocks = self.blocks.clone();
        blocks.push(Block::Affine(Affine::linear(selector)));
        Self::new(self.inputs, blocks)
    }

    /// Output number `row` alone.
    ///
    /// # Errors
    /// No such output.
    pub fn row(&self, row: usize) -> Result<Self, LipError> {
        self.difference(row, None)
    }

    /// The difference of outputs `k` and `j`.
    ///
    /// # Errors
    /// No such outputs, or one twice.
    pub fn pair(&self, k: usize, j: usize) -> Result<Self, LipError> {
        self.difference(k, Some(j))
    }

    fn difference(&self, k: usize, j: Option<usize>) -> Result<Self, LipError> {
        let m = self.outputs();
        for row in [Some(k), j].into_iter().flatten() {
            if row >= m {
                return Err(LipError::shape("the output", format!("row {row}"), format!("a row < {m}")));
            }
        }
        if j == Some(k) {
            return Err(LipError::shape("the pair", format!("class {k} twice"), "two different classes"));
        }
        let entry = |_, c: usize| f64::from(c == k) - f64::from(Some(c) == j);
        self.followed_by(Mat::from_fn(1, m, entry))
    }

    /// Outputs for one input.
    ///
    /// # Errors
    /// An input of another length, an activation that is known by its slopes only, an equilibrium that is not found.
    pub fn forward(&self, x: &[f64]) -> Result<Vec<f64>, LipError> {
        self.reads(x)?;
        self.blocks.iter().try_fold(x.to_vec(), |h, block| block.value(&h))
    }

    /// Refuses an input of another length.
    pub(crate) fn reads(&self, x: &[f64]) -> Result<(), LipError> {
        if x.len() == self.inputs {
            return Ok(());
        }
        Err(LipError::shape("the input", format!("{} numbers", x.len()), self.inputs))
    }
}

impl Block {
    fn validate(&self, width: usize, place: &str) -> Result<usize, LipError> {
        match self {
            Self::Affine(affine) => affine.validate(width, place),
            Self::Activation(act) => {
                act.validate(width, place)?;
                Ok(act.outputs(width))
            }
            Self::Residual { inner, activation, outer } => {
                let hidden = inner.validate(width, place)?;
                activation.validate(hidden, place)?;
                let hidden = activation.outputs(hidden);
                let back = match outer {
                    Some(outer) => outer.validate(hidden, place)?,
                    None => hidden,
                };
                if back != width {
                    let found = format!("a branch of width {back}");
                    return Err(LipError::shape(
                        place,
                        found,
                        format!("{width}, the width of its input (add a projection)"),
                    ));
                }
                Ok(width)
            }
            Self::Equilibrium { input, state, activation } => {
                let n = input.validate(width, place)?;
                activation.validate(n, place)?;
                finite(state, &format!("{place}: state"))?;
                if (state.nrows(), state.ncols()) != (n, n) || activation.outputs(n) != n {
                    let found = format!("a state matrix of {} × {}", state.nrows(), state.ncols());
                    return Err(LipError::shape(place, found, format!("{n} × {n}")));
                }
                Ok(n)
            }
        }
    }

    pub(crate) fn outputs(&self, width: usize) -> usize {
        match self {
            Self::Affine(a) => a.weight.nrows(),
            Self::Activation(act) => act.outputs(width),
            Self::Residual { .. } => width,
            Self::Equilibrium { input, .. } => input.weight.nrows(),
        }
    }

    pub(crate) fn value(&self, h: &[f64]) -> Result<Vec<f64>, LipError> {
        match self {
            Self::Affine(a) => Ok(a.at(h)),
            Self::Activation(act) => act.value(h),
            Self::Residual { inner, activation, outer } => {
                let branch = activation.value(&inner.at(h))?;
                let branch = outer.as_ref().map_or(branch.clone(), |outer| outer.at(&branch));
                Ok(h.iter().zip(&branch).map(|(h, b)| h + b).collect())
            }
            Self::Equilibrium { input, state, activation } => {
                Ok(equilibrium(&input.at(h), state, activation)?.0)
            }
        }
    }
}

/// The state z = φ(Wz z + drive) by damped fixed-point iteration (forward-backward splitting), and what φ read last.
pub(crate) fn equilibrium(
    drive: &[f64],
    state: &Mat<f64>,
    activation: &Activation,
) -> Result<(Vec<f64>, Vec<f64>), LipError> {
    let mut z = vec![0.0; drive.len()];
    for _ in 0..20_000 {
        let mut at = apply(state, &z);
        at.iter_mut().zip(drive).for_each(|(a, d)| *a += d);
        let next = activation.value(&at)?;
        let moved = z.iter().zip(&next).map(|(z, x)| (z - x).abs()).fold(0.0, f64::max);
        z.iter_mut().zip(&next).for_each(|(z, x)| *z += 0.3 * (x - *z));
        if moved < 1e-13 * (1.0 + z.iter().fold(0.0, |a, z| f64::max(a, z.abs()))) {
            return Ok((z, at));
        }
    }
    Err(LipError::NoEquilibrium)
}

/// A matrix from its rows.
///
/// # Errors
/// Rows of different lengths.
pub fn matrix(rows: &[&[f64]]) -> Result<Mat<f64>, LipError> {
    let columns = rows.first().map_or(0, |r| r.len());
    if let Some(i) = rows.iter().position(|r| r.len() != columns) {
        let found = format!("row {i} with {} numbers", rows[i].len());
        return Err(LipError::shape("the matrix", found, format!("{columns} as in row 0")));
    }
    Ok(Mat::from_fn(rows.len(), columns, |i, j| rows[i][j]))
}

/// An error that names the first entry that is not a finite number.
pub(crate) fn finite(a: &Mat<f64>, tensor: &str) -> Result<(), LipError> {
    for row in 0..a.nrows() {
        for column in 0..a.ncols() {
            let value = a[(row, column)];
            if !value.is_finite() {
                return Err(LipError::NotFinite { tensor: tensor.into(), row, column, value });
            }
        }
    }
    Ok(())
}
