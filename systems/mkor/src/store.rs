use std::borrow::Cow;

use half::slice::HalfFloatSliceExt;
use half::vec::HalfFloatVecExt;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};
use thalweg_core::Real;

use crate::Storage;

/// Numbers kept in full or half precision and computed with in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub(crate) enum Store<T> {
    Full(Vec<T>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl<T: Real> Store<T> {
    pub fn new(numbers: Vec<T>, storage: Storage) -> Self {
        let single = || numbers.iter().map(|x| x.to_f64() as f32).collect::<Vec<_>>();
        match storage {
            Storage::Full => Self::Full(numbers),
            Storage::Bf16 => Self::Bf16(Vec::from_f32_slice(&single())),
            Storage::F16 => Self::F16(Vec::from_f32_slice(&single())),
        }
    }

    /// The numbers in full precision.
    #[allow(clippy::owned_cow)] // matrix products ask for a vector
    pub fn read(&self) -> Cow<'_, Vec<T>> {
        let full = |x: Vec<f32>| Cow::Owned(x.into_iter().map(|x| T::from_f64(x.into())).collect());
        match self {
            Self::Full(x) => Cow::Borrowed(x),
            Self::Bf16(x) => full(x.to_f32_vec()),
            Self::F16(x) => full(x.to_f32_vec()),
        }
    }

    /// Changes the numbers in full precision.
    pub fn edit<R>(&mut self, change: impl FnOnce(&mut Vec<T>) -> R) -> R {
        let storage = match self {
            Self::Full(x) => return change(x),
            Self::Bf16(_) => Storage::Bf16,
            Self::F16(_) => Storage::F16,
        };
        let mut numbers = self.read().into_owned();
        let result = change(&mut numbers);
        *self = Self::new(numbers, storage);
        result
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Full(x) => size_of_val(&x[..]),
            Self::Bf16(x) => size_of_val(&x[..]),
            Self::F16(x) => size_of_val(&x[..]),
        }
    }
}
