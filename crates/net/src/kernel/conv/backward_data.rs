use rayon::prelude::*;

use super::correlate::correlate;
use super::pack::Order;
use super::shape::ConvShape;
use super::{Conv, Filter};
use crate::kernel::Scalar;

impl Conv {
    /// Gradient for the input, `dx (+)= wᵀ * dy`, with tangents as in [`Conv::forward_planes`].
    ///
    /// # Panics
    /// If a buffer is too short.
    pub fn backward_data_planes<T: Scalar>(
        &self,
        images: usize,
        planes: usize,
        dy: &[T],
        filters: &[Filter<'_, T>],
        dx: &mut [T],
        acc: bool,
        scratch: &mut Vec<T>,
    ) {
        let (s, targets) = (&self.shape, planes.max(filters.len()) * images);
        let (dy, dx) = (&dy[..planes * images * s.out_len()], &mut dx[..targets * s.in_len()]);
        let filters: Vec<_> = filters.iter().map(|f| Filter { bias: None, ..f.of(s) }).collect();
        if let Some(padded) = &self.padded {
            let len = padded.shape.in_len();
            let mut whole = vec![T::ZERO; targets * len];
            padded.backward_data_planes(images, planes, dy, &filters, &mut whole, false, scratch);
            let images = dx.par_chunks_mut(s.in_len().max(1)).zip(whole.par_chunks(len.max(1)));
            return images.for_each(|(dx, whole)| fold(s, &padded.shape, whole, dx, acc));
        }
        if s.pointwise() {
            let shape = (images * s.in_h * s.in_w, s.in_c, s.out_c);
            return self.pixels(planes, shape, dy, &filters, false, dx, acc);
        }
        let taps = s.k_h * s.k_w;
        let order = Order {
            out: taps,
            inner: s.in_c / s.groups * taps,
            group: s.out_c / s.groups * (s.in_c / s.groups) * taps,
        };
        correlate(self.isa, &self.backward, s, order, (images, planes), dy, &filters, dx, acc, scratch);
    }
}

/// Adds the gradient for a periodically padded image to that of the image.
fn fold<T: Scalar>(s: &ConvShape, padded: &ConvShape, whole: &[T], dx: &mut [T], acc: bool) {
    if !acc {
        dx.fill(T::ZERO);
    }
    let at = |i: usize, pad: usize, n: usize| (i as isize - pad as isize).rem_euclid(n as isize) as usize;
    for (i, row) in whole.chunks_exact(padded.in_w * s.in_c).enumerate() {
        let h = at(i, s.pad[0], s.in_h);
        for (j, pixel) in row.chunks_exact(s.in_c).enumerate() {
            let to = (h * s.in_w + at(j, s.pad[2], s.in_w)) * s.in_c;
            dx[to..to + s.in_c].iter_mut().zip(pixel).for_each(|(d, p)| *d += *p);
        }
    }
}
