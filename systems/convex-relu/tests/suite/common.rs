//! Shared data: archives of arrays, and the reference values.
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use thalweg_convex_relu::{Geometry, Loss, Patterns, Program, Samples};
use thalweg_testing::shared_data;

/// Arrays in C order by name.
pub struct Arrays(BTreeMap<String, (Vec<usize>, Vec<f64>)>);

impl Arrays {
    pub fn read(set: &str) -> Option<Self> {
        let file = shared_data(&format!("convex-relu/{set}.npz"))?;
        let mut archive = thalweg_data::Arrays::open(&file).unwrap();
        let names = archive.names().to_vec();
        let read = |name: String| {
            let array = archive.take(&name).unwrap();
            (name, (array.shape.clone(), array.into_f64().unwrap()))
        };
        Some(Self(names.into_iter().map(read).collect()))
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn vector(&self, name: &str) -> Vec<f64> {
        self.0[name].1.clone()
    }

    pub fn samples(&self, name: &str) -> Samples {
        let (shape, values) = &self.0[name];
        Samples::new(values.clone(), shape[1]).unwrap()
    }

    /// Rows of length `d` of a matrix that may lie the other way.
    pub fn rows(&self, name: &str, d: usize) -> Vec<Vec<f64>> {
        let (shape, values) = &self.0[name];
        if shape[1] == d {
            return values.chunks(d).map(<[f64]>::to_vec).collect();
        }
        (0..shape[1]).map(|j| (0..d).map(|i| values[i * shape[1] + j]).collect()).collect()
    }

    pub fn patterns(&self) -> Patterns {
        let (shape, values) = &self.0["D"];
        let (n, p) = (shape[0], shape[1]);
        let columns: Vec<Vec<u8>> =
            (0..p).map(|i| (0..n).map(|k| values[k * p + i] as u8).collect()).collect();
        Patterns::from_columns(n, columns.iter().map(Vec::as_slice)).unwrap()
    }
}

/// A training problem of the shared data.
pub struct Set {
    pub geometry: Arc<Geometry>,
    pub y: Vec<f64>,
    pub beta: f64,
    pub test: Option<(Samples, Vec<f64>)>,
    pub reference: Value,
}

pub const EXACT: [&str; 3] = ["exact2d_0", "exact2d_1", "exact3d_0"];
pub const SAMPLED: [&str; 2] = ["sampled_bc", "sampled_dg38"];
pub const ADVERSARIAL: [&str; 2] = ["adv_bc", "adv_dg38"];

pub fn reference() -> Option<Value> {
    let text = std::fs::read_to_string(shared_data("convex-relu/reference.json")?).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

impl Set {
    pub fn read(name: &str) -> Option<Self> {
        let (arrays, reference) = (Arrays::read(name)?, reference()?[name].clone());
        let whole = arrays.has("X");
        let (x, y) = if whole { ("X", "y") } else { ("Xtrain", "ytrain") };
        let geometry = Geometry::new(arrays.samples(x), arrays.patterns(), false).unwrap();
        let test = (!whole).then(|| (arrays.samples("Xtest"), arrays.vector("ytest")));
        let beta = reference["beta"].as_f64().unwrap();
        Some(Self { geometry: Arc::new(geometry), y: arrays.vector(y), beta, test, reference })
    }

    /// mse uses y, hinge and bce use its sign.
    pub fn program(&self, loss: Loss) -> Program {
        let sign = |y: &f64| if *y >= 0.0 { 1.0 } else { -1.0 };
        let y = if loss == Loss::Squared { self.y.clone() } else { self.y.iter().map(sign).collect() };
        Program::new(self.geometry.clone(), y, loss, self.beta).unwrap()
    }

    /// The reference optimum of the plain program.
    pub fn optimum(&self, loss: Loss) -> f64 {
        let values = self.reference.get("standard").unwrap_or(&self.reference);
        values[key(loss)]["convex_optimum"].as_f64().unwrap()
    }
}

/// Name of a loss in the reference.
pub fn key(loss: Loss) -> &'static str {
    if loss == Loss::Squared { "mse" } else { loss.name() }
}
