//! Networks of two layers.

use serde::{Deserialize, Serialize};

use crate::certificate::Solution;
use crate::samples::{dot, norm};
use crate::{ConvexError, Loss, Samples};

/// One neuron x ↦ (xᵀu)₊ α of one output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neuron {
    /// u, `[d]`.
    pub weights: Vec<f64>,
    /// α.
    pub scale: f64,
    /// Which output it adds to.
    pub output: usize,
}

/// A two-layer network f(x) = Σ_j (xᵀu_j)₊ α_j, with a linear part if there is one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// The hidden layer.
    pub neurons: Vec<Neuron>,
    /// Linear part, `[d, outputs]` column-major.
    pub linear_part: Option<Vec<f64>>,
    /// Number of outputs.
    pub outputs: usize,
}

impl Network {
    /// The network of a feasible point: v ≠ 0 becomes (v/√‖v‖, √‖v‖) and w ≠ 0 (w/√‖w‖, −√‖w‖), so
    /// that β‖v‖ = (β/2)(‖u‖² + α²).
    pub fn recover(solution: &Solution, d: usize, outputs: usize) -> Self {
        let columns = |x: &[f64], sign: f64| -> Vec<(Vec<f64>, f64, usize)> {
            let column = |(j, v): (usize, &[f64])| (v.to_vec(), sign, j % outputs);
            x.chunks(d).enumerate().map(column).collect()
        };
        let mut all = columns(&solution.v, 1.0);
        all.extend(columns(&solution.w, -1.0));
        all.retain(|(v, ..)| norm(v) > 0.0);
        let neuron = |(v, sign, output): (Vec<f64>, f64, usize)| Neuron::balanced(&v, sign, output);
        Self {
            neurons: all.into_iter().map(neuron).collect(),
            linear_part: solution.linear_part.clone(),
            outputs,
        }
    }

    /// Features of an input; none of a network that is 0 and takes any.
    pub fn inputs(&self) -> Option<usize> {
        let linear = self.linear_part.as_ref().map(|c| c.len() / self.outputs.max(1));
        self.neurons.first().map(|n| n.weights.len()).or(linear)
    }

    /// Refuses inputs of another size.
    pub(crate) fn check(&self, features: usize) -> Result<(), ConvexError> {
        ConvexError::check("features of an input", features, self.inputs().unwrap_or(features))
    }

    /// f(x), `[outputs]`.
    ///
    /// # Errors
    /// An input of another size.
    pub fn predict(&self, x: &[f64]) -> Result<Vec<f64>, ConvexError> {
        self.check(x.len())?;
        Ok(self.outputs_at(x))
    }

    /// f(x) of an input of the right size.
    pub(crate) fn outputs_at(&self, x: &[f64]) -> Vec<f64> {
        let mut f = match &self.linear_part {
            Some(c) => c.chunks(x.len()).map(|c| dot(c, x)).collect(),
            None => vec![0.0; self.outputs],
        };
        for neuron in &self.neurons {
            f[neuron.output] += dot(&neuron.weights, x).max(0.0) * neuron.scale;
        }
        f
    }

    /// Outputs on all samples, `[n, outputs]` column-major.
    ///
    /// # Errors
    /// Samples of another size.
    pub fn outputs_on(&self, samples: &Samples) -> Result<Vec<f64>, ConvexError> {
        self.check(samples.d())?;
        let mut all = vec![0.0; samples.n() * self.outputs];
        for (k, x) in samples.rows().enumerate() {
            self.outputs_at(x).into_iter().enumerate().for_each(|(o, f)| all[o * samples.n() + k] = f);
        }
        Ok(all)
    }

    /// The network of one of the outputs.
    pub fn of_output(&self, output: usize) -> Self {
        let own = self.neurons.iter().filter(|n| n.output == output).cloned();
        let linear = |c: &Vec<f64>| {
            let d = c.len() / self.outputs;
            c[output * d..][..d].to_vec()
        };
        Self {
            neurons: own.map(|n| Neuron { output: 0, ..n }).collect(),
            linear_part: self.linear_part.as_ref().map(linear),
            outputs: 1,
        }
    }

    /// (β/2) Σ (‖u_j‖² + α_j²), the weight decay.
    pub fn decay(&self, beta: f64) -> f64 {
        let square = |n: &Neuron| dot(&n.weights, &n.weights) + n.scale * n.scale;
        0.5 * beta * self.neurons.iter().map(square).sum::<f64>()
    }

    /// The non-convex objective, scored with true ReLUs; targets `[n, outputs]` column-major.
    ///
    /// # Errors
    /// Samples of another size, targets of another number.
    pub fn objective(
        &self,
        samples: &Samples,
        targets: &[f64],
        loss: Loss,
        beta: f64,
    ) -> Result<f64, ConvexError> {
        let outputs = self.outputs_on(samples)?;
        ConvexError::check("targets", targets.len(), outputs.len())?;
        Ok(loss.value(&outputs, targets) + self.decay(beta))
    }

    /// Share of the samples whose class is right: by sign for one output (±1), by the largest of
    /// several (targets +1 for the class).
    ///
    /// # Errors
    /// Samples of another size, targets of another number.
    pub fn accuracy(&self, samples: &Samples, targets: &[f64]) -> Result<f64, ConvexError> {
        let n = samples.n();
        ConvexError::check("targets", targets.len(), n * self.outputs)?;
        let f = self.outputs_on(samples)?;
        let right = |k: &usize| match self.outputs {
            1 => (f[*k] >= 0.0) == (targets[*k] > 0.0),
            several => largest(several, |o| f[o * n + k]) == largest(several, |o| targets[o * n + k]),
        };
        Ok((0..n).filter(right).count() as f64 / n as f64)
    }

    /// Networks of one output each as one of several.
    pub fn side_by_side(networks: &[Self]) -> Self {
        let mut all = Self { outputs: networks.len(), ..Self::default() };
        for (output, network) in networks.iter().enumerate() {
            all.neurons.extend(network.neurons.iter().cloned().map(|n| Neuron { output, ..n }));
            if let Some(c) = &network.linear_part {
                all.linear_part.get_or_insert_default().extend(c);
            }
        }
        all
    }

    /// As a network without linear part: c·x = (cᵀx)₊ − (−cᵀx)₊ costs two neurons an output.
    pub fn without_linear_part(&self) -> Self {
        let mut neurons = self.neurons.clone();
        if let Some(columns) = &self.linear_part {
            let d = columns.len() / self.outputs;
            for (output, c) in columns.chunks(d).enumerate().filter(|(_, c)| norm(c) > 0.0) {
                let negative: Vec<f64> = c.iter().map(|c| -c).collect();
                neurons.push(Neuron::balanced(c, 1.0, output));
                neurons.push(Neuron::balanced(&negative, -1.0, output));
            }
        }
        Self { neurons, linear_part: None, outputs: self.outputs }
    }
}

impl Neuron {
    /// x ↦ ±(xᵀv)₊ with weights of equal size in both layers.
    pub fn balanced(v: &[f64], sign: f64, output: usize) -> Self {
        let root = norm(v).sqrt();
        Self { weights: v.iter().map(|v| v / root).collect(), scale: sign * root, output }
    }
}

/// Index of the largest value, the first of equals.
pub(crate) fn largest(count: usize, value: impl Fn(usize) -> f64) -> usize {
    (0..count).fold(0, |best, i| if value(i) > value(best) { i } else { best })
}
