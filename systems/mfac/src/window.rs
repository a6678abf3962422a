use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, MethodError, Real};

use crate::MfacError;
use crate::gradients::{Gradients, Storage};
use crate::sliding::Sliding;

/// The inverse of F = λI + GᵀG/m for the last m gradients; slots that were never filled hold
/// zeros and count in m.
///
/// With K = mλI + GGᵀ = CCᵀ in double precision, C in the order of age:
///
/// ```text
/// insert g:   C loses the oldest row and column by a positive rank-one update
///             and gains the row of g by one triangular solve            m d + m²
/// F⁻¹x      = (x − Gᵀ K⁻¹ G x)/λ                                       2 m d + m²
/// F⁻¹g_new  = m Gᵀ K⁻¹ e_new                                            m d + m²
/// ```
///
/// The last line is the push-through identity F⁻¹Gᵀ = m Gᵀ K⁻¹: no large numbers cancel, and the
/// result is a combination of the stored gradients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowFisher {
    gradients: Gradients,
    damping: f64,
    /// G Gᵀ in the order of the slots, row after row.
    gram: Vec<f64>,
    factor: Sliding,
    /// Slot of the oldest gradient, the next to be overwritten.
    oldest: usize,
    filled: usize,
    /// Slides since the last factorisation from scratch.
    slides: u32,
}

/// Slides after which the factor is made anew, against the creep of rounding.
const REFRESH: u32 = 4096;

impl WindowFisher {
    /// A window of m empty slots for gradients of d numbers of type `T`. An error if a number is
    /// out of range, or m·d numbers would take more than three quarters of the free memory.
    pub fn new<T: Real>(m: usize, d: usize, damping: f64, storage: Storage) -> Result<Self, MfacError> {
        Invalid::positive("damping", damping)?;
        let gradients = Gradients::zeros::<T>(m, d, storage)?;
        let factor = Sliding::scaled_identity(m, m as f64 * damping);
        Ok(Self { gradients, damping, gram: vec![0.0; m * m], factor, oldest: 0, filled: 0, slides: 0 })
    }

    /// Overwrites the oldest gradient by `g`. An error if the length differs or a number is not
    /// finite; the window is then as before.
    pub fn insert<T: Real>(&mut self, g: &[T]) -> Result<(), MfacError> {
        let (m, slot) = (self.len(), self.oldest);
        self.gradients.set(slot, g)?;
        let row = self.gradients.gram_row(slot);
        for (k, x) in row.iter().enumerate() {
            (self.gram[slot * m + k], self.gram[k * m + slot]) = (*x, *x);
        }
        self.oldest = (slot + 1) % m;
        self.filled = (self.filled + 1).min(m);
        self.slides += 1;
        if self.slides >= REFRESH {
            return self.refactor();
        }
        let mut row: Vec<f64> = (0..m).map(|age| row[self.slot(age)]).collect();
        let floor = m as f64 * self.damping;
        row[m - 1] += floor;
        self.factor.slide(&row, floor);
        Ok(())
    }

    /// F⁻¹x.
    pub fn ihvp<T: Real>(&self, x: &[T]) -> Result<Vec<T>, MfacError> {
        let (m, d) = (self.len(), self.gradients.width());
        MethodError::check_length("the vector", x.len(), d)?;
        let products = self.gradients.dots(0..d, x);
        let weights = self.factor.solve((0..m).map(|age| products[self.slot(age)]).collect());
        let mut out = x.to_vec();
        let finish = |sum: f64, x: T| T::from_f64((x.to_f64() - sum) / self.damping);
        self.gradients.combine(0..d, &self.by_slot(&weights), &mut out, finish);
        Ok(out)
    }

    /// `u ← F⁻¹g` for the newest gradient g, as it is stored.
    pub fn precondition_newest<T: Real>(&self, u: &mut [T]) -> Result<(), MfacError> {
        let (m, d) = (self.len(), self.gradients.width());
        MethodError::check_length("the step", u.len(), d)?;
        let weights: Vec<f64> = self.factor.last_column().iter().map(|w| m as f64 * w).collect();
        self.gradients.combine(0..d, &self.by_slot(&weights), u, |sum, _| T::from_f64(sum));
        Ok(())
    }

    /// Changes the damping, which factors K anew: m³/3 operations.
    pub fn set_damp(&mut self, damping: f64) -> Result<(), MfacError> {
        Invalid::positive("damping", damping)?;
        self.damping = damping;
        self.refactor()
    }

    /// Empties all slots.
    pub fn reset(&mut self) {
        let m = self.len();
        self.gradients.clear();
        self.gram.fill(0.0);
        self.factor = Sliding::scaled_identity(m, m as f64 * self.damping);
        (self.oldest, self.filled, self.slides) = (0, 0, 0);
    }

    /// Number m of slots.
    #[allow(clippy::len_without_is_empty)] // a window has at least one slot
    pub fn len(&self) -> usize {
        self.gradients.count()
    }

    /// Slots that hold a gradient.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// λ.
    pub fn damping(&self) -> f64 {
        self.damping
    }

    /// Mean ‖g‖² of the gradients in the window, 0 if there are none.
    pub fn mean_square(&self) -> f64 {
        let trace: f64 = self.gram.iter().step_by(self.len() + 1).sum();
        trace / self.filled.max(1) as f64
    }

    /// The gradients, in the order of the slots.
    pub fn gradients(&self) -> &Gradients {
        &self.gradients
    }

    fn refactor(&mut self) -> Result<(), MfacError> {
        let (m, shift) = (self.len(), self.len() as f64 * self.damping);
        let entry = |i: usize, j: usize| {
            self.gram[self.slot(i) * m + self.slot(j)] + if i == j { shift } else { 0.0 }
        };
        let least = self.damping.max(4.0 * f64::EPSILON * self.mean_square());
        let singular = MfacError::Singular { damping: self.damping, least };
        self.factor = Sliding::of(m, entry).ok_or(singular)?;
        self.slides = 0;
        Ok(())
    }

    /// Slot of the gradient of that age, 0 being the oldest.
    fn slot(&self, age: usize) -> usize {
        (self.oldest + age) % self.len()
    }

    fn by_slot(&self, by_age: &[f64]) -> Vec<f64> {
        let m = self.len();
        (0..m).map(|slot| by_age[(slot + m - self.oldest) % m]).collect()
    }
}
