use rayon::prelude::*;

use super::Conv;
use super::depthwise::add_depthwise;
use super::plan::Plan;
use super::terms::{Images, Term, terms};
use crate::kernel::Scalar;
use crate::kernel::matmul::{PanelWidth, Shared, for_units};
use crate::kernel::simd::{Op, Simd, vectors};
use crate::kernel::tile::Outer;

impl Conv {
    /// Gradient for the weight, with tangents: `x` has `planes` planes, `dy` as many as there are
    /// results: `dw (+)= Σ_images x ⋆ dy`, `dẇ_p (+)= Σ_images x ⋆ dẏ_p + ẋ_p ⋆ dy`.
    ///
    /// # Panics
    /// If a buffer is too short.
    pub fn backward_weight_planes<T: Scalar>(
        &self,
        images: usize,
        planes: usize,
        x: &[T],
        dy: &[T],
        dws: &mut [&mut [T]],
        acc: bool,
        scratch: &mut Vec<T>,
    ) {
        let (s, plan) = (&self.shape, &self.forward);
        let (x, dy) = (&x[..planes * images * s.in_len()], &dy[..dws.len() * images * s.out_len()]);
        let terms: Vec<_> = terms(planes, dws.len()).collect();
        let depthwise = s.depthwise();
        let width = T::run(self.isa, PanelWidth(plan.out_c));
        let columns = plan.out_c.next_multiple_of(width);
        // Rows of the gradient per group: inner index, or tap for a depthwise convolution.
        let rows = if depthwise { s.k_h * s.k_w } else { plan.inner() };
        let len = plan.groups * rows * columns;
        let (blocks, units) = (plan.blocks(), images * plan.blocks());
        // A fixed number of partial sums: fewer where they are large.
        let slices = units.min(if len > 1 << 15 { 8 } else { 16 });
        let all = dws.len() * len;
        scratch.clear();
        scratch.resize(slices * all, T::ZERO);
        let partials = Shared::new(scratch);
        let work = terms.len() * units / slices.max(1) * plan.block * plan.cols.count * rows * plan.out_c;
        for_units(slices, work, |slice| {
            // SAFETY: each slice has a part of its own.
            let partial = unsafe { std::slice::from_raw_parts_mut(partials.ptr().add(slice * all), all) };
            T::with_buffer(plan.slab_len(), |slab| {
                for unit in slice * units / slices..(slice + 1) * units / slices {
                    let (image, block) = (unit / blocks, unit % blocks);
                    let piece = WeightPiece {
                        plan,
                        rows: plan.block_rows(block),
                        terms: &terms,
                        x: Images { all: x, image, images, len: s.in_len() },
                        dy: Images { all: dy, image, images, len: s.out_len() },
                        slab,
                        partial,
                        columns,
                        depthwise,
                    };
                    T::run(self.isa, piece);
                }
            });
        });
        // Sum over the slices in order, and back to the order of the weight.
        let taps: Vec<usize> = plan.taps().map(|(r, c)| r * s.k_w + c).collect();
        let (ic, oc) = (s.in_c / s.groups, s.out_c / s.groups);
        let partials = &*scratch;
        let row = ic * taps.len();
        for (p, dw) in dws.iter_mut().enumerate() {
            let sum = |i: usize| (0..slices).fold(T::ZERO, |sum, at| sum + partials[at * all + p * len + i]);
            let store = |o: usize, dw: &mut [T]| {
                let (g, j) = (o / oc, o % oc);
                for (t, &tap) in taps.iter().enumerate() {
                    for i in 0..ic {
                        let from = if depthwise {
                            t * columns + o
                        } else {
                            ((g * columns + j / width * width) * rows) + (t * ic + i) * width + j % width
                        };
                        let to = &mut dw[i * taps.len() + tap];
                        *to = if acc { *to + sum(from) } else { sum(from) };
                    }
                }
            };
            dw[..s.weight_len()]
                .par_chunks_mut(row.max(1))
                .with_min_len((1 << 12) / row.max(1) + 1)
                .enumerate()
                .for_each(|(o, dw)| store(o, dw));
        }
    }
}

/// Numbers of source and cotangent that a sweep reads.
const PIECE: usize = 5 * 1024;

/// What a block of output rows of one image adds to the gradient of the weight.
struct WeightPiece<'a, T> {
    plan: &'a Plan,
    rows: (usize, usize),
    /// Plane of `x` × plane of `dy` → result.
    terms: &'a [Term],
    x: Images<'a, T>,
    dy: Images<'a, T>,
    slab: &'a mut [T],
    /// By result `[group][panel][inner][width]`, or `[tap][columns]` for a depthwise convolution.
    partial: &'a mut [T],
    columns: usize,
    depthwise: bool,
}

impl<T: Scalar> Op<T> for WeightPiece<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self {
            plan,
            rows: (r0, r1),
            terms,
            x: images,
            dy: cotangents,
            slab,
            partial,
            columns,
            depthwise,
        } = self;
        let nv = vectors::<S>(plan.out_c);
        let (panel, inner, height) = (nv * S::N, plan.inner(), S::OUTER / nv);
        // A tile may read beyond a run that the smallest one does not divide: only a slab has room.
        let copy = plan.copy || (!depthwise && plan.depth % (4 / nv) != 0);
        let width = if copy { plan.cols.span(plan.cols.count) } else { plan.cols.source };
        let slots = &plan.slots[copy as usize];
        let ldy = plan.groups * plan.out_c;
        let len = plan.groups * columns * if depthwise { slots.len() } else { inner };
        let lefts = || terms.chunk_by(|a, b| a.left == b.left);
        for (g, same) in (0..plan.groups).flat_map(|g| lefts().map(move |same| (g, same))) {
            let x = images.plane(same[0].left);
            let x = if copy {
                plan.fill(x, g, (r0, r1), slab);
                slab.as_ptr()
            } else {
                x[plan.in_place(r0)..].as_ptr()
            };
            let (x_row, x_col) = (plan.rows.step * width * plan.c, plan.cols.step * plan.c);
            let (rows, cols) = (r1 - r0, plan.cols.count);
            // A few rows at once, so that what all tiles read stays in the first-level cache.
            let fit = (PIECE / (x_row + cols * ldy).max(1)).max(1);
            let step = if depthwise { rows } else { rows.div_ceil(rows.div_ceil(fit)) }.max(1);
            for (first, term) in (0..rows).step_by(step).flat_map(|r| same.iter().map(move |term| (r, term)))
            {
                let dy = &cotangents.plane(term.right)[(r0 + first) * cols * ldy + g * plan.out_c..];
                let (x, dy) = (x.wrapping_add(first * x_row), dy.as_ptr());
                let partial = &mut partial[term.result() * len..][..len];
                // SAFETY: the plan keeps all runs inside the slab or the image, and a slab has room for
                // a whole tile behind its last run; `dy` has the block's pixels; `partial` all rows.
                unsafe {
                    if depthwise {
                        let (x, dy, out) = ((x, x_row, x_col), (dy, ldy), partial.as_mut_ptr());
                        add_depthwise::<S>(slots, x, dy, (rows, cols), plan.out_c, out, columns);
                        continue;
                    }
                    for (t, &slot) in slots.iter().enumerate() {
                        for i in (0..plan.depth).step_by(height) {
                            for j in (0..plan.out_c).step_by(panel) {
                                let at = (g * columns + j) * inner + (t * plan.depth + i) * panel;
                                S::outer(&Outer {
                                    x: x.add(slot + i),
                                    x_row,
                                    x_col,
                                    y: dy.add(j),
                                    ldy,
                                    rows: step.min(rows - first),
                                    cols,
                                    nv,
                                    width: panel.min(plan.out_c - j),
                                    out: partial.as_mut_ptr().add(at),
                                    height: height.min(plan.depth - i),
                                });
                            }
                        }
                    }
                }
            }
        }
    }
}
