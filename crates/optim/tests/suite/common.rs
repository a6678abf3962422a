//! A problem with the blocks of a small network and a gradient that depends on the step.
use thalweg_core::{Kind, Layout, Real};
use thalweg_testing::Bowl;

/// Curvatures 2 + cos i.
pub fn blocks<T: Real>(noise: f64) -> Bowl<T> {
    let mut layout = Layout::default();
    layout.push("fc.weight", &[6, 4], Kind::Linear);
    layout.push("fc.bias", &[6], Kind::Bias);
    layout.push("conv.weight", &[4, 2, 3, 3], Kind::Conv);
    layout.push("fixed.weight", &[3, 3], Kind::Linear);
    layout.push("table", &[20_000, 2], Kind::Embedding);
    layout.push("head.weight", &[2, 5], Kind::Linear);
    layout.set_frozen("fixed.weight", true);
    let h = (0..layout.len()).map(|i| 2.0 + (i as f64).cos()).collect();
    let start: Vec<f64> = (0..layout.len()).map(|i| (i as f64 * 0.7).sin() + 0.1).collect();
    Bowl { noise, ..Bowl::new(layout, h, &start) }
}
