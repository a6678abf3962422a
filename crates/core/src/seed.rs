use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Where all randomness of a run comes from. Streams are derived by name and index, never by
/// thread, so results do not depend on the number of threads.
///
/// ```
/// use thalweg_core::Seed;
/// use rand::Rng;
/// let seed = Seed(1);
/// assert_eq!(seed.stream("probe", 3).next_u64(), seed.stream("probe", 3).next_u64());
/// assert_ne!(seed.stream("probe", 3).next_u64(), seed.stream("probe", 4).next_u64());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// The independent generator number `index` of the purpose `name`.
    pub fn stream(self, name: &str, index: u64) -> ChaCha8Rng {
        // FNV-1a of the purpose: stable across versions and machines, unlike `std`'s hasher.
        let purpose = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&self.0.to_le_bytes());
        key[8..16].copy_from_slice(&purpose.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(index);
        rng
    }
}

/// Fills `z` with ±1, each with probability ½, 64 signs per draw.
pub fn rademacher<T: crate::Real>(rng: &mut impl Rng, z: &mut [T]) {
    for chunk in z.chunks_mut(64) {
        let bits = rng.next_u64();
        for (i, z) in chunk.iter_mut().enumerate() {
            *z = if bits >> i & 1 == 1 { T::ONE } else { -T::ONE };
        }
    }
}

/// Fills `z` with independent standard normal numbers.
pub fn normal<T: crate::Real>(rng: &mut impl Rng, z: &mut [T]) {
    use rand_distr::{Distribution, StandardNormal};
    for z in z {
        let x: f64 = StandardNormal.sample(rng);
        *z = T::from_f64(x);
    }
}
