//! Convolutions without an im2col buffer. A block of image rows is copied once, padding included,
//! into a small slab that stays in the cache; there, every output pixel sees a kernel row as one
//! contiguous run of numbers at a distance that is the same for all pixels, so that the loops of a
//! matrix product apply directly. The gradient for the input is the same computation with the
//! roles exchanged, once for each residue of the pixel position modulo the stride.

use std::ptr;

use rayon::prelude::*;

use thalweg_core::Real;

use super::Scalar;
use super::matmul::{MIN_WORK, PanelWidth, Shared, for_units, product};
use super::simd::{Isa, Op, Simd, vectors};
use super::tile::{MAX_ROWS, Outer, Tile, load};

/// Shape of a convolution over images `[in_h, in_w, in_c]`; one axis (`conv1d`) has `in_h = k_h = 1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Height of the input.
    pub in_h: usize,
    /// Width of the input.
    pub in_w: usize,
    /// Channels of the input.
    pub in_c: usize,
    /// Channels of the output.
    pub out_c: usize,
    /// Height of the kernel.
    pub k_h: usize,
    /// Width of the kernel.
    pub k_w: usize,
    /// Steps between output pixels, vertical and horizontal.
    pub stride: [usize; 2],
    /// Distances between taps, vertical and horizontal.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other; divides `in_c` and `out_c`.
    pub groups: usize,
    /// Rows above and below, columns left and right that are added to the image.
    pub pad: [usize; 4],
    /// The padding continues the image periodically instead of with zeros.
    pub circular: bool,
}

impl ConvShape {
    /// Height of the output; 0 if the kernel is larger than the padded image.
    pub fn out_h(&self) -> usize {
        out_len(self.in_h + self.pad[0] + self.pad[1], self.k_h, self.stride[0], self.dilation[0])
    }

    /// Width of the output; 0 if the kernel is larger than the padded image.
    pub fn out_w(&self) -> usize {
        out_len(self.in_w + self.pad[2] + self.pad[3], self.k_w, self.stride[1], self.dilation[1])
    }

    /// Numbers in the weight `[out_c, in_c/groups, k_h, k_w]`.
    pub fn weight_len(&self) -> usize {
        self.out_c * (self.in_c / self.groups) * self.k_h * self.k_w
    }

    /// Numbers in an input image.
    pub fn in_len(&self) -> usize {
        self.in_h * self.in_w * self.in_c
    }

    /// Numbers in an output image.
    pub fn out_len(&self) -> usize {
        self.out_h() * self.out_w() * self.out_c
    }

    fn depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_c && self.groups == self.out_c
    }

    /// A 1×1 convolution is a matrix product over all pixels.
    fn pointwise(&self) -> bool {
        self.k_h * self.k_w == 1 && self.stride == [1, 1] && self.groups == 1 && self.pad == [0; 4]
    }
}

fn out_len(padded: usize, k: usize, stride: usize, dilation: usize) -> usize {
    padded.checked_sub(dilation * (k - 1) + 1).map_or(0, |room| room / stride + 1)
}

/// One axis of a correlation: output `first_out + i·step_out`, `i < count`, sees for each
/// `(tap, offset)` the source position `first + i·step + offset`.
#[derive(Clone, Debug)]
struct Axis {
    first: isize,
    step: usize,
    taps: Vec<(usize, usize)>,
    first_out: usize,
    step_out: usize,
    count: usize,
    source: usize,
}

impl Axis {
    fn forward(source: usize, pad: usize, k: usize, stride: usize, dilation: usize, count: usize) -> Self {
        let taps = (0..k).map(|t| (t, t * dilation)).collect();
        Self { first: -(pad as isize), step: stride, taps, first_out: 0, step_out: 1, count, source }
    }

    /// Gradient for the input positions `i` with `i + pad ≡ phase (mod stride)`: there
    /// `i + pad = phase + stride·j`, and tap `t` with `t·dilation = phase + stride·e` sees output `j − e`.
    fn backward(
        phase: usize,
        input: usize,
        pad: usize,
        k: usize,
        stride: usize,
        dilation: usize,
        output: usize,
    ) -> Self {
        let reach = (0..k).filter(|t| t * dilation % stride == phase).map(|t| (t, t * dilation / stride));
        let farthest = reach.clone().map(|(_, e)| e).max().unwrap_or(0);
        let mut taps: Vec<_> = reach.map(|(t, e)| (t, farthest - e)).collect();
        taps.reverse(); // ascending offsets
        let first_j = pad.saturating_sub(phase).div_ceil(stride);
        let first_out = phase + stride * first_j - pad;
        Self {
            first: first_j as isize - farthest as isize,
            step: 1,
            taps,
            first_out,
            step_out: stride,
            count: input.saturating_sub(first_out).div_ceil(stride),
            source: output,
        }
    }

    /// Source positions that `count` outputs see, from the first to the last.
    fn span(&self, count: usize) -> usize {
        if count == 0 || self.taps.is_empty() {
            return 0;
        }
        (count - 1) * self.step + self.taps.iter().map(|t| t.1).max().unwrap_or(0) + 1
    }

    fn leaves_source(&self) -> bool {
        self.first < 0 || self.first + self.span(self.count) as isize > self.source as isize
    }

    fn is_contiguous(&self) -> bool {
        self.taps.iter().enumerate().all(|(i, t)| t.1 == i)
    }
}

/// A correlation of a source image with a kernel: the forward pass, or one phase of the gradient.
#[derive(Clone, Debug)]
struct Plan {
    rows: Axis,
    cols: Axis,
    groups: usize,
    /// Channels per group of source and output, and channels per pixel of the output.
    c: usize,
    out_c: usize,
    out_w: usize,
    circular: bool,
    /// The source must be copied (padding or groups); otherwise it may be read in place.
    copy: bool,
    /// Where the runs of a pixel start, when read in place and in a slab, and their length.
    slots: [Vec<usize>; 2],
    depth: usize,
    /// Rows per block, so that a slab stays in the first-level cache.
    block: usize,
}

/// Numbers of a slab that stay in the first-level cache beside the rest.
const SLAB: usize = 6 * 1024;
/// Numbers of source and cotangent that a sweep over the gradient of a weight reads.
const PIECE: usize = 5 * 1024;
/// Numbers behind a slab that a tile may read, though not use.
const SLACK: usize = MAX_ROWS;

impl Plan {
    fn new(
        rows: Axis,
        cols: Axis,
        groups: usize,
        c: usize,
        out: (usize, usize),
        circular: bool,
        merge: bool,
    ) -> Self {
        let copy = groups > 1 || circular || rows.leaves_source() || cols.leaves_source();
        let merge = merge && cols.is_contiguous();
        let row_len = cols.span(cols.count);
        let slots = [cols.source, row_len].map(|width| {
            let mut slots = Vec::new();
            for &(_, r) in &rows.taps {
                if merge && !cols.taps.is_empty() {
                    slots.push(r * width * c);
                } else {
                    slots.extend(cols.taps.iter().map(|&(_, col)| (r * width + col) * c));
                }
            }
            slots
        });
        let depth = if merge { cols.taps.len() * c } else { c };
        let fit = SLAB / (row_len * c).max(1);
        let halo = rows.span(1).saturating_sub(1);
        let block = (fit.saturating_sub(halo) / rows.step).max(halo + 4);
        let block = rows.count.div_ceil(rows.count.div_ceil(block).max(1)).max(1);
        Self { rows, cols, groups, c, out_c: out.0, out_w: out.1, circular, copy, slots, depth, block }
    }

    fn blocks(&self) -> usize {
        if self.cols.count == 0 { 0 } else { self.rows.count.div_ceil(self.block) }
    }

    fn block_rows(&self, block: usize) -> (usize, usize) {
        (block * self.block, self.rows.count.min((block + 1) * self.block))
    }

    /// Numbers of a source pixel, and of an image's source.
    fn source_c(&self) -> usize {
        self.groups * self.c
    }

    fn source_len(&self) -> usize {
        self.rows.source * self.cols.source * self.source_c()
    }

    /// Inner length of the product.
    fn inner(&self) -> usize {
        self.rows.taps.len() * self.cols.taps.len() * self.c
    }

    fn taps(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.rows.taps.iter().flat_map(|&(r, _)| self.cols.taps.iter().map(move |&(c, _)| (r, c)))
    }

    fn slab_len(&self) -> usize {
        self.rows.span(self.block) * self.cols.span(self.cols.count) * self.c + SLACK
    }

    /// Copies what output rows `r0..r1` see of group `g` of the source image `x`.
    #[inline(always)]
    fn fill<T: Scalar>(&self, x: &[T], g: usize, (r0, r1): (usize, usize), slab: &mut [T]) {
        let (c, ld, width) = (self.c, self.source_c(), self.cols.span(self.cols.count));
        let row_len = width * c;
        if row_len == 0 {
            return;
        }
        let (h, w) = (self.rows.source as isize, self.cols.source as isize);
        let first = self.rows.first + (r0 * self.rows.step) as isize;
        // Columns of the slab that lie inside the image.
        let left = (-self.cols.first).clamp(0, width as isize) as usize;
        let right = (w - self.cols.first).clamp(left as isize, width as isize) as usize;
        for (i, row) in slab.chunks_exact_mut(row_len).take(self.rows.span(r1 - r0)).enumerate() {
            let r = first + i as isize;
            if self.circular {
                let source = &x[r.rem_euclid(h) as usize * self.cols.source * ld..];
                for (j, pixel) in row.chunks_exact_mut(c).enumerate() {
                    let from = (self.cols.first + j as isize).rem_euclid(w) as usize * ld + g * c;
                    pixel.copy_from_slice(&source[from..from + c]);
                }
            } else if r < 0 || r >= h || left == right {
                row.fill(T::ZERO);
            } else {
                let from = (r * w + self.cols.first + left as isize) as usize * ld;
                row[..left * c].fill(T::ZERO);
                row[right * c..].fill(T::ZERO);
                let row = &mut row[left * c..right * c];
                if c == ld {
                    row.copy_from_slice(&x[from..from + row.len()]);
                } else {
                    for (j, pixel) in row.chunks_exact_mut(c).enumerate() {
                        let from = from + j * ld + g * c;
                        pixel.copy_from_slice(&x[from..from + c]);
                    }
                }
            }
        }
    }

    /// Where the rows of the block start that begins at row `r0`, when read in place.
    fn in_place(&self, r0: usize) -> usize {
        let r = self.rows.first + (r0 * self.rows.step) as isize;
        (r * self.cols.source as isize + self.cols.first) as usize * self.c
    }
}

/// A convolution of a given shape, ready to run on any number of images.
///
/// Weights are in PyTorch's order `[out_c, in_c/groups, k_h, k_w]`. `scratch` is workspace that is
/// kept from call to call; its contents do not matter.
#[derive(Clone, Debug)]
pub struct Conv {
    shape: ConvShape,
    isa: Isa,
    forward: Plan,
    /// One plan for each phase of the stride.
    backward: Vec<Plan>,
    /// For circular padding: the convolution over the padded image, without padding.
    padded: Option<Box<Conv>>,
}

impl Conv {
    /// Prepares a convolution.
    ///
    /// # Panics
    /// If the groups do not divide the channels, or a kernel size, stride, dilation or number of
    /// groups is zero: graphs check that before.
    pub fn new(shape: ConvShape) -> Self {
        Self::with_isa(shape, Isa::best())
    }

    pub(super) fn with_isa(shape: ConvShape, isa: Isa) -> Self {
        let s = &shape;
        assert!(
            s.groups > 0 && s.in_c.is_multiple_of(s.groups) && s.out_c.is_multiple_of(s.groups),
            "groups must divide channels"
        );
        assert!(
            s.k_h * s.k_w * s.stride[0] * s.stride[1] * s.dilation[0] * s.dilation[1] > 0,
            "sizes must be positive"
        );
        let (ph, pw) = (s.pad[0], s.pad[2]);
        let (oh, ow) = (s.out_h(), s.out_w());
        let ([sh, sw], [dh, dw]) = (s.stride, s.dilation);
        let merge = !s.depthwise();
        let (groups, ic, oc) = if s.depthwise() {
            (1, s.in_c, s.out_c)
        } else {
            (s.groups, s.in_c / s.groups, s.out_c / s.groups)
        };
        let forward = Plan::new(
            Axis::forward(s.in_h, ph, s.k_h, sh, dh, oh),
            Axis::forward(s.in_w, pw, s.k_w, sw, dw, ow),
            groups,
            ic,
            (oc, ow),
            s.circular,
            merge,
        );
        let mut backward = Vec::new();
        for (a, b) in (0..sh).flat_map(|a| (0..sw).map(move |b| (a, b))) {
            backward.push(Plan::new(
                Axis::backward(a, s.in_h, ph, s.k_h, sh, dh, oh),
                Axis::backward(b, s.in_w, pw, s.k_w, sw, dw, ow),
                groups,
                oc,
                (ic, s.in_w),
                false,
                merge,
            ));
        }
        let padded = s.circular.then(|| {
            let (in_h, in_w) = (s.in_h + ph + s.pad[1], s.in_w + pw + s.pad[3]);
            let shape = ConvShape { in_h, in_w, pad: [0; 4], circular: false, ..shape.clone() };
            Box::new(Self::with_isa(shape, isa))
        });
        Self { isa, forward, backward, padded, shape }
    }

    /// The shape.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// `y (+)= x * w (+ bias)` for `images` images.
    ///
    /// # Panics
    /// If a buffer is too short.
    pub fn forward<T: Scalar>(
        &self,
        images: usize,
        x: &[T],
        w: &[T],
        bias: Option<&[T]>,
        y: &mut [T],
        acc: bool,
        scratch: &mut Vec<T>,
    ) {
        self.forward_planes(images, 1, x, &[Filter { weight: w, bias }], y, acc, scratch);
    }

    /// The same with tangents: `x` has `planes` planes of `images` images, a value and tangents `ẋ_p`,
    /// and so have the filters: `y (+)= x * w`, `ẏ_p (+)= ẋ_p * w + x * ẇ_p`, where a side may be
    /// without tangents. What reads the same images does so at once.
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

    /// Gradient for the input: `dx (+)= wᵀ * dy`.
    ///
    /// # Panics
    /// If a buffer is too short.
    pub fn backward_data<T: Scalar>(
        &self,
        images: usize,
        dy: &[T],
        w: &[T],
        dx: &mut [T],
        acc: bool,
        scratch: &mut Vec<T>,
    ) {
        self.backward_data_planes(images, 1, dy, &[Filter { weight: w, bias: None }], dx, acc, scratch);
    }

    /// The same with tangents, as in [`Conv::forward_planes`].
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

    /// Matrix products over all pixels, for 1×1 kernels: all planes with the first filter, and the first
    /// plane with the others.
    fn pixels<T: Scalar>(
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

    /// Gradient for the weight: `dw (+)= Σ_images x ⋆ dy`.
    ///
    /// # Panics
    /// If a buffer is too short.
    pub fn backward_weight<T: Scalar>(
        &self,
        images: usize,
        x: &[T],
        dy: &[T],
        dw: &mut [T],
        acc: bool,
        scratch: &mut Vec<T>,
    ) {
        self.backward_weight_planes(images, 1, x, dy, &mut [dw], acc, scratch);
    }

    /// The same with tangents: `x` has `planes` planes, `dy` as many as there are results:
    /// `dw (+)= Σ x ⋆ dy`, `dẇ_p (+)= Σ x ⋆ dẏ_p + ẋ_p ⋆ dy`.
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

/// Weight and bias of a convolution.
#[derive(Clone, Copy)]
pub struct Filter<'a, T> {
    /// `[out_c, in_c/groups, k_h, k_w]`.
    pub weight: &'a [T],
    /// `[out_c]`.
    pub bias: Option<&'a [T]>,
}

impl<'a, T> Filter<'a, T> {
    /// Cut to the lengths of a shape.
    fn of(&self, s: &ConvShape) -> Self {
        Self { weight: &self.weight[..s.weight_len()], bias: self.bias.map(|b| &b[..s.out_c]) }
    }
}

/// A part of a bilinear product of planes: left plane × right plane → result.
#[derive(Clone, Copy)]
struct Term {
    left: usize,
    right: usize,
    /// Whether an earlier term has written the result.
    adds: bool,
}

impl Term {
    fn result(self) -> usize {
        self.left + self.right
    }
}

/// The terms of values and tangents, by left plane: what reads the same plane comes together.
fn terms(left: usize, right: usize) -> impl Iterator<Item = Term> {
    let first = (0..right).map(|right| Term { left: 0, right, adds: false });
    first.chain((1..left).map(move |left| Term { left, right: 0, adds: left < right }))
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

/// Distances in the weight: between output channels, inner channels, groups of the correlation.
#[derive(Clone, Copy)]
struct Order {
    out: usize,
    inner: usize,
    group: usize,
}

/// One image out of each plane.
#[derive(Clone, Copy)]
struct Images<'a, T> {
    all: &'a [T],
    image: usize,
    images: usize,
    len: usize,
}

impl<'a, T> Images<'a, T> {
    #[inline(always)]
    fn plane(&self, p: usize) -> &'a [T] {
        &self.all[(p * self.images + self.image) * self.len..][..self.len]
    }
}

/// Runs the plans on all images, in parallel over blocks of rows.
fn correlate<T: Scalar>(
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

/// Weights as panels `[group][panel][inner][width]`, from a column on; beyond the last output channel
/// zeros.
fn pack<T: Scalar>(
    plan: &Plan,
    s: &ConvShape,
    order: Order,
    w: &[T],
    out: &mut [T],
    width: usize,
    column: usize,
) {
    let (inner, panels) = (plan.inner(), plan.out_c.div_ceil(width));
    let pack = |(i, out): (usize, &mut [T])| {
        let (g, first) = (i / panels, i % panels * width);
        let n = width.min(plan.out_c - first);
        let mut rows = out.chunks_exact_mut(width);
        for (r, c) in plan.taps() {
            let from = g * order.group + first * order.out + r * s.k_w + c;
            for (i, row) in (0..plan.c).zip(&mut rows) {
                let (from, row) = (from + i * order.inner, &mut row[column..]);
                for j in 0..n {
                    row[j] = w[from + j * order.out];
                }
                row[n..].fill(T::ZERO);
            }
        }
    };
    let panel = (inner * width).max(1);
    if out.len() <= MIN_WORK / 16 {
        out.chunks_mut(panel).enumerate().for_each(pack);
    } else {
        out.par_chunks_mut(panel).enumerate().for_each(pack);
    }
}

/// Weights as `[tap][columns]`.
fn pack_depthwise<T: Scalar>(plan: &Plan, s: &ConvShape, w: &[T], out: &mut [T], columns: usize) {
    for ((r, c), row) in plan.taps().zip(out.chunks_exact_mut(columns)) {
        for (j, v) in row.iter_mut().enumerate() {
            *v = if j < s.out_c { w[(j * s.k_h + r) * s.k_w + c] } else { T::ZERO };
        }
    }
}

/// A block of output rows of one image.
struct Piece<'a, T> {
    plan: &'a Plan,
    rows: (usize, usize),
    /// Plane of `x` × filter → plane of `y`.
    terms: &'a [Term],
    x: Images<'a, T>,
    filters: &'a [Filter<'a, T>],
    y: *mut T,
    /// Numbers from a plane of `y` to the next.
    plane: usize,
    /// The first panel holds the first two filters side by side.
    paired: bool,
    acc: bool,
    slab: &'a mut [T],
}

/// Walks over the output pixels of a block, row by row.
struct Walk {
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
    fn new(p: &Plan, width: usize, r0: usize) -> Self {
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
    fn next(&mut self, n: usize, tile: usize, xs: &mut [usize; MAX_ROWS], ys: &mut [usize; MAX_ROWS]) {
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

/// As [`Piece`], with one kernel per channel: vectors hold channels.
struct Depthwise<'a, T>(Piece<'a, T>);

impl<T: Scalar> Op<T> for Depthwise<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Piece { plan, rows: (r0, r1), terms, x: images, filters, y, plane, acc, slab, .. } = self.0;
        let channels = plan.out_c;
        let slots = &plan.slots[plan.copy as usize];
        let width = if plan.copy { plan.cols.span(plan.cols.count) } else { plan.cols.source };
        let (mut xs, mut ys) = ([0; MAX_ROWS], [0; MAX_ROWS]);
        for same in terms.chunk_by(|a, b| a.left == b.left) {
            let x = images.plane(same[0].left);
            let x = if slots.is_empty() {
                ptr::null()
            } else if plan.copy {
                plan.fill(x, 0, (r0, r1), slab);
                slab.as_ptr()
            } else {
                x[plan.in_place(r0)..].as_ptr()
            };
            for term in same {
                let Filter { weight, bias } = filters[term.right];
                let columns = if slots.is_empty() { 0 } else { weight.len() / slots.len() };
                let bias = bias.filter(|_| term.left == 0).map_or(ptr::null(), <[T]>::as_ptr);
                let acc = acc || term.adds;
                let mut walk = Walk::new(plan, width, r0);
                let mut left = (r1 - r0) * plan.cols.count;
                while left > 0 {
                    let n = left.min(PIXELS);
                    walk.next(n, PIXELS, &mut xs, &mut ys);
                    for j in (0..channels).step_by(S::N) {
                        let w = weight.as_ptr().wrapping_add(j);
                        let bias = if bias.is_null() { bias } else { bias.wrapping_add(j) };
                        // SAFETY: as for `Piece`; partial vectors touch only the channels that remain.
                        unsafe {
                            let (x, y) = (x.wrapping_add(j), y.add(term.result() * plane + j));
                            let part = Pixels { slots, x, xs: &xs, w, columns, y, ys: &ys, n, acc, bias };
                            if channels - j >= S::N {
                                depthwise_pixels::<S, true>(part, S::N);
                            } else {
                                depthwise_pixels::<S, false>(part, channels - j);
                            }
                        }
                    }
                    left -= n;
                }
            }
        }
    }
}

/// Pixels that a depthwise convolution computes at once.
const PIXELS: usize = 8;

/// Some pixels and a vector of channels of a depthwise convolution.
#[derive(Clone, Copy)]
struct Pixels<'a, T> {
    slots: &'a [usize],
    x: *const T,
    xs: &'a [usize; MAX_ROWS],
    /// A row of `columns` for each slot.
    w: *const T,
    columns: usize,
    y: *mut T,
    ys: &'a [usize; MAX_ROWS],
    /// Pixels to write, at most [`PIXELS`].
    n: usize,
    acc: bool,
    /// May be null.
    bias: *const T,
}

/// `y[ys[i]..] (+)= Σ_slot x[xs[i] + slot..]·w[slot] (+ bias)` for `m` channels, a whole vector if `FULL`.
///
/// # Safety
/// `S` is available; all pixels plus slots lie in `x` (also those behind `n`), `n` pixels in `y`;
/// `w` has a row for each slot.
#[inline(always)]
unsafe fn depthwise_pixels<S: Simd, const FULL: bool>(
    Pixels { slots, x, xs, w, columns, y, ys, n, acc, bias }: Pixels<'_, S::T>,
    m: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let get = |p: *const S::T| if FULL { S::load(p) } else { S::load_part(p, m) };
        let mut sum = [S::splat(S::T::ZERO); PIXELS];
        for (t, &slot) in slots.iter().enumerate() {
            let w = S::load(w.add(t * columns));
            for i in 0..PIXELS {
                sum[i] = S::fma(get(x.add(xs[i] + slot)), w, sum[i]);
            }
        }
        for i in 0..PIXELS {
            if i >= n {
                break;
            }
            let y = y.add(ys[i]);
            let mut r = sum[i];
            if !bias.is_null() {
                r = S::add(r, get(bias));
            }
            if acc {
                r = S::add(r, get(y));
            }
            if FULL { S::store(y, r) } else { S::store_part(y, r, m) }
        }
    }
}

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
                        for j in (0..columns).step_by(S::N) {
                            if j >= plan.out_c {
                                break;
                            }
                            for (t, slots) in slots.chunks(3).enumerate() {
                                let out = partial.as_mut_ptr().add(3 * t * columns + j);
                                let xs = (x.add(j), x_row, x_col);
                                let ys = (dy.add(j), ldy);
                                let n = plan.out_c - j;
                                match *slots {
                                    [a, b, c] => depthwise_sums::<S, 3>(
                                        [a, b, c],
                                        xs,
                                        ys,
                                        (rows, cols),
                                        n,
                                        out,
                                        columns,
                                    ),
                                    [a, b] => {
                                        depthwise_sums::<S, 2>([a, b], xs, ys, (rows, cols), n, out, columns)
                                    }
                                    [a] => depthwise_sums::<S, 1>([a], xs, ys, (rows, cols), n, out, columns),
                                    _ => {}
                                }
                            }
                        }
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

/// `out[k·columns..] += Σ_pixels x[pixel + slots[k]]·dy[pixel]` for a vector of `n` channels.
///
/// # Safety
/// `S` is available; all pixels plus slots lie in `x`, all pixels in `dy`; `K` rows in `out`.
#[inline(always)]
unsafe fn depthwise_sums<S: Simd, const K: usize>(
    slots: [usize; K],
    (x, x_row, x_col): (*const S::T, usize, usize),
    (dy, ldy): (*const S::T, usize),
    (rows, cols): (usize, usize),
    n: usize,
    out: *mut S::T,
    columns: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // Two sets of sums, for even and odd columns, hide the latency of an addition.
        let mut sums = [[S::splat(S::T::ZERO); 2]; K];
        for r in 0..rows {
            for c in 0..cols {
                let y = load::<S>(dy.add((r * cols + c) * ldy), n);
                let x = x.add(r * x_row + c * x_col);
                if c % 2 == 0 {
                    for k in 0..K {
                        sums[k][0] = S::fma(load::<S>(x.add(slots[k]), n), y, sums[k][0]);
                    }
                } else {
                    for k in 0..K {
                        sums[k][1] = S::fma(load::<S>(x.add(slots[k]), n), y, sums[k][1]);
                    }
                }
            }
        }
        for k in 0..K {
            let out = out.add(k * columns);
            S::store(out, S::add(S::load(out), S::add(sums[k][0], sums[k][1])));
        }
    }
}
