//! Random directions for Hutchinson's estimate `diag H ≈ z ⊙ Hz`.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::{Layout, Real, Seed, normal, rademacher};

/// Distribution of the probes. Both have mean 0 and covariance 1, hence `E[z ⊙ Hz] = diag H`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// ±1 with probability ½ each; variance `Σ_{j≠i} H_ij²`, the least of all.
    #[default]
    Rademacher,
    /// Standard normal; variance `Σ_j H_ij² + H_ii²`.
    Gaussian,
}

impl Probe {
    /// Fills `z`, of the layout's length, with probe number `index` of `seed`: one stream per
    /// probe and block, so that the same numbers come out on any number of threads. Frozen blocks
    /// get zeros.
    pub fn draw<T: Real>(self, layout: &Layout, seed: Seed, index: u64, z: &mut [T]) {
        let mut rest = z;
        let mut pieces = Vec::with_capacity(layout.blocks().len());
        for (number, block) in layout.blocks().iter().enumerate() {
            let (z, after) = rest.split_at_mut(block.len());
            rest = after;
            pieces.push((number, block.frozen, z));
        }
        let fill = |(number, frozen, z): (usize, bool, &mut [T])| {
            let mut rng = seed.stream(&format!("hutchinson/{number}"), index);
            match self {
                _ if frozen => z.fill(T::ZERO),
                Self::Rademacher => rademacher(&mut rng, z),
                Self::Gaussian => normal(&mut rng, z),
            }
        };
        if layout.len() < crate::kernel::SERIAL {
            pieces.into_iter().for_each(fill);
        } else {
            pieces.into_par_iter().for_each(fill);
        }
    }
}

/// Overwrites `products[0]` by the estimate `mean_p z_p ⊙ Hz_p`, in the order of the probes.
pub(crate) fn combine<T: Real>(probes: &[Vec<T>], products: &mut [Vec<T>]) {
    let Some((first, others)) = products.split_first_mut() else { return };
    let scale = T::ONE / T::from_f64(probes.len() as f64);
    let chunk = crate::kernel::PIECE;
    first.par_chunks_mut(chunk).enumerate().for_each(|(i, d)| {
        let at = i * chunk..i * chunk + d.len();
        d.iter_mut().zip(&probes[0][at.clone()]).for_each(|(d, &z)| *d *= z);
        for (z, hz) in probes[1..].iter().zip(&*others) {
            let terms = z[at.clone()].iter().zip(&hz[at.clone()]);
            d.iter_mut().zip(terms).for_each(|(d, (&z, &hz))| *d += z * hz);
        }
        if probes.len() > 1 {
            d.iter_mut().for_each(|d| *d *= scale);
        }
    });
}

#[cfg(test)]
mod tests {
    use thalweg_core::Kind;

    use super::*;

    fn layout() -> Layout {
        let mut layout = Layout::default();
        layout.push("a", &[40, 1000], Kind::Linear);
        layout.push("b", &[70], Kind::Bias);
        layout
    }

    #[test]
    fn probes_have_the_right_moments_and_skip_frozen_blocks() {
        let mut frozen = layout();
        frozen.set_frozen("b", true);
        for probe in [Probe::Rademacher, Probe::Gaussian] {
            let mut z = vec![7f64; frozen.len()];
            probe.draw(&frozen, Seed(3), 11, &mut z);
            assert!(z[40_000..].iter().all(|&z| z == 0.0));
            let mean = |p: i32| z[..40_000].iter().map(|z| z.powi(p)).sum::<f64>() / 40_000.0;
            assert!(mean(1).abs() < 0.025, "mean {}", mean(1));
            assert!((mean(2) - 1.0).abs() < 0.04, "variance {}", mean(2));
            // Freezing one block leaves the numbers of the others alone.
            let mut all = vec![0f64; frozen.len()];
            probe.draw(&layout(), Seed(3), 11, &mut all);
            assert_eq!(all[..40_000], z[..40_000]);
            assert!(all[40_000..].iter().all(|&z| z != 0.0));
        }
    }

    #[test]
    fn combine_averages_signed_products() {
        let probes = [vec![1.0, -1.0], vec![-1.0, -1.0]];
        let mut products = [vec![3.0, 4.0], vec![5.0, 6.0]];
        combine(&probes, &mut products);
        assert_eq!(products[0], [-1.0, -5.0]);
    }
}
