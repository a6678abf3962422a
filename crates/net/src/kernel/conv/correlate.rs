use std::ptr;

use thalweg_core::Real;

use super::Filter;
use super::depthwise::Depthwise;
use super::pack::{Order, pack, pack_depthwise};
use super::plan::Plan;
use super::shape::ConvShape;
use super::terms::{Images, Term, terms};
use crate::kernel::Scalar;
use crate::kernel::matmul::{PanelWidth, Shared, for_units};
use crate::kernel::simd::{Isa, Op, Simd, vectors};
use crate::kernel::tile::{MAX_ROWS, Tile};

/// Runs the plans on all images, in parallel over blocks of rows.
pub(super) fn correlate<T: Scalar>(
    isa: Isa,
    plans: &[Plan],
    s: &ConvShape,
    order: Order,
    (images, planes): (usize, usize),
    x: &[T],
    filters: &[Filter<'_, T>],
    y: &mut [T],
    acc: bool,
    scratch: &mut Vec<T>,
) {
    let depthwise = s.depthwise();
    let width = T::run(isa, PanelWidth(plans[0].out_c));
    let panels = plans[0].out_c.div_ceil(width);
    // Packed weights of all plans and filters, aligned to a cache line.
    const LINE: usize = 64;
    let len_of = |p: &Plan| p.groups * panels * width * if depthwise { p.taps().count() } else { p.inner() };
    let total = filters.len() * plans.iter().map(len_of).sum::<usize>();
    if scratch.len() < total + LINE {
        scratch.resize(total + LINE, T::ZERO);
    }
    let start = scratch.as_ptr().align_offset(LINE).min(LINE);
    let mut packed = &mut scratch[start..start + total];
    let mut weights = Vec::with_capacity(plans.len() * filters.len());
    // Where a panel has room for two filters, the first tangent lies beside the value.
    let paired = !depthwise && filters.len() > 1 && 2 * plans[0].out_c <= width;
    for plan in plans {
        for (f, filter) in filters.iter().enumerate() {
            let (mine, rest) = packed.split_at_mut(len_of(plan));
            if depthwise {
                pack_depthwise(plan, s, filter.weight, mine, panels * width);
            } else if !(paired && f == 1) {
                pack(plan, s, order, filter.weight, mine, width, 0);
                if paired && f == 0 {
                    pack(plan, s, order, filters[1].weight, mine, width, plan.out_c);
                }
            }
            weights.push(Filter { weight: &*mine, bias: filter.bias });
            packed = rest;
        }
    }
    let blocks: Vec<(usize, usize)> =
        plans.iter().enumerate().flat_map(|(p, plan)| (0..plan.blocks()).map(move |b| (p, b))).collect();
    let Some(largest) = plans.iter().map(Plan::slab_len).max() else { return };
    let terms: Vec<_> =
        terms(planes, filters.len()).filter(|t| !(paired && (t.left, t.right) == (0, 1))).collect();
    let work =
        plans.iter().map(|p| p.rows.count * p.cols.count * p.inner() * p.groups * p.out_c).sum::<usize>();
    let work = terms.len() * work / if depthwise { s.groups } else { 1 } / blocks.len().max(1);
    let (from, to) = (plans[0].source_len(), y.len() / (images * planes.max(filters.len())).max(1));
    let y = Shared::new(y);
    for_units(images * blocks.len(), work, |unit| {
        let (image, (p, block)) = (unit / blocks.len(), blocks[unit % blocks.len()]);
        let plan = &plans[p];
        T::with_buffer(largest, |slab| {
            let piece = Piece {
                plan,
                rows: plan.block_rows(block),
                terms: &terms,
                x: Images { all: x, image, images, len: from },
                filters: &weights[p * filters.len()..][..filters.len()],
                // SAFETY: image `image` of each plane lies in `y`; different units write different pixels.
                y: unsafe { y.ptr().add(image * to) },
                plane: images * to,
                paired,
                acc,
                slab,
            };
            if depthwise { T::run(isa, Depthwise(piece)) } else { T::run(isa, piece) }
        });
    });
}

/// A block of output rows of one image.
pub(super) struct Piece<'a, T> {
    pub plan: &'a Plan,
    pub rows: (usize, usize),
    /// Plane of `x` × filter → plane of `y`.
    pub terms: &'a [Term],
    pub x: Images<'a, T>,
    pub filters: &'a [Filter<'a, T>],
    pub y: *mut T,
    /// Numbers from a plane of `y` to the next.
    pub plane: usize,
    /// The first panel holds the first two filters side by side.
    pub paired: bool,
    pub acc: bool,
    pub slab: &'a mut [T],
}

/// Walks over the output pixels of a block, row by row.
pub(super) struct Walk {
    /// Where the next pixel lies in the source, from the block's first, and in the output.
    at: [usize; 2],
    /// Where the row began, the distances of pixels and of rows.
    row: [usize; 2],
    step: [usize; 2],
    step_row: [usize; 2],
    col: usize,
    cols: usize,
}

impl Walk {
    /// Starts at output row `r0`; rows of the source have `width` pixels.
    #[inline(always)]
    pub fn new(p: &Plan, width: usize, r0: usize) -> Self {
        let out = p.groups * p.out_c;
        let start = [0, ((p.rows.first_out + r0 * p.rows.step_out) * p.out_w + p.cols.first_out) * out];
        Self {
            at: start,
            row: start,
            step: [p.cols.step * p.c, p.cols.step_out * out],
            step_row: [p.rows.step * width * p.c, p.rows.step_out * p.out_w * out],
            col: 0,
            cols: p.cols.count,
        }
    }

    /// Where the next `n` pixels start in source and output; up to `tile` the last one repeats.
    #[inline(always)]
    pub fn next(&mut self, n: usize, tile: usize, xs: &mut [usize; MAX_ROWS], ys: &mut [usize; MAX_ROWS]) {
        let mut last = self.at;
        for i in 0..tile.min(MAX_ROWS) {
            if i < n {
                last = self.at;
                self.col += 1;
                if self.col == self.cols {
                    self.col = 0;
                    self.row = [self.row[0] + self.step_row[0], self.row[1] + self.step_row[1]];
                    self.at = self.row;
                } else {
                    self.at = [last[0] + self.step[0], last[1] + self.step[1]];
                }
            }
            [xs[i], ys[i]] = last;
        }
    }
}

impl<T: Scalar> Op<T> for Piece<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { plan, rows: (r0, r1), terms, x: images, filters, y, plane, paired, acc, slab } = self;
        let nv = vectors::<S>(plan.out_c);
        let (panel, inner) = (nv * S::N, plan.inner());
        let panels = plan.out_c.div_ceil(panel);
        let largest = S::rows(nv, usize::MAX);
        let (mut xs, mut ys) = ([0; MAX_ROWS], [0; MAX_ROWS]);
        // Outputs that no tap reaches read nothing.
        let width = if plan.copy { plan.cols.span(plan.cols.count) } else { plan.cols.source };
        for g in 0..plan.groups {
            for same in terms.chunk_by(|a, b| a.left == b.left) {
                let x = images.plane(same[0].left);
                let x = if inner == 0 {
                    ptr::null()
                } else if plan.copy {
                    plan.fill(x, g, (r0, r1), slab);
                    slab.as_ptr()
                } else {
                    x[plan.in_place(r0)..].as_ptr()
                };
                for (term, p) in same.iter().flat_map(|term| (0..panels).map(move |p| (term, p))) {
                    let Filter { weight, bias } = filters[term.right];
                    let bias = bias.filter(|_| term.left == 0);
                    let (j, at) = (p * panel, (g * panels + p) * inner * panel);
                    let channel = g * plan.out_c + j;
                    let mut walk = Walk::new(plan, width, r0);
                    let mut left = (r1 - r0) * plan.cols.count;
                    while left > 0 {
                        let n = S::rows(nv, left);
                        walk.next(n, largest, &mut xs, &mut ys);
                        if inner == 0 {
                            xs.fill(0);
                        }
                        let tile = Tile {
                            x,
                            xs: &xs,
                            slots: &plan.slots[plan.copy as usize],
                            depth: plan.depth,
                            w: weight[at..].as_ptr(),
                            // SAFETY: output pixels lie in the image.
                            y: unsafe { y.add(term.result() * plane + channel) },
                            ys: &ys,
                            rows: n,
                            nv,
                            cols: panel.min(plan.out_c - j),
                            add: acc || term.adds,
                            bias: bias.map_or(ptr::null(), |bias| bias[channel..].as_ptr()),
                            alpha: T::ONE,
                        };
                        // SAFETY: the plan keeps all runs of a pixel inside the slab or the image; the
                        // panel has `inner` rows; output pixels lie in the image and are this unit's own.
                        unsafe {
                            if paired && term.result() == 0 {
                                pair::<S>(tile, plane, filters[1].bias.map(|bias| &bias[channel..]));
                            } else {
                                S::tile(&tile);
                            }
                        }
                        left -= n;
                    }
                }
            }
        }
    }
}

/// A tile whose panel holds two filters: the columns of the second go to the next plane of `y`.
///
/// # Safety
/// As for a tile, in both planes.
#[inline(always)]
unsafe fn pair<S: Simd>(t: Tile<'_, S::T>, plane: usize, bias: Option<&[S::T]>) {
    const WIDEST: usize = 16;
    let mut sums = [S::T::ZERO; MAX_ROWS * WIDEST];
    let rows: [usize; MAX_ROWS] = std::array::from_fn(|i| i * WIDEST);
    let (y, cols) = (sums.as_mut_ptr(), 2 * t.cols);
    let biases = [t.bias, bias.map_or(ptr::null(), <[S::T]>::as_ptr)];
    // SAFETY: rows of `sums` have room for a vector; the rest is the caller's promise.
    unsafe {
        S::tile(&Tile { y, ys: &rows, cols, add: false, bias: ptr::null(), ..t });
        for (i, sums) in sums.chunks_exact(WIDEST).take(t.rows).enumerate() {
            for (p, (sums, bias)) in sums.chunks_exact(t.cols).zip(biases).enumerate() {
                let y = t.y.add(p * plane + t.ys[i]);
                for (c, sum) in sums.iter().enumerate() {
                    let mut sum = *sum;
                    if !bias.is_null() {
                        sum += *bias.add(c);
                    }
                    *y.add(c) = if t.add { sum + *y.add(c) } else { sum };
                }
            }
        }
    }
}
