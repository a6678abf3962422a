//! What is certified: a network written out as matrices, its wiring, or both.

use std::sync::OnceLock;

use thalweg_lipsdp::size::Size;
use thalweg_lipsdp::wired::Wired;
use thalweg_lipsdp::{Affine, Block, Bound, Certificate, LipSdp, Mat, Network, Norm};

use super::network;
use crate::error::bail;
use crate::{Host, Result};

/// Above this many seconds for one evaluation, about, `auto` leaves the first-order bound for the product of norms.
const SLOW: f64 = 1.0;

/// Programs of at most so many seconds, about, are what `auto` takes.
const QUICK: f64 = 60.0;
/// Estimates below so many seconds are not said.
const WORTH_SAYING: f64 = 2.0;

/// A network, in the forms in which bounds take it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Written out as matrices, once that is asked for; none where they are too large.
    net: OnceLock<Option<Network>>,
    /// As it is wired, its convolutions as they are; absent for networks that are known as matrices only.
    wired: Option<Wired>,
}

impl Subject {
    /// A network that is known as matrices only.
    pub fn matrices(net: Network) -> Self {
        Self { net: OnceLock::from(Some(net)), wired: None }
    }

    /// A network by its wiring.
    pub fn wired(wired: Wired) -> Self {
        Self { net: OnceLock::new(), wired: Some(wired) }
    }

    fn net(&self) -> Option<&Network> {
        let make = || self.wired.as_ref().and_then(|wired| network::written_out(wired).ok());
        self.net.get_or_init(make).as_ref()
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        match &self.wired {
            Some(wired) => wired.inputs(),
            None => self.net().map_or(0, Network::inputs),
        }
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        match &self.wired {
            Some(wired) => wired.outputs(),
            None => self.net().map_or(0, Network::outputs),
        }
    }

    /// The network as matrices, which all bounds but the product of norms need.
    ///
    /// # Errors
    /// They are too large.
    pub fn written_out(&self) -> Result<&Network> {
        if let Some(net) = self.net() {
            return Ok(net);
        }
        if let Some(wired) = &self.wired {
            network::small_enough(wired)?;
        }
        bail!("the network cannot be written out as matrices")
    }

    /// Entries of the network's matrices, about.
    pub fn area(&self) -> f64 {
        match (&self.wired, self.net.get()) {
            (Some(wired), _) => wired.area(),
            (None, Some(Some(net))) => entries(net),
            _ => 0.0,
        }
    }

    /// Output `row` alone, or less output `minus`.
    ///
    /// # Errors
    /// No such outputs.
    pub fn difference(&self, row: usize, minus: Option<usize>) -> Result<Self> {
        let of = |net: &Network| match minus {
            Some(minus) => net.pair(row, minus),
            None => net.row(row),
        };
        match &self.wired {
            Some(wired) => Ok(Self::wired(wired.difference(row, minus)?)),
            None => Ok(Self::matrices(of(self.written_out()?)?)),
        }
    }

    /// Proves a bound; the product of norms without any matrix, where the wiring is known.
    ///
    /// # Errors
    /// As [`LipSdp::certify`]; matrices that are too large.
    pub fn certify(&self, method: &LipSdp) -> Result<Certificate> {
        method.validate()?;
        match (method.bound, &self.wired) {
            (Bound::Product, Some(wired)) => Ok(wired.certify(method.norm)?),
            (Bound::Product, None) => Ok(method.certify(self.written_out()?)?),
            _ => Ok(method.certify(self.written_out()?)?),
        }
    }

    /// Repeats the proof of a certificate.
    ///
    /// # Errors
    /// It proves less than it claims.
    pub fn check(&self, claimed: &Certificate) -> Result<f64> {
        match (claimed.method.parse()?, &self.wired) {
            (Bound::Product, Some(wired)) => Ok(wired.check(claimed)?),
            _ => Ok(LipSdp::check(claimed, self.written_out()?)?),
        }
    }

    /// What `auto` stands for: the product of norms where the others would take long or more memory than there is,
    /// with a note of the estimate.
    ///
    /// # Errors
    /// What [`LipSdp::size`] fails with.
    pub fn resolved(&self, method: LipSdp, host: &Host) -> Result<LipSdp> {
        if matches!(method.bound, Bound::Product | Bound::Eclipse | Bound::Patterns | Bound::Split(_)) {
            return Ok(method);
        }
        let by_norms = LipSdp { bound: Bound::Product, ..method.clone() };
        if method.bound == Bound::Auto
            && self.wired.as_ref().is_some_and(|w| network::small_enough(w).is_err())
        {
            host.note(
                "the layers are too large to be written out as matrices: bound by the product of norms",
            );
            return Ok(by_norms);
        }
        let widths = self.widths();
        let neurons: usize = widths[1..].iter().sum();
        // Reductions of a large network take long themselves: told by its neurons alone, half of which remain.
        let hopeless = Size { side: neurons / 2, terms: neurons / 2, multipliers: 1 };
        let program = !matches!(method.bound, Bound::Auto | Bound::FirstOrder);
        let size =
            if program || hopeless.seconds() < QUICK { method.size(self.written_out()?)? } else { hopeless };
        let quick = size.seconds() < QUICK && size.bytes() < method.max_memory as f64;
        if quick || program {
            if size.seconds() > WORTH_SAYING {
                host.note(format!(
                    "a program of side {} with {} multipliers: about {} and {} of memory",
                    size.side,
                    size.multipliers,
                    duration(size.seconds()),
                    memory(size.bytes())
                ));
            }
            return Ok(method);
        }
        let slow = evaluation(&widths);
        if method.bound == Bound::Auto && slow > SLOW && self.wired.is_some() {
            host.note(format!(
                "{} neurons: a program would take about {} or more, an evaluation of the first-order bound {}; bound by \
                 the product of norms",
                neurons,
                duration(size.seconds()),
                duration(slow)
            ));
            return Ok(by_norms);
        }
        host.note(format!("the first-order bound: about {} an evaluation", duration(slow)));
        Ok(method)
    }

    /// Bounds of the differences of all pairs of outputs by norms alone; none where the wiring is not known.
    pub fn pair_products(&self, norm: Norm) -> Option<Mat<f64>> {
        self.wired.as_ref().map(|wired| wired.pair_products(norm))
    }
}

impl Subject {
    /// Widths of the input and of what each activation reads.
    fn widths(&self) -> Vec<usize> {
        let hidden = match &self.wired {
            Some(wired) => wired.hidden(),
            None => self.net().map_or_else(Vec::new, hidden),
        };
        [vec![self.inputs()], hidden].concat()
    }
}

/// Numbers that each activation reads.
fn hidden(net: &Network) -> Vec<usize> {
    let mut width = net.inputs();
    let mut all = Vec::new();
    for block in net.blocks() {
        match block {
            Block::Affine(a) => width = a.weight.nrows(),
            Block::Activation(_) => all.push(width),
            Block::Residual { inner, .. } => all.push(inner.weight.nrows()),
            Block::Equilibrium { input, .. } => {
                width = input.weight.nrows();
                all.push(width);
            }
        }
    }
    all
}

/// Entries of all matrices.
fn entries(net: &Network) -> f64 {
    let of = |a: &Affine| (a.weight.nrows() * a.weight.ncols()) as f64;
    let block = |block: &Block| match block {
        Block::Affine(a) => of(a),
        Block::Residual { inner, outer, .. } => of(inner) + outer.as_ref().map_or(0.0, of),
        _ => 0.0,
    };
    net.blocks().iter().map(block).sum()
}

/// Seconds of one evaluation of the first-order bound, about, at 10 Gflop/s: some products and solutions of each
/// layer's width.
fn evaluation(widths: &[usize]) -> f64 {
    let pairs = widths.windows(2).map(|w| w[0].max(w[1]) as f64);
    pairs.map(|n| 20.0 * n.powi(3)).sum::<f64>() / 1e10
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => "a second".into(),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.0} h", s / 3600.0),
    }
}

fn memory(bytes: f64) -> String {
    match bytes / 1048576.0 {
        m if m < 1024.0 => format!("{m:.0} MiB"),
        m => format!("{:.1} GiB", m / 1024.0),
    }
}
