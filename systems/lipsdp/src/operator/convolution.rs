use faer::Mat;
use rayon::prelude::*;

use super::{Entry, Number, Rows};
use crate::ball::{Ball, U, gamma, plus, times};
use crate::{LipError, Norm};

/// A convolution of images `[height, width, channels]`, channels last; of sequences with height 1.
///
/// `y[o, p] = Σ w[o, c, t] x[c, s·p + d·t − pad]` per axis with stride s and dilation d; cells outside the image are 0,
/// or wrap around where it is `circular`.
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution {
    /// Height, width, channels of what it reads.
    pub input: [usize; 3],
    /// Channels that it gives.
    pub out: usize,
    /// Height and width of the kernel.
    pub k: [usize; 2],
    /// Steps of the window.
    pub stride: [usize; 2],
    /// Padding: top, bottom, left, right.
    pub pad: [usize; 4],
    /// Distances of the taps.
    pub dilation: [usize; 2],
    /// Channel groups.
    pub groups: usize,
    /// Whether the image wraps around.
    pub circular: bool,
    /// `[out, channels / groups, height, width]`, row-major.
    pub weight: Vec<Number>,
    /// Bias of each channel that it gives.
    pub bias: Vec<Number>,
}

/// Error of cos and sin of 2πj/N with 0 ≤ j < N: the argument has three roundings, below 2π·4u, and the functions are
/// good to a unit in the last place.
const TURN: f64 = 32.0 * U;
/// How far above the largest norm that was found the proof is tried.
const SLACKS: [f64; 8] = [1e-10, 1e-9, 1e-8, 1e-6, 1e-4, 1e-2, 0.1, 1.0];

impl Convolution {
    /// Names what does not fit together.
    ///
    /// # Errors
    /// A size of 0, a kernel larger than the padded image, another number of weights or biases, a weight that is not
    /// finite.
    pub fn validate(&self, place: &str) -> Result<(), LipError> {
        let shape =
            |found: String, needed: &str| Err(LipError::shape(place.to_owned(), found, needed.to_owned()));
        let sizes =
            [&self.input[..], &self.k, &self.stride, &self.dilation, &[self.out, self.groups]].concat();
        if sizes.contains(&0) {
            return shape(format!("sizes {sizes:?}"), "sizes of at least 1");
        }
        let [h, w, c] = self.input;
        if !c.is_multiple_of(self.groups) || !self.out.is_multiple_of(self.groups) {
            return shape(format!("{} groups", self.groups), "groups that divide the channels");
        }
        let fits = |n: usize, axis: usize| {
            n + self.pad[2 * axis] + self.pad[2 * axis + 1] > self.dilation[axis] * (self.k[axis] - 1)
        };
        if !fits(h, 0) || !fits(w, 1) {
            return shape(format!("a kernel of {:?}", self.k), "a kernel that fits into the padded image");
        }
        if self.weight.len() != self.out * self.taps() || self.bias.len() != self.out {
            let found = format!("{} weights and {} biases", self.weight.len(), self.bias.len());
            return shape(found, &format!("{} and {}", self.out * self.taps(), self.out));
        }
        match self.weight.iter().chain(&self.bias).position(|n| !(n.value + n.radius).is_finite()) {
            None => Ok(()),
            Some(i) => {
                let value = self.weight.get(i).map_or(f64::NAN, |n| n.value);
                let (tensor, row, column) = (place.to_owned(), i / self.taps(), i % self.taps());
                Err(LipError::NotFinite { tensor, row, column, value })
            }
        }
    }

    /// Height, width, channels of what it gives.
    pub fn output(&self) -> [usize; 3] {
        let length = |axis: usize| {
            let padded = self.input[axis] + self.pad[2 * axis] + self.pad[2 * axis + 1];
            (padded - self.dilation[axis] * (self.k[axis] - 1) - 1) / self.stride[axis] + 1
        };
        [length(0), length(1), self.out]
    }

    /// Weights that one output sees.
    pub(crate) fn taps(&self) -> usize {
        self.input[2] / self.groups * self.k[0] * self.k[1]
    }

    /// Every channel that it gives multiplied by a number, and then shifted: a batch normalization behind it.
    pub fn scaled(mut self, by: &[Number], shift: &[Number]) -> Self {
        let taps = self.taps();
        for (o, weights) in self.weight.chunks_mut(taps).enumerate() {
            weights.iter_mut().for_each(|w| *w = *w * by[o]);
        }
        let before = Rows::diagonal(&vec![Number::ONE; self.out], self.bias);
        self.bias = before.then(&Rows::diagonal(by, shift.to_vec())).into_bias();
        self
    }

    /// Written out.
    pub fn rows(&self) -> Rows {
        let ([h, w, c], [_, columns, out]) = (self.input, self.output());
        let (per, own) = (c / self.groups, self.out / self.groups);
        let place = |p: usize, t: usize, axis: usize| {
            let n = self.input[axis];
            let at = p * self.stride[axis] + t * self.dilation[axis];
            match self.circular {
                true => Some((at + n * self.pad[2 * axis].div_ceil(n) - self.pad[2 * axis]) % n),
                false => at.checked_sub(self.pad[2 * axis]).filter(|x| *x < n),
            }
        };
        let row = |i: usize| {
            let (y, x, o) = (i / (columns * out), i / out % columns, i % out);
            let first = o / own * per;
            let mut entries = Vec::with_capacity(self.taps());
            for (t, s) in (0..self.k[0]).flat_map(|t| (0..self.k[1]).map(move |s| (t, s))) {
                let (Some(y), Some(x)) = (place(y, t, 0), place(x, s, 1)) else { continue };
                entries.extend(
                    (0..per)
                        .map(|g| Entry { column: (y * w + x) * c + first + g, number: self.tap(o, g, t, s) }),
                );
            }
            entries
        };
        let outputs = self.output().iter().product();
        let rows = (0..outputs).into_par_iter().map(row).collect();
        let bias = (0..outputs).map(|i| self.bias[i % out]).collect();
        // A tap that wraps around a small image may meet another one: adding to nothing gathers them.
        Rows::gathered(h * w * c, rows, bias)
    }

    fn tap(&self, o: usize, c: usize, t: usize, s: usize) -> Number {
        self.weight[o * self.taps() + (c * self.k[0] + t) * self.k[1] + s]
    }

    /// A proved bound of the norm, ℓ2 to ℓ2 or else ℓ∞ to ℓ∞.
    pub(crate) fn norm(&self, norm: Norm) -> f64 {
        let sums = self.weight.chunks(self.taps()).map(|w| w.iter().map(|w| w.size()).fold(0.0, plus));
        if norm != Norm::L2 {
            return sums.fold(0.0, f64::max);
        }
        let group = |g: usize| self.spectral(g);
        (0..self.groups).into_par_iter().map(group).collect::<Vec<_>>().into_iter().fold(0.0, f64::max)
    }

    /// Side N of the torus along an axis, and the stride there.
    ///
    /// With zeros around it a convolution is R C E: E puts the image on a torus of N cells, C convolves there, R
    /// takes the outputs out. On a torus of N ≥ n + max(pad) no tap that leaves the image meets it again, and with
    /// N ≥ s (outputs − 1) + 1 no two outputs share a cell, so ‖E‖ = ‖R‖ = 1 and ‖R C E‖ ≤ ‖S C‖, where S takes every
    /// s-th cell. Along an axis with a single tap C is a multiple of the identity: one cell tells its norm.
    fn torus(&self, axis: usize) -> (usize, usize) {
        let (n, s) = (self.input[axis], self.stride[axis]);
        if self.k[axis] == 1 {
            return (1, 1);
        }
        if self.circular {
            // Every output is one of the stride-1 convolution's, once only if they do not go around.
            let around = self.output()[axis];
            return if n.is_multiple_of(s) && around * s <= n { (n, s) } else { (n, 1) };
        }
        let least =
            (n + self.pad[2 * axis].max(self.pad[2 * axis + 1])).max(s * (self.output()[axis] - 1) + 1);
        (least.next_multiple_of(s), s)
    }

    /// How often an output of the torus is repeated: more rows of padding around a circular image than it has.
    fn repeats(&self) -> f64 {
        let axis = |a: usize| match self.circular {
            true => ((self.output()[a] - 1) * self.stride[a] / self.input[a] + 1) as f64,
            false => 1.0,
        };
        axis(0) * axis(1)
    }

    /// ‖S C‖₂ for one group of channels. At each frequency of the torus C is a matrix of c_out × c_in complex numbers;
    /// taking every s-th cell lays s² of them side by side, over s (Sedghi, Gupta and Long 2019 for s = 1; the
    /// polyphase form). Their largest singular value is guessed by iteration; that no frequency exceeds it is proved
    /// by factorizations, with every rounding bounded.
    fn spectral(&self, group: usize) -> f64 {
        let [(rows, down), (columns, across)] = [self.torus(0), self.torus(1)];
        let (own, per) = (self.out / self.groups, self.input[2] / self.groups);
        let (ph, pw) = (rows / down, columns / across);
        // Frequencies come in conjugate pairs.
        let all: Vec<(usize, usize)> = (0..=ph / 2).flat_map(|a| (0..pw).map(move |b| (a, b))).collect();
        let turns = [turns(rows), turns(columns)];
        let symbol = |&(a, b): &(usize, usize)| {
            let parts = (0..down).flat_map(|i| (0..across).map(move |j| (a + i * ph, b + j * pw)));
            self.symbol(group, &parts.collect::<Vec<_>>(), &turns)
        };
        // Every entry of a symbol is off by at most Σ|w| (error of e^{iω} and of the sum) + radii.
        let error = |o: usize, c: usize| {
            let taps = (0..self.k[0]).flat_map(|t| (0..self.k[1]).map(move |s| (t, s)));
            let (size, radius) = taps
                .map(|(t, s)| self.tap(group * own + o, c, t, s))
                .fold((0.0, 0.0), |(a, b), w| (plus(a, w.value.abs()), plus(b, w.radius)));
            plus(times(size, 3.0 * TURN + 4.0 * gamma(self.k[0] * self.k[1] + 4)), radius)
        };
        let square = (0..own).flat_map(|o| (0..per).map(move |c| (o, c))).map(|(o, c)| error(o, c).powi(2));
        let parts = (down * across) as f64;
        // Of the s² matrices side by side, over s.
        let off = (square.sum::<f64>() * 1.0001).sqrt().next_up();

        let whole = |s: f64| {
            let whole = plus(s, times(off, parts.sqrt().next_up()));
            let share = (self.repeats() / parts).sqrt();
            times(whole, if share == 1.0 { 1.0 } else { share.next_up().next_up() })
        };
        let guesses: Vec<f64> = all.par_iter().map(|f| top(&symbol(f))).collect();
        let highest = (0..all.len()).max_by(|a, b| guesses[*a].total_cmp(&guesses[*b]));
        // Squares of smaller numbers would underflow.
        let mut least = highest.map_or(0.0, |i| largest(&symbol(&all[i]))).max(1e-140);
        let (mut open, mut slacks) = (all, SLACKS.into_iter());
        let mut slack = slacks.next();
        while let Some(above) = slack {
            let s = least * (1.0 + above) + f64::MIN_POSITIVE;
            // What passed a smaller number passes this one.
            open = open.into_par_iter().filter(|f| !below(&symbol(f), s)).collect();
            if open.is_empty() {
                return whole(s);
            }
            let missed = open.par_iter().map(|f| largest(&symbol(f))).reduce(|| 0.0, f64::max);
            if missed <= least {
                slack = slacks.next();
            }
            least = least.max(missed);
        }
        self.rows().by_sums()
    }

    /// The matrices of these frequencies side by side, as real ones: [[Re, −Im], [Im, Re]].
    fn symbol(&self, group: usize, frequencies: &[(usize, usize)], turns: &[Vec<(f64, f64)>; 2]) -> Mat<f64> {
        let (own, per) = (self.out / self.groups, self.input[2] / self.groups);
        let wide = per * frequencies.len();
        let mut m = Mat::zeros(2 * own, 2 * wide);
        for (block, (a, b)) in frequencies.iter().enumerate() {
            for o in 0..own {
                for c in 0..per {
                    let (mut re, mut im) = (0.0, 0.0);
                    for t in 0..self.k[0] {
                        let (ct, st) = turns[0][a * t * self.dilation[0] % turns[0].len()];
                        for s in 0..self.k[1] {
                            let (cs, ss) = turns[1][b * s * self.dilation[1] % turns[1].len()];
                            let w = self.tap(group * own + o, c, t, s).value;
                            re += w * (ct * cs - st * ss);
                            im += w * (ct * ss + st * cs);
                        }
                    }
                    let column = block * per + c;
                    m[(o, column)] = re;
                    m[(own + o, wide + column)] = re;
                    m[(o, wide + column)] = -im;
                    m[(own + o, column)] = im;
                }
            }
        }
        m
    }
}

/// cos and sin of 2πj/n.
fn turns(n: usize) -> Vec<(f64, f64)> {
    let at = |j: usize| std::f64::consts::TAU * j as f64 / n as f64;
    (0..n).map(|j| (libm::cos(at(j)), libm::sin(at(j)))).collect()
}

/// The Gram matrix of the narrower side.
fn gram(m: &Mat<f64>) -> Mat<f64> {
    let t = m.transpose();
    if m.nrows() <= m.ncols() {
        thalweg_linalg::dense::product(m, t)
    } else {
        thalweg_linalg::dense::product(t, m)
    }
}

/// About the largest singular value, from below: power iteration.
fn top(m: &Mat<f64>) -> f64 {
    let g = gram(m);
    let n = g.nrows();
    let mut v: Vec<f64> = (0..n).map(|i| 1.0 + 0.1 * ((i * 7 + 3) % 11) as f64).collect();
    let mut value = 0.0;
    for _ in 0..30 {
        let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        if !(length > 0.0 && length.is_finite()) {
            break;
        }
        v.iter_mut().for_each(|x| *x /= length);
        v = thalweg_linalg::dense::apply(&g, &v);
        let next = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        if next <= value * (1.0 + 1e-6) {
            return value.max(next).sqrt();
        }
        value = next;
    }
    value.sqrt()
}

/// The largest singular value up to rounding.
fn largest(m: &Mat<f64>) -> f64 {
    thalweg_linalg::dense::lambda_max(gram(m)).max(0.0).sqrt()
}

/// Proves that every singular value is at most s: s² I − MMᵀ ≻ 0. The Gram matrix is off by at most γ‖M‖_F².
fn below(m: &Mat<f64>, s: f64) -> bool {
    let g = gram(m);
    let n = g.nrows();
    let square = s * s;
    let k = m.nrows().max(m.ncols());
    let frobenius: f64 = m.norm_l2();
    let off = 1.01 * gamma(k + 4) * frobenius * frobenius + 4.0 * U * square + k as f64 * f64::MIN_POSITIVE;
    let mid = Mat::from_fn(n, n, |i, j| if i == j { square - g[(i, j)] } else { -g[(i, j)] });
    // |E| ≤ off I in the order of symmetric matrices, as a radius on the diagonal says.
    let rad = Mat::from_fn(n, n, |i, j| if i == j { off } else { 0.0 });
    Ball { mid, rad }.is_positive_definite()
}
