use super::correlate::correlate;
use super::pack::Order;
use super::{Conv, Filter};
use crate::kernel::Scalar;
use crate::kernel::matmul::product;

impl Conv {
    /// `y (+)= x * w (+ bias)` with tangents: `x` has `planes` planes of `images` images, a value and
    /// tangents `ẋ_p`, and so have the filters: `ẏ_p (+)= ẋ_p * w + x * ẇ_p`, where a side may be without
    /// tangents. What reads the same images does so at once.
    ///
    /// # Panics
    /// If a buffer is too short.
    pub fn forward_planes<T: Scalar>(
        &self,
        images: usize,
        planes: usize,
        x: &[T],
        filters: &[Filter<'_, T>],
        y: &mut [T],
        acc: bool,
        scratch: &mut Vec<T>,
    ) {
        let s = &self.shape;
        let x = &x[..planes * images * s.in_len()];
        let y = &mut y[..planes.max(filters.len()) * images * s.out_len()];
        let filters: Vec<_> = filters.iter().map(|f| f.of(s)).collect();
        if s.pointwise() {
            let shape = (images * s.in_h * s.in_w, s.out_c, s.in_c);
            return self.pixels(planes, shape, x, &filters, true, y, acc);
        }
        let taps = s.k_h * s.k_w;
        // Order of the weight seen as [group][output][inner][tap].
        let order = Order {
            out: s.in_c / s.groups * taps,
            inner: taps,
            group: s.out_c / s.groups * (s.in_c / s.groups) * taps,
        };
        let plans = std::slice::from_ref(&self.forward);
        correlate(self.isa, plans, s, order, (images, planes), x, &filters, y, acc, scratch);
    }

    /// Matrix products over all pixels, for 1×1 kernels: all planes with the first filter, and the first
    /// plane with the others.
    pub(super) fn pixels<T: Scalar>(
        &self,
        planes: usize,
        (m, n, k): (usize, usize, usize),
        x: &[T],
        filters: &[Filter<'_, T>],
        transposed: bool,
        y: &mut [T],
        acc: bool,
    ) {
        let (value, tangents) = y.split_at_mut(m * n);
        let first = (filters[0].weight, transposed);
        product(self.isa, (m, n, k), (&x[..m * k], false), first, value, acc, filters[0].bias);
        if planes > 1 {
            let rows = ((planes - 1) * m, n, k);
            product(self.isa, rows, (&x[m * k..], false), first, tangents, acc, None);
        }
        for (p, f) in filters.iter().enumerate().skip(1) {
            let (x, y) = ((&x[..m * k], false), &mut tangents[(p - 1) * m * n..][..m * n]);
            product(self.isa, (m, n, k), x, (f.weight, transposed), y, acc || planes > p, f.bias);
        }
    }
}
