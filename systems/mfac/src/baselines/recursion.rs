use thalweg_core::Real;
use thalweg_linalg::vector::dot_by_sixteen as dot;

/// The published row-by-row algorithm in the precision `T`, as the reference for
/// [`crate::StaticFisher`]:
///
/// ```text
/// vᵢ ← gᵢ/λ − Σ_{k<i} ((v_kᵀ gᵢ)/q_k) v_k       qᵢ ← m + gᵢᵀ vᵢ
/// ```
#[derive(Clone, Debug)]
pub struct Recursion<T> {
    damping: T,
    v: Vec<Vec<T>>,
    q: Vec<T>,
}

impl<T: Real> Recursion<T> {
    /// m²d multiplications. All gradients have the same length.
    pub fn new<R: AsRef<[T]>>(gradients: &[R], damping: f64) -> Self {
        let (damping, m) = (T::from_f64(damping), T::from_f64(gradients.len() as f64));
        let (mut v, mut q): (Vec<Vec<T>>, Vec<T>) = Default::default();
        for g in gradients.iter().map(AsRef::as_ref) {
            let mut next: Vec<T> = g.iter().map(|&g| g / damping).collect();
            for (v, &q) in v.iter().zip(&q) {
                subtract(&mut next, dot(v, g) / q, v);
            }
            q.push(m + dot(g, &next));
            v.push(next);
        }
        Self { damping, v, q }
    }

    /// F⁻¹x.
    pub fn ihvp(&self, x: &[T]) -> Vec<T> {
        let mut out: Vec<T> = x.iter().map(|&x| x / self.damping).collect();
        for (v, &q) in self.v.iter().zip(&self.q) {
            subtract(&mut out, dot(v, x) / q, v);
        }
        out
    }

    /// The diagonal of F⁻¹.
    pub fn diag(&self) -> Vec<T> {
        let d = self.v.first().map_or(0, Vec::len);
        (0..d).map(|i| self.element(i, i)).collect()
    }

    /// [F⁻¹]ᵢⱼ.
    pub fn element(&self, i: usize, j: usize) -> T {
        let first = if i == j { T::ONE / self.damping } else { T::ZERO };
        self.v.iter().zip(&self.q).fold(first, |sum, (v, &q)| sum - v[i] * v[j] / q)
    }

    /// The pivots qᵢ.
    pub fn pivots(&self) -> &[T] {
        &self.q
    }
}

fn subtract<T: Real>(y: &mut [T], c: T, x: &[T]) {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y -= c * x);
}
