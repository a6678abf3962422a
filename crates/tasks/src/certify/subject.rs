//! What is certified: a network written out as matrices, its wiring, or both.

use thalweg_lipsdp::size::Size;
use thalweg_lipsdp::wired::Wired;
use thalweg_lipsdp::{Bound, Certificate, LipSdp, Mat, Network, Norm};

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
    /// Written out as matrices; absent where they are too large.
    net: Option<Network>,
    /// As it is wired, its convolutions as they are; absent for networks with implicit layers or Householder groups.
    wired: Option<Wired>,
}

impl Subject {
    /// A network that is known as matrices only.
    pub fn matrices(net: Network) -> Self {
        Self { net: Some(net), wired: None }
    }

    /// A network by its wiring, written out as well where it is small enough.
    pub fn wired(wired: Wired) -> Self {
        Self { net: network::written_out(&wired).ok(), wired: Some(wired) }
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.net.as_ref().map(Network::inputs).or(self.wired.as_ref().map(Wired::inputs)).unwrap_or(0)
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.net.as_ref().map(Network::outputs).or(self.wired.as_ref().map(Wired::outputs)).unwrap_or(0)
    }

    /// The network as matrices, which all bounds but the product of norms need.
    ///
    /// # Errors
    /// They are too large.
    pub fn written_out(&self) -> Result<&Network> {
        match (&self.net, &self.wired) {
            (Some(net), _) => Ok(net),
            (None, Some(wired)) => network::written_out(wired).map(|_| unreachable!("it was too large")),
            (None, None) => bail!("there is no network"),
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
        Ok(Self {
            net: self.net.as_ref().map(of).transpose()?,
            wired: self.wired.as_ref().map(|w| w.difference(row, minus)).transpose()?,
        })
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
        let Some(net) = &self.net else {
            if method.bound == Bound::Auto {
                host.note(
                    "the layers are too large to be written out as matrices: bound by the product of norms",
                );
                return Ok(LipSdp { bound: Bound::Product, ..method });
            }
            return Ok(method);
        };
        if matches!(method.bound, Bound::Product | Bound::Eclipse | Bound::Patterns | Bound::Split(_)) {
            return Ok(method);
        }
        // Reductions of a large network take long themselves: told by its neurons alone, half of which remain.
        let hopeless = Size { side: net.neurons() / 2, terms: net.neurons() / 2, multipliers: 1 };
        let program = !matches!(method.bound, Bound::Auto | Bound::FirstOrder);
        let size = if program || hopeless.seconds() < QUICK { method.size(net)? } else { hopeless };
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
        let slow = evaluation(net);
        if method.bound == Bound::Auto && slow > SLOW && self.wired.is_some() {
            host.note(format!(
                "{} neurons: a program would take about {} or more, an evaluation of the first-order bound {}; bound by \
                 the product of norms",
                net.neurons(),
                duration(size.seconds()),
                duration(slow)
            ));
            return Ok(LipSdp { bound: Bound::Product, ..method });
        }
        host.note(format!("the first-order bound: about {} an evaluation", duration(slow)));
        Ok(method)
    }

    /// Bounds of the differences of all pairs of outputs by norms alone; none where the wiring is not known.
    pub fn pair_products(&self, norm: Norm) -> Option<Mat<f64>> {
        self.wired.as_ref().map(|wired| wired.pair_products(norm))
    }
}

/// Seconds of one evaluation of the first-order bound, about, at 10 Gflop/s: some products and solutions of each
/// layer's width.
fn evaluation(net: &Network) -> f64 {
    let mut width = net.inputs() as f64;
    let mut flops = 0.0;
    for block in net.blocks() {
        let next = match block {
            thalweg_lipsdp::Block::Affine(a) => a.weight.nrows() as f64,
            _ => width,
        };
        flops += 20.0 * width.max(next).powi(3);
        width = next;
    }
    flops / 1e10
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
