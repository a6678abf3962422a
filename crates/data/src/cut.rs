use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::{Dataset, Targets};

/// How a test part is cut from data that have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// The last examples of the file, as series need it.
    #[default]
    Tail,
    /// Drawn at random, of each class as large a share; both parts keep the order of the file.
    Stratified {
        /// Seed of the draw.
        seed: u64,
    },
}

/// How many of `n` ≥ 2 examples a share is, at least one and not all.
pub(crate) fn tests(share: f64, n: usize) -> usize {
    ((share * n as f64).round() as usize).clamp(1, n - 1)
}

impl Cut {
    /// Training and test part of at least two examples, the latter `tests` of them.
    pub(crate) fn apply(self, data: &Dataset, tests: usize) -> (Dataset, Dataset) {
        let n = data.len();
        match self {
            Self::Tail => (data.slice(0..n - tests), data.slice(n - tests..n)),
            Self::Stratified { seed } => {
                let mut drawn = vec![false; n];
                stratified(data, tests, seed).into_iter().for_each(|i| drawn[i] = true);
                let (test, train): (Vec<usize>, Vec<usize>) = (0..n).partition(|&i| drawn[i]);
                (data.select(&train), data.select(&test))
            }
        }
    }
}

/// `tests` examples, of each class its share, the remainders to the largest fractions.
fn stratified(data: &Dataset, tests: usize, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut groups = match &data.targets {
        Targets::Classes { labels, names } => {
            let mut groups = vec![Vec::new(); names.len()];
            labels.iter().enumerate().for_each(|(i, &label)| groups[label as usize].push(i));
            groups
        }
        Targets::Values { .. } => vec![(0..data.len()).collect()],
    };
    groups.iter_mut().for_each(|group| group.shuffle(&mut rng));
    // Whole numbers: share · n = tests · size, without rounding.
    let n = data.len();
    let mut take: Vec<usize> = groups.iter().map(|group| tests * group.len() / n).collect();
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&g| std::cmp::Reverse(tests * groups[g].len() % n));
    let left = tests - take.iter().sum::<usize>();
    order.into_iter().take(left).for_each(|g| take[g] += 1);
    groups.iter().zip(take).flat_map(|(group, take)| group[..take].to_vec()).collect()
}
