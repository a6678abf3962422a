//! What is proved, and what proves it.

use faer::Mat;
use serde::{Deserialize, Serialize};

use crate::network::{Affine, Block, Network};
use crate::operator::{Number, Operator};
use crate::size::Size;
use crate::wired::Wired;
use crate::{Activation, LipError, Norm};

/// A proved bound and how it came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The Lipschitz constant is at most this, for the stored weights in real arithmetic.
    pub bound: f64,
    /// Norms.
    pub norm: Norm,
    /// Name of the [`Bound`](crate::Bound).
    pub method: String,
    /// That the bound is proved by this method; `false` only if that proof failed and `bound` is the product of norms
    /// instead.
    pub verified: bool,
    /// What the bound rests on.
    pub basis: Basis,
    /// Fingerprint of the network that it is for: weights, biases and activations to the last bit.
    pub network: String,
    /// Margin: the smallest certified eigenvalue of the scaled matrix inequalities; absent for closed forms.
    pub margin: Option<f64>,
    /// Enlargement θ of the multipliers that the proof needed.
    pub theta: Option<f64>,
    /// What the solver found before the proof.
    pub solver_value: Option<f64>,
    /// Relative duality gap of the solver.
    pub gap: Option<f64>,
    /// Iterations, or evaluations of the first-order method.
    pub iterations: Option<usize>,
    /// Seconds for solve and proof.
    pub seconds: f64,
    /// Neurons behind activations.
    pub neurons: usize,
    /// Size of the matrix inequality that was solved.
    pub lmi_size: Option<Size>,
    /// What the proof starts from; absent for closed forms. Neurons that cannot matter have none.
    pub multipliers: Option<Multipliers>,
    /// Bounds of parts of the network that this one is made of.
    #[serde(default)]
    pub parts: Vec<Certificate>,
}

impl Certificate {
    /// Compares the bound with a lower one of the same network, such as
    /// [`sample::lower_bound`](crate::sample::lower_bound).
    ///
    /// # Errors
    /// The lower one is above: one of them is wrong.
    pub fn against(&self, lower: f64) -> Result<(), LipError> {
        if self.bound >= lower {
            return Ok(());
        }
        Err(LipError::Contradiction { method: self.method.clone(), bound: self.bound, lower })
    }
}

/// What a bound rests on: what [`LipSdp::check`](crate::LipSdp::check) repeats, without a solver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The multipliers.
    Multipliers,
    /// The product of norms, in their place or below what they prove.
    Product,
    /// The product of the bounds of the parts.
    Parts,
    /// All activation patterns but those that the bounds of the parts rule out. To repeat it is to search again.
    Patterns,
    /// Zeros among the weights: no output depends on an input.
    Constant,
}

/// What proves a bound: one number per quadratic constraint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Multipliers {
    /// Of the input: ρ for ℓ2, τ (one per input) for ℓ∞.
    pub input: Vec<f64>,
    /// Of the output: σ, one per output, for ℓ∞ → ℓ1; empty otherwise.
    pub output: Vec<f64>,
    /// Of each block with an activation, from the input: λ.
    pub layers: Vec<Vec<f64>>,
}

impl Multipliers {
    pub(crate) fn flat(&self) -> Vec<f64> {
        [&self.input, &self.output].into_iter().chain(&self.layers).flatten().copied().collect()
    }
}

/// A hash of everything that a network is, in the manner of FNV-1a but word by word, in 128 bits.
pub(crate) fn fingerprint(net: &Network) -> String {
    let mut hash = Fnv(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
    hash.number(net.inputs());
    for block in net.blocks() {
        match block {
            Block::Affine(a) => hash.affine(b'a', a),
            Block::Activation(act) => hash.activation(act),
            Block::Residual { inner, activation, outer } => {
                hash.affine(b'r', inner);
                hash.activation(activation);
                if let Some(outer) = outer {
                    hash.affine(b'o', outer);
                }
            }
            Block::Equilibrium { input, state, activation } => {
                hash.affine(b'e', input);
                hash.matrix(state);
                hash.activation(activation);
            }
        }
    }
    format!("{:032x}", hash.0)
}

/// The same of a network that is not written out.
pub(crate) fn fingerprint_wired(net: &Wired) -> String {
    let mut hash = Fnv(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
    hash.number(net.inputs());
    for (terms, activation) in net.layers() {
        hash.number(terms.len());
        for term in terms {
            hash.number(term.from);
            term.maps.iter().for_each(|map| hash.operator(map));
        }
        activation.into_iter().for_each(|act| hash.activation(act));
    }
    format!("{:032x}", hash.0)
}

struct Fnv(u128);

impl Fnv {
    fn word(&mut self, word: u64) {
        // The rotation brings high bits back to where products reach them.
        self.0 = (self.0 ^ u128::from(word)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        self.0 = self.0.rotate_left(41);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.word(u64::from(*b)));
    }

    fn number(&mut self, n: usize) {
        self.word(n as u64);
    }

    fn matrix(&mut self, a: &Mat<f64>) {
        self.number(a.nrows());
        self.number(a.ncols());
        for j in 0..a.ncols() {
            a.col_as_slice(j).iter().for_each(|x| self.word(x.to_bits()));
        }
    }

    fn operator(&mut self, map: &Operator) {
        let number = |hash: &mut Self, n: &Number| {
            hash.word(n.value.to_bits());
            hash.word(n.radius.to_bits());
        };
        match map {
            Operator::Rows(rows) => {
                self.bytes(b"w");
                for (row, bias) in rows.iter() {
                    self.number(row.len());
                    for entry in row {
                        self.number(entry.column);
                        number(self, &entry.number);
                    }
                    number(self, bias);
                }
            }
            Operator::Convolution(c) => {
                self.bytes(b"c");
                let sizes = [&c.input[..], &c.k, &c.stride, &c.pad, &c.dilation, &[c.out, c.groups]].concat();
                sizes.into_iter().for_each(|n| self.number(n));
                self.bytes(&[u8::from(c.circular)]);
                c.weight.iter().chain(&c.bias).for_each(|n| number(self, n));
            }
        }
    }

    fn affine(&mut self, tag: u8, a: &Affine) {
        self.bytes(&[tag]);
        self.matrix(&a.weight);
        a.bias.iter().for_each(|x| self.word(x.to_bits()));
        if let Some(radii) = &a.radii {
            self.bytes(b"+");
            self.matrix(&radii.weight);
            radii.bias.iter().for_each(|x| self.word(x.to_bits()));
        }
    }

    fn activation(&mut self, act: &Activation) {
        match act {
            Activation::Slope(slope) => self.bytes(format!("{slope:?}").as_bytes()),
            Activation::GroupSort { size, descending } => {
                self.bytes(&[b's', u8::from(*descending)]);
                self.number(*size);
            }
            Activation::Householder { normals } => {
                self.bytes(b"h");
                self.matrix(normals);
            }
            Activation::MaxPool { windows } => {
                self.bytes(b"m");
                for window in windows {
                    self.number(window.len());
                    window.iter().for_each(|i| self.number(*i));
                }
            }
        }
    }
}
