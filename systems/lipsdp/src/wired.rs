//! A network as neurons that read sums of affine maps of earlier ones, however it is wired.
//!
//! x₀ is the input, x_k = φ_k(Σ_j A_kj x_j + b_k) over earlier j, the output Σ_j A_j x_j + b: every graph of affine
//! layers, sums and activations is of this form. Maps keep their structure, so norms of convolutions need no matrix.

use faer::Mat;

use crate::ball::{plus, times};
use crate::baselines::constant;
use crate::certificate::{Basis, fingerprint_wired};
use crate::network::{Block, Network};
use crate::operator::{Number, Operator, Rows};
use crate::{Activation, Bound, Certificate, LipError, Norm};

/// Affine maps one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// What it reads: 0 the input, k the outputs of the k-th neurons, counted from 1.
    pub from: usize,
    /// In order; none is the identity.
    pub maps: Vec<Operator>,
}

/// Neurons of one activation.
#[derive(Clone, Debug, PartialEq)]
pub struct Neurons {
    /// What they read: the sum of these.
    pub terms: Vec<Term>,
    /// Activation φ.
    pub activation: Activation,
}

/// A network, checked when it is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Wired {
    neurons: Vec<Neurons>,
    output: Vec<Term>,
    /// Length of the input and of the outputs of each of the neurons.
    widths: Vec<usize>,
    outputs: usize,
}

/// Maps one after the other are multiplied for their norm where that takes no more products than this, and the result
/// has no more entries.
const CHEAP: f64 = 2e7;

impl Wired {
    /// Neurons in order, and the output.
    ///
    /// # Errors
    /// The first map that does not fit, an activation that does not.
    pub fn new(inputs: usize, neurons: Vec<Neurons>, output: Vec<Term>) -> Result<Self, LipError> {
        let mut widths = vec![inputs];
        for (k, Neurons { terms, activation }) in neurons.iter().enumerate() {
            let place = format!("neurons {}", k + 1);
            let width = checked(terms, &widths, &place)?;
            activation.validate(width, &place)?;
            widths.push(activation.outputs(width));
        }
        let outputs = checked(&output, &widths, "the output")?;
        Ok(Self { neurons, output, widths, outputs })
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.widths[0]
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of neurons behind an activation.
    pub fn neurons(&self) -> usize {
        self.hidden().into_iter().sum()
    }

    /// Numbers that the neurons of each activation read, in order.
    pub fn hidden(&self) -> Vec<usize> {
        self.neurons.iter().map(|n| self.reads(&n.terms)).collect()
    }

    /// The network followed by a linear map of its outputs.
    ///
    /// # Errors
    /// A map of another width.
    pub fn followed_by(&self, map: Rows) -> Result<Self, LipError> {
        let mut output = self.output.clone();
        for (i, term) in output.iter_mut().enumerate() {
            let map = if i == 0 { map.clone() } else { map.without_bias() };
            term.maps.push(Operator::Rows(map));
        }
        Self::new(self.inputs(), self.neurons.clone(), output)
    }

    /// What neurons read and their activation, in order, and what the output reads.
    pub(crate) fn layers(&self) -> impl Iterator<Item = (&[Term], Option<&Activation>)> {
        let neurons = self.neurons.iter().map(|n| (&n.terms[..], Some(&n.activation)));
        neurons.chain([(&self.output[..], None)])
    }

    /// Width of a sum of terms.
    fn reads(&self, terms: &[Term]) -> usize {
        terms.first().map_or(0, |t| t.maps.last().map_or(self.widths[t.from], Operator::outputs))
    }

    /// The product of norms: a map multiplies by its norm, an activation by its constant, and what is added adds up.
    /// A block h + G φ(W h) hence counts 1 + ‖G‖‖φ‖‖W‖. A proved upper bound.
    pub fn product(&self, norm: Norm) -> f64 {
        summed(&self.output, &self.reached(norm), |t| self.last(t, norm))
    }

    /// [`Wired::product`] of the differences of all pairs of outputs, symmetric, 0 on the diagonal.
    pub fn pair_products(&self, norm: Norm) -> Mat<f64> {
        let reached = self.reached(norm);
        // The last map of a term, and the norm of those before it.
        let split = |term: &Term| match (multiplied(&term.maps), term.maps.split_last()) {
            (Some(rows), _) => (rows, 1.0),
            (None, Some((last, rest))) => (last.rows(), chained(rest, norm)),
            (None, None) => (identity(self.outputs), 1.0),
        };
        let terms: Vec<_> = self.output.iter().map(|t| (split(t), reached[t.from])).collect();
        let mut all = Mat::zeros(self.outputs, self.outputs);
        for k in 0..self.outputs {
            for j in 0..k {
                let pair = pair(self.outputs, k, Some(j));
                // Of one output all norms are its absolute value.
                let of = |rows: &Rows| match norm {
                    Norm::L2 => rows.then(&pair).norm(norm),
                    _ => rows.then(&pair).row_sum(0),
                };
                let each =
                    terms.iter().map(|((rows, before), reached)| times(times(of(rows), *before), *reached));
                let bound = each.fold(0.0, plus);
                (all[(k, j)], all[(j, k)]) = (bound, bound);
            }
        }
        all
    }

    /// Bounds of the input's and of the neurons' outputs as functions of the input. Between neurons ℓ∞ stays ℓ∞,
    /// whatever the outputs are measured in.
    fn reached(&self, norm: Norm) -> Vec<f64> {
        let mut reached = vec![1.0];
        for Neurons { terms, activation } in &self.neurons {
            let before = summed(terms, &reached, |t| chained(&t.maps, norm));
            reached.push(times(before, constant(activation, norm)));
        }
        reached
    }

    /// Norm of a term of the output into the outputs' norm.
    fn last(&self, term: &Term, norm: Norm) -> f64 {
        if norm == Norm::L2 {
            return chained(&term.maps, norm);
        }
        let (rows, before) = match (multiplied(&term.maps), term.maps.split_last()) {
            (Some(rows), _) => (rows, 1.0),
            (None, Some((last, rest))) => (last.rows(), chained(rest, norm)),
            (None, None) => (identity(self.outputs), 1.0),
        };
        let sums = (0..rows.outputs()).map(|i| rows.row_sum(i));
        let own = match norm {
            Norm::LinfL2 => sums.map(|s| times(s, s)).fold(0.0, plus).sqrt().next_up(),
            _ => sums.fold(0.0, plus),
        };
        times(own, before)
    }

    /// [`Wired::product`] as a certificate.
    ///
    /// # Errors
    /// It is larger than any number.
    pub fn certify(&self, norm: Norm) -> Result<Certificate, LipError> {
        let clock = std::time::Instant::now();
        let bound = self.product(norm);
        if !bound.is_finite() {
            return Err(LipError::Unverified("the product of norms overflows".into()));
        }
        Ok(Certificate {
            bound,
            norm,
            method: Bound::Product.to_string(),
            verified: true,
            basis: Basis::Product,
            network: fingerprint_wired(self),
            margin: None,
            theta: None,
            solver_value: None,
            gap: None,
            iterations: None,
            seconds: clock.elapsed().as_secs_f64(),
            neurons: self.neurons(),
            lmi_size: None,
            multipliers: None,
            parts: Vec::new(),
        })
    }

    /// Evaluates the product of norms of a certificate again.
    ///
    /// # Errors
    /// A certificate of another network, or one that rests on something else or claims less.
    pub fn check(&self, certificate: &Certificate) -> Result<f64, LipError> {
        let this = fingerprint_wired(self);
        if certificate.network != this {
            return Err(LipError::OtherNetwork { of: certificate.network.clone(), this });
        }
        let proved = self.product(certificate.norm);
        if !certificate.bound.is_finite() || proved > certificate.bound * (1.0 + 1e-12) {
            let claimed = certificate.bound;
            return Err(LipError::Unverified(format!("it claims {claimed} but proves only {proved}")));
        }
        Ok(proved)
    }

    /// Entries of all matrices that [`Wired::written_out`] makes.
    pub fn area(&self) -> f64 {
        let width = |state: &[usize]| state.iter().map(|j| self.widths[*j]).sum::<usize>() as f64;
        let (mut state, mut area) = (vec![0], 0.0);
        for (k, Neurons { terms, .. }) in self.neurons.iter().enumerate() {
            let (reads, wide) = (self.reads(terms) as f64, self.widths[k + 1] as f64);
            let kept = self.kept(&state, k);
            if kept.is_empty() {
                area += width(&state) * reads;
            } else {
                let held = width(&kept) + wide;
                area += held * (width(&state) + reads + wide);
            }
            state = kept;
            state.push(k + 1);
        }
        area + width(&state) * self.outputs as f64
    }

    /// The same function as a chain of blocks. Values that are needed later travel beside the newest ones, behind
    /// which a residual block puts the next neurons' outputs into places that hold zeros: all 0 or 1, hence exact.
    ///
    /// # Errors
    /// None but defects.
    pub fn written_out(&self) -> Result<Network, LipError> {
        let mut blocks = Vec::new();
        // Whose outputs the state holds, in order.
        let mut state = vec![0];
        for (k, Neurons { terms, activation }) in self.neurons.iter().enumerate() {
            let kept = self.kept(&state, k);
            if kept.is_empty() {
                let map = self.over(&state, terms)?;
                if !map.is_identity() {
                    blocks.push(Block::Affine(map.affine()));
                }
                blocks.push(Block::Activation(activation.clone()));
                state = vec![k + 1];
                continue;
            }
            let wide = self.widths[k + 1];
            blocks.push(Block::Affine(self.room(&state, &kept, wide).affine()));
            state = kept;
            let held: usize = state.iter().map(|j| self.widths[*j]).sum();
            let inner = self.over(&state, terms)?;
            let zeros =
                Rows::new(wide, vec![Vec::new(); inner.outputs()], vec![Number::ZERO; inner.outputs()])?;
            let inner = Rows::beside(&[inner, zeros]).ok_or(LipError::NoStart)?;
            let back = |i: usize| i.checked_sub(held);
            let outer = Rows::selection(wide, &(0..held + wide).map(back).collect::<Vec<_>>());
            blocks.push(Block::Residual {
                inner: inner.affine(),
                activation: activation.clone(),
                outer: Some(outer.affine()),
            });
            state.push(k + 1);
        }
        let map = self.over(&state, &self.output)?;
        if blocks.is_empty() || !map.is_identity() {
            blocks.push(Block::Affine(map.affine()));
        }
        Network::new(self.inputs(), blocks)
    }

    /// What of a state stays beside the outputs of neurons `k`: nothing if nothing of it is read later, else that and
    /// what they read themselves.
    fn kept(&self, state: &[usize], k: usize) -> Vec<usize> {
        let behind = self.neurons[k + 1..].iter().map(|n| &n.terms).chain([&self.output]);
        let later: Vec<usize> = behind.flatten().map(|t| t.from).collect();
        if !state.iter().any(|j| later.contains(j)) {
            return Vec::new();
        }
        let own = |j: &usize| self.neurons[k].terms.iter().any(|t| t.from == *j);
        state.iter().copied().filter(|j| later.contains(j) || own(j)).collect()
    }

    /// The sum of terms as one map of a state.
    fn over(&self, state: &[usize], terms: &[Term]) -> Result<Rows, LipError> {
        let outputs = self.reads(terms);
        let part = |j: &usize| {
            let own: Vec<Rows> = terms.iter().filter(|t| t.from == *j).map(|t| self.written(t)).collect();
            match Rows::sum(&own.iter().collect::<Vec<_>>()) {
                Some(sum) => Ok(sum),
                None => Rows::new(self.widths[*j], vec![Vec::new(); outputs], vec![Number::ZERO; outputs]),
            }
        };
        let parts: Vec<Rows> = state.iter().map(part).collect::<Result<_, LipError>>()?;
        Rows::beside(&parts).ok_or(LipError::NoStart)
    }

    fn written(&self, term: &Term) -> Rows {
        let mut maps = term.maps.iter().map(Operator::rows);
        let first = maps.next().unwrap_or_else(|| identity(self.widths[term.from]));
        maps.fold(first, |all, next| all.then(&next))
    }

    /// The `kept` of a state, and zeros behind them.
    fn room(&self, state: &[usize], kept: &[usize], zeros: usize) -> Rows {
        let (mut from, mut at) = (Vec::new(), 0);
        for j in state {
            if kept.contains(j) {
                from.extend((at..at + self.widths[*j]).map(Some));
            }
            at += self.widths[*j];
        }
        from.extend(vec![None; zeros]);
        Rows::selection(at, &from)
    }
}

impl Wired {
    /// Output number `row` alone, or less output number `minus`.
    ///
    /// # Errors
    /// No such outputs, or one twice.
    pub fn difference(&self, row: usize, minus: Option<usize>) -> Result<Self, LipError> {
        let m = self.outputs();
        for row in [Some(row), minus].into_iter().flatten() {
            if row >= m {
                return Err(LipError::shape("the output", format!("row {row}"), format!("a row < {m}")));
            }
        }
        if minus == Some(row) {
            return Err(LipError::shape("the pair", format!("class {row} twice"), "two different classes"));
        }
        self.followed_by(pair(m, row, minus))
    }
}

/// Output `row` of m, less output `minus`.
fn pair(m: usize, row: usize, minus: Option<usize>) -> Rows {
    let weight: Vec<f64> = (0..m).map(|c| f64::from(c == row) - f64::from(Some(c) == minus)).collect();
    Rows::dense(m, &weight, vec![0.0])
}

fn identity(n: usize) -> Rows {
    Rows::diagonal(&vec![Number::ONE; n], vec![Number::ZERO; n])
}

/// What is added adds up.
fn summed(terms: &[Term], reached: &[f64], of: impl Fn(&Term) -> f64) -> f64 {
    terms.iter().map(|t| times(of(t), reached[t.from])).fold(0.0, plus)
}

/// Width of a sum of terms that fit one another.
fn checked(terms: &[Term], widths: &[usize], place: &str) -> Result<usize, LipError> {
    let mut sum = None;
    for term in terms {
        let Some(mut width) = widths.get(term.from).copied() else {
            return Err(LipError::shape(place, format!("neurons {}", term.from), "earlier neurons"));
        };
        for map in &term.maps {
            match map {
                Operator::Rows(rows) => rows.validate(place)?,
                Operator::Convolution(c) => c.validate(place)?,
            }
            if map.inputs() != width {
                let found = format!("a map of {} inputs", map.inputs());
                return Err(LipError::shape(place, found, format!("{width} inputs")));
            }
            width = map.outputs();
        }
        match sum {
            Some(other) if other != width => {
                return Err(LipError::shape(place, format!("terms of {width} and {other}"), "one width"));
            }
            _ => sum = Some(width),
        }
    }
    sum.ok_or_else(|| LipError::shape(place, "nothing", "at least one term"))
}

/// Norm of maps one after the other.
fn chained(maps: &[Operator], norm: Norm) -> f64 {
    let each = maps.iter().map(|m| m.norm(norm)).fold(1.0, times);
    match multiplied(maps) {
        Some(rows) if maps.len() > 1 || matches!(maps, [Operator::Convolution(_)]) => {
            each.min(rows.norm(norm))
        }
        _ => each,
    }
}

/// The product of the maps, if it is cheap.
fn multiplied(maps: &[Operator]) -> Option<Rows> {
    let (first, last) = (maps.first()?, maps.last()?);
    let mut entries = first.entries();
    let mut work = entries;
    for map in &maps[1..] {
        entries =
            (map.entries() * entries / map.inputs() as f64).min(first.inputs() as f64 * map.outputs() as f64);
        work += entries;
    }
    let area = first.inputs() as f64 * last.outputs() as f64;
    (work <= CHEAP && area <= CHEAP / 4.0).then(|| {
        let rest = maps[1..].iter().map(Operator::rows);
        rest.fold(first.rows(), |all, next| all.then(&next))
    })
}
