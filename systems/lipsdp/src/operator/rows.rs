use faer::Mat;
use rayon::prelude::*;

use crate::ball::{Ball, U, gamma, plus, sound_norm, times};
use crate::network::{Affine, Radii};
use crate::{LipError, Norm};

/// A number that is known up to a radius.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Number {
    /// Midpoint.
    pub value: f64,
    /// The number that is meant differs from `value` by at most this.
    pub radius: f64,
}

impl Number {
    /// 0.
    pub const ZERO: Self = Self { value: 0.0, radius: 0.0 };
    /// 1.
    pub const ONE: Self = Self { value: 1.0, radius: 0.0 };

    /// A number that is meant as it stands.
    pub fn exact(value: f64) -> Self {
        Self { value, radius: 0.0 }
    }

    /// A number that at most `k` roundings of exact numbers, none of them a sum with cancellation, have led to.
    pub fn rounded(value: f64, k: usize) -> Self {
        Self { value, radius: 1.01 * gamma(k) * value.abs() + f64::MIN_POSITIVE }
    }

    /// Σ a·b.
    pub fn products(terms: &[(Self, Self)]) -> Self {
        let mut sum = Sum::default();
        terms.iter().for_each(|(a, b)| sum.add(*a, *b));
        sum.number()
    }

    /// The largest size that the number may have.
    pub fn size(self) -> f64 {
        plus(self.value.abs(), self.radius)
    }
}

impl std::ops::Mul for Number {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        Self::products(&[(self, other)])
    }
}

/// A sum of products in twice the working precision (Ogita, Rump and Oishi 2005, Dot2), so that cancellation costs
/// nothing until it exceeds 2¹⁰⁰; with what the radii add.
#[derive(Clone, Copy, Default)]
struct Sum {
    high: f64,
    low: f64,
    /// Σ |a||b|.
    size: f64,
    /// What the radii of the factors add.
    error: f64,
    terms: usize,
    rounded: bool,
}

impl Sum {
    fn add(&mut self, a: Number, b: Number) {
        if a == Number::ZERO || b == Number::ZERO {
            return;
        }
        let product = a.value * b.value;
        let rest = a.value.mul_add(b.value, -product);
        let sum = self.high + product;
        let part = sum - self.high;
        let lost = (self.high - (sum - part)) + (product - part);
        self.high = sum;
        self.low += rest + lost;
        self.size += product.abs();
        // Below, the remainder of a product may itself be rounded.
        self.rounded |= rest != 0.0 || lost != 0.0 || product.abs() < f64::MIN_POSITIVE / U;
        if a.radius != 0.0 || b.radius != 0.0 {
            self.error += a.value.abs() * b.radius + a.radius * (b.value.abs() + b.radius);
            self.rounded = true;
        }
        self.terms += 1;
    }

    /// |computed − exact| ≤ u |exact| + γ² Σ|a||b|, and the radii, whose own sums are rounded too. What was never
    /// rounded, as products of single precision are not, is exact.
    fn number(self) -> Number {
        let value = self.high + self.low;
        if !self.rounded {
            return Number::exact(value);
        }
        let n = self.terms + 2;
        let own = 2.0 * U * value.abs() + 4.0 * gamma(2 * n) * gamma(2 * n) * self.size;
        let radius = (own + self.error) * (1.0 + 4.0 * gamma(4 * n)) + 4.0 * n as f64 * f64::MIN_POSITIVE;
        Number { value, radius }
    }
}

/// An entry of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// Column.
    pub column: usize,
    /// What stands there.
    pub number: Number,
}

/// An affine map by its rows; what no entry names is zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    inputs: usize,
    rows: Vec<Vec<Entry>>,
    bias: Vec<Number>,
}

/// Larger matrices that are mostly zero are bounded by their row and column sums alone.
const MOST_FOR_GRAM: usize = 400;

impl Rows {
    /// A map of `inputs` numbers.
    ///
    /// # Errors
    /// A column outside the inputs, a number that is not finite, another number of biases than of rows.
    pub fn new(inputs: usize, rows: Vec<Vec<Entry>>, bias: Vec<Number>) -> Result<Self, LipError> {
        let map = Self { inputs, rows, bias };
        map.validate("a map")?;
        Ok(map)
    }

    /// Names what does not fit together, as [`Rows::new`] does.
    pub(crate) fn validate(&self, place: &str) -> Result<(), LipError> {
        let Self { inputs, rows, bias } = self;
        if bias.len() != rows.len() || rows.is_empty() || *inputs == 0 {
            let found = format!("{} rows, {inputs} columns and a bias of {}", rows.len(), bias.len());
            return Err(LipError::shape(place, found, "as many biases as rows, at least one"));
        }
        for (row, entries) in rows.iter().enumerate() {
            let own = Entry { column: 0, number: bias[row] };
            for Entry { column, number } in entries.iter().chain([&own]) {
                let value = number.value + number.radius;
                if !value.is_finite() || number.radius < 0.0 {
                    let tensor = place.to_owned();
                    return Err(LipError::NotFinite { tensor, row, column: *column, value });
                }
                if column >= inputs {
                    return Err(LipError::shape(place, format!("column {column}"), format!("< {inputs}")));
                }
            }
        }
        Ok(())
    }

    /// Row i is entry i of these alone: a diagonal matrix.
    pub fn diagonal(diagonal: &[Number], bias: Vec<Number>) -> Self {
        let row = |(column, number): (usize, &Number)| vec![Entry { column, number: *number }];
        Self { inputs: diagonal.len(), rows: diagonal.iter().enumerate().map(row).collect(), bias }
    }

    /// Output i is input `from[i]`, 0 where there is none.
    pub fn selection(inputs: usize, from: &[Option<usize>]) -> Self {
        let row = |from: &Option<usize>| {
            from.iter().map(|c| Entry { column: *c, number: Number::ONE }).collect::<Vec<_>>()
        };
        Self { inputs, rows: from.iter().map(row).collect(), bias: vec![Number::ZERO; from.len()] }
    }

    /// A matrix `[outputs, inputs]`, row-major, and a bias, meant as they stand.
    pub fn dense(inputs: usize, weight: &[f64], bias: Vec<f64>) -> Self {
        let entry = |(column, value): (usize, &f64)| {
            (*value != 0.0).then_some(Entry { column, number: Number::exact(*value) })
        };
        let row = |row: &[f64]| row.iter().enumerate().filter_map(entry).collect();
        Self {
            inputs,
            rows: weight.chunks(inputs).map(row).collect(),
            bias: bias.into_iter().map(Number::exact).collect(),
        }
    }

    /// Rows that may name a column twice, whose entries are then added.
    pub(super) fn gathered(inputs: usize, rows: Vec<Vec<Entry>>, bias: Vec<Number>) -> Self {
        let twice = |row: &Vec<Entry>| {
            let mut columns: Vec<usize> = row.iter().map(|e| e.column).collect();
            columns.sort_unstable();
            columns.windows(2).any(|c| c[0] == c[1])
        };
        let plain = Self { inputs, rows, bias };
        if !plain.rows.iter().any(twice) {
            return plain;
        }
        Self::sum(&[&plain]).unwrap_or(plain)
    }

    pub(super) fn into_bias(self) -> Vec<Number> {
        self.bias
    }

    /// Numbers that it reads.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers that it gives.
    pub fn outputs(&self) -> usize {
        self.rows.len()
    }

    /// Entries that are named.
    pub fn entries(&self) -> usize {
        self.rows.iter().map(Vec::len).sum()
    }

    /// The entries and the bias of each row.
    pub fn iter(&self) -> impl Iterator<Item = (&[Entry], &Number)> {
        self.rows.iter().map(Vec::as_slice).zip(&self.bias)
    }

    /// Whether it gives what it reads.
    pub fn is_identity(&self) -> bool {
        let one = |(i, row): (usize, &Vec<Entry>)| matches!(row[..], [Entry { column, number: Number::ONE }] if column == i);
        self.inputs == self.outputs()
            && self.rows.iter().enumerate().all(one)
            && self.bias.iter().all(|b| *b == Number::ZERO)
    }

    /// The linear part alone.
    pub fn without_bias(&self) -> Self {
        Self { bias: vec![Number::ZERO; self.bias.len()], ..self.clone() }
    }

    /// This map, then `next`.
    pub fn then(&self, next: &Self) -> Self {
        let terms =
            |i: usize| next.rows[i].iter().map(|e| (e.number, &self.rows[e.column][..], self.bias[e.column]));
        Self::sums(self.inputs, next.rows.len(), terms, |i| next.bias[i])
    }

    /// The sum of maps of the same inputs and outputs.
    pub fn sum(maps: &[&Self]) -> Option<Self> {
        let first = maps.first()?;
        let terms = |i: usize| maps.iter().map(move |m| (Number::ONE, &m.rows[i][..], m.bias[i]));
        Some(Self::sums(first.inputs, first.rows.len(), terms, |_| Number::ZERO))
    }

    /// Maps of different inputs, whose results are added, as one of all inputs behind one another.
    pub fn beside(maps: &[Self]) -> Option<Self> {
        let (mut inputs, mut shifted) = (0, Vec::new());
        let total = maps.iter().map(|m| m.inputs).sum();
        for map in maps {
            let shift = |e: &Entry| Entry { column: e.column + inputs, ..*e };
            let rows = map.rows.iter().map(|row| row.iter().map(shift).collect()).collect();
            shifted.push(Self { inputs: total, rows, bias: map.bias.clone() });
            inputs += map.inputs;
        }
        Self::sum(&shifted.iter().collect::<Vec<_>>())
    }

    /// Row i is the sum of `terms(i)`, each a factor times a row and its bias.
    fn sums<'a, I: Iterator<Item = (Number, &'a [Entry], Number)>>(
        inputs: usize,
        outputs: usize,
        terms: impl Fn(usize) -> I + Sync,
        bias: impl Fn(usize) -> Number + Sync,
    ) -> Self {
        let empty = || (vec![Sum::default(); inputs], vec![false; inputs], Vec::new());
        let row = |(sums, there, touched): &mut (Vec<Sum>, Vec<bool>, Vec<usize>), i: usize| {
            let mut own = Sum::default();
            own.add(Number::ONE, bias(i));
            for (factor, row, bias) in terms(i) {
                own.add(factor, bias);
                for e in row {
                    if !std::mem::replace(&mut there[e.column], true) {
                        touched.push(e.column);
                    }
                    sums[e.column].add(factor, e.number);
                }
            }
            touched.sort_unstable();
            let mut entries = Vec::with_capacity(touched.len());
            for column in touched.drain(..) {
                there[column] = false;
                let number = std::mem::take(&mut sums[column]).number();
                if number != Number::ZERO {
                    entries.push(Entry { column, number });
                }
            }
            (entries, own.number())
        };
        let (rows, bias) = (0..outputs).into_par_iter().map_init(empty, row).unzip();
        Self { inputs, rows, bias }
    }

    fn ball(&self) -> Ball {
        let mut ball = Ball::zeros(self.rows.len(), self.inputs);
        for (i, row) in self.rows.iter().enumerate() {
            for Entry { column, number } in row {
                ball.mid[(i, *column)] = number.value;
                ball.rad[(i, *column)] = number.radius;
            }
        }
        ball
    }

    /// As a matrix, with the radii where there are any.
    pub fn affine(&self) -> Affine {
        let Ball { mid, rad } = self.ball();
        let numbers = |of: fn(&Number) -> f64| self.bias.iter().map(of).collect::<Vec<_>>();
        let (bias, radii) = (numbers(|b| b.value), numbers(|b| b.radius));
        let exact =
            radii.iter().all(|r| *r == 0.0) && self.rows.iter().flatten().all(|e| e.number.radius == 0.0);
        let radii = (!exact).then(|| Box::new(Radii { weight: rad, bias: radii }));
        Affine { weight: mid, bias, radii }
    }

    /// The sizes of the entries of a row, added and rounded up.
    pub(crate) fn row_sum(&self, i: usize) -> f64 {
        self.rows[i].iter().map(|e| e.number.size()).fold(0.0, plus)
    }

    /// A proved bound of the norm, ℓ2 to ℓ2 or else ℓ∞ to ℓ∞.
    pub(crate) fn norm(&self, norm: Norm) -> f64 {
        if norm != Norm::L2 {
            return self.largest_row();
        }
        if let Some(exact) = self.of_disjoint() {
            return exact;
        }
        let (narrow, wide) = (self.rows.len().min(self.inputs), self.rows.len().max(self.inputs));
        let dense = 2 * self.entries() > narrow * wide;
        match dense || narrow <= MOST_FOR_GRAM {
            true => sound_norm(&self.ball()),
            false => self.by_sums(),
        }
    }

    /// ‖W‖₂ of rows that share no column, or columns that share no row (pooling, selections, diagonals): the longest.
    fn of_disjoint(&self) -> Option<f64> {
        let mut columns = vec![0.0; self.inputs];
        let mut shared = false;
        for e in self.rows.iter().flatten() {
            shared |= columns[e.column] != 0.0;
            columns[e.column] = plus(columns[e.column], times(e.number.size(), e.number.size()));
        }
        let root = |squares: f64| squares.sqrt().next_up();
        let row =
            |row: &Vec<Entry>| row.iter().map(|e| times(e.number.size(), e.number.size())).fold(0.0, plus);
        if !shared {
            return Some(root(self.rows.iter().map(row).fold(0.0, f64::max)));
        }
        let single = self.rows.iter().all(|row| row.len() <= 1);
        single.then(|| root(columns.into_iter().fold(0.0, f64::max)))
    }

    fn largest_row(&self) -> f64 {
        (0..self.rows.len()).map(|i| self.row_sum(i)).fold(0.0, f64::max)
    }

    /// ‖W‖₂² ≤ ‖W‖₁ ‖W‖_∞.
    pub(crate) fn by_sums(&self) -> f64 {
        let mut columns = vec![0.0; self.inputs];
        for e in self.rows.iter().flatten() {
            columns[e.column] = plus(columns[e.column], e.number.size());
        }
        times(self.largest_row(), columns.into_iter().fold(0.0, f64::max)).sqrt().next_up()
    }
}

impl From<Mat<f64>> for Rows {
    /// A linear map, meant as it stands.
    fn from(weight: Mat<f64>) -> Self {
        let (rows, inputs) = (weight.nrows(), weight.ncols());
        let all: Vec<f64> = (0..rows * inputs).map(|k| weight[(k / inputs, k % inputs)]).collect();
        Self::dense(inputs, &all, vec![0.0; rows])
    }
}
