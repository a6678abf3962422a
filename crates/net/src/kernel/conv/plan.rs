use crate::kernel::Scalar;
use crate::kernel::tile::MAX_ROWS;

/// One axis of a correlation: output `first_out + i·step_out`, `i < count`, sees for each
/// `(tap, offset)` the source position `first + i·step + offset`.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub first: isize,
    pub step: usize,
    pub taps: Vec<(usize, usize)>,
    pub first_out: usize,
    pub step_out: usize,
    pub count: usize,
    pub source: usize,
}

impl Axis {
    pub fn forward(
        source: usize,
        pad: usize,
        k: usize,
        stride: usize,
        dilation: usize,
        count: usize,
    ) -> Self {
        let taps = (0..k).map(|t| (t, t * dilation)).collect();
        Self { first: -(pad as isize), step: stride, taps, first_out: 0, step_out: 1, count, source }
    }

    /// Gradient for the input positions `i` with `i + pad ≡ phase (mod stride)`: there
    /// `i + pad = phase + stride·j`, and tap `t` with `t·dilation = phase + stride·e` sees output `j − e`.
    pub fn backward(
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
    pub fn span(&self, count: usize) -> usize {
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
pub(super) struct Plan {
    pub rows: Axis,
    pub cols: Axis,
    pub groups: usize,
    /// Channels per group of source and output, and channels per pixel of the output.
    pub c: usize,
    pub out_c: usize,
    pub out_w: usize,
    pub circular: bool,
    /// The source must be copied (padding or groups); otherwise it may be read in place.
    pub copy: bool,
    /// Where the runs of a pixel start, when read in place and in a slab, and their length.
    pub slots: [Vec<usize>; 2],
    pub depth: usize,
    /// Rows per block, so that a slab stays in the first-level cache.
    pub block: usize,
}

/// Numbers of a slab that stay in the first-level cache beside the rest.
const SLAB: usize = 6 * 1024;
/// Numbers behind a slab that a tile may read, though not use.
const SLACK: usize = MAX_ROWS;

impl Plan {
    pub fn new(
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

    pub fn blocks(&self) -> usize {
        if self.cols.count == 0 { 0 } else { self.rows.count.div_ceil(self.block) }
    }

    pub fn block_rows(&self, block: usize) -> (usize, usize) {
        (block * self.block, self.rows.count.min((block + 1) * self.block))
    }

    /// Numbers of a source pixel, and of an image's source.
    fn source_c(&self) -> usize {
        self.groups * self.c
    }

    pub fn source_len(&self) -> usize {
        self.rows.source * self.cols.source * self.source_c()
    }

    /// Inner length of the product.
    pub fn inner(&self) -> usize {
        self.rows.taps.len() * self.cols.taps.len() * self.c
    }

    pub fn taps(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.rows.taps.iter().flat_map(|&(r, _)| self.cols.taps.iter().map(move |&(c, _)| (r, c)))
    }

    pub fn slab_len(&self) -> usize {
        self.rows.span(self.block) * self.cols.span(self.cols.count) * self.c + SLACK
    }

    /// Copies what output rows `r0..r1` see of group `g` of the source image `x`.
    #[inline(always)]
    pub fn fill<T: Scalar>(&self, x: &[T], g: usize, (r0, r1): (usize, usize), slab: &mut [T]) {
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
    pub fn in_place(&self, r0: usize) -> usize {
        let r = self.rows.first + (r0 * self.rows.step) as isize;
        (r * self.cols.source as isize + self.cols.first) as usize * self.c
    }
}
