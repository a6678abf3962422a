use super::shape::{cells, fail, sequence};
use super::softmax::{softmax_row, softmax_row_backward};
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Memory, Operation, Place, lanes};
use crate::kernel::{Scalar, batched_matmul};
use crate::loops::rows;
use crate::num::Num;
use crate::op;
use crate::planes::{Planes, PlanesMut};

impl Operation for op::Attention {
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        let ([length, c], heads) = (sequence(ins[0])?, self.heads);
        if heads == 0 || !c.is_multiple_of(3) || !(c / 3).is_multiple_of(heads) {
            return fail(format!("{c} channels are not query, key and value of {heads} heads"));
        }
        Ok(vec![length, c / 3])
    }
    fn macs(&self, _: &[usize], y: &[usize]) -> u64 {
        2 * cells(y) as u64 * y[0] as u64
    }
    fn memory(&self, y: &[usize], planes: usize) -> Memory {
        let weights = self.heads * y[0].pow(2) * planes;
        Memory { saved: weights, scratch: 2 * weights, index: 0 }
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        let (length, width) = (at.y[0], at.y[1]);
        Box::new(Attention { length, width, heads: self.heads, causal: self.causal })
    }
}

/// Scaled dot-product attention of several heads: `softmax(Q Kᵀ/√d) V` for each.
struct Attention {
    length: usize,
    width: usize,
    heads: usize,
    causal: bool,
}

/// One matrix per example inside a larger buffer, perhaps transposed.
#[derive(Clone, Copy)]
struct Mats<'a, T> {
    planes: Planes<'a, T>,
    offset: usize,
    ld: usize,
    stride: usize,
    transposed: bool,
}

impl<T: Scalar> Mats<'_, T> {
    fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }
}

/// `C (+)= A·B` with the product rule for the tangents; `C` starts at `offset` of each plane.
fn product<T: Scalar>(
    cx: &Cx<'_, T>,
    (m, n, k): (usize, usize, usize),
    a: Mats<'_, T>,
    b: Mats<'_, T>,
    c: &mut PlanesMut<'_, T>,
    (offset, ld, stride): (usize, usize, usize),
) {
    let one = |x: &[T], y: &[T], out: &mut [T], acc: bool| {
        let (x, y) = (&x[a.offset..], &y[b.offset..]);
        let (ta, tb) = (a.transposed, b.transposed);
        let out = &mut out[offset..];
        batched_matmul(
            cx.batch,
            m,
            n,
            k,
            x,
            a.ld,
            a.stride,
            ta,
            y,
            b.ld,
            b.stride,
            tb,
            out,
            ld,
            stride,
            acc,
            T::ONE,
        );
    };
    let acc = c.acc;
    one(a.planes.value(), b.planes.value(), c.value(), acc);
    for p in 0..cx.r {
        let mut acc = acc;
        if let Some(t) = a.planes.tangent(p) {
            one(t, b.planes.value(), c.tangent(p), acc);
            acc = true;
        }
        if let Some(t) = b.planes.tangent(p) {
            one(a.planes.value(), t, c.tangent(p), acc);
        }
    }
}

impl Attention {
    fn d(&self) -> usize {
        self.width / self.heads
    }

    fn scale<T: Scalar>(&self) -> T {
        T::from_f64(1.0 / (self.d() as f64).sqrt())
    }

    /// Query (0), key (1) or value (2) of head `h`.
    fn part<'a, T: Scalar>(&self, x: Planes<'a, T>, which: usize, h: usize) -> Mats<'a, T> {
        let (offset, ld, stride) = self.place(which, h);
        Mats { planes: x, offset, ld, stride, transposed: false }
    }

    /// Its offset, row length and distance between examples.
    fn place(&self, which: usize, h: usize) -> (usize, usize, usize) {
        let ld = 3 * self.width;
        (which * self.width + h * self.d(), ld, self.length * ld)
    }

    /// Attention weights of head `h`.
    fn weights<'a, T: Scalar>(&self, planes: Planes<'a, T>, h: usize) -> Mats<'a, T> {
        let square = self.length * self.length;
        let offset = h * (planes.len / self.heads);
        Mats { planes, offset, ld: self.length, stride: square, transposed: false }
    }

    fn output<'a, T: Scalar>(&self, planes: Planes<'a, T>, h: usize) -> Mats<'a, T> {
        Mats {
            planes,
            offset: h * self.d(),
            ld: self.width,
            stride: self.length * self.width,
            transposed: false,
        }
    }

    fn softmax<T: Scalar, N: Num<T>>(&self, s: Planes<'_, T>, w: &mut PlanesMut<'_, T>, p: usize) {
        let (l, s) = (self.length, s.lane::<N>(p));
        rows::<T, N>(
            w.lane::<N>(p),
            l,
            #[inline(always)]
            |first, v, t| {
                let seen = if self.causal { first / l % l + 1 } else { l };
                let (v, rest) = v.split_at_mut(seen);
                rest.fill(T::ZERO);
                let (t, rest) = if N::DUAL { t.split_at_mut(seen) } else { (t, &mut [][..]) };
                rest.fill(T::ZERO);
                softmax_row::<T, N>(s.slice(first..first + seen), v, t, self.scale());
            },
        );
    }

    fn softmax_backward<T: Scalar, N: Num<T>>(
        &self,
        w: Planes<'_, T>,
        dw: Planes<'_, T>,
        ds: &mut PlanesMut<'_, T>,
        p: usize,
    ) {
        let (l, w, dw) = (self.length, w.lane::<N>(p), dw.lane::<N>(p));
        rows::<T, N>(
            ds.lane::<N>(p),
            l,
            #[inline(always)]
            |first, v, t| {
                let row = first..first + l;
                softmax_row_backward::<T, N>(
                    w.slice(row.clone()),
                    dw.slice(row),
                    v,
                    t,
                    self.scale(),
                    false,
                    p,
                );
            },
        );
    }
}

impl<T: Scalar> Layer<T> for Attention {
    fn forward(&self, cx: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, cache: &mut Cache<T>) {
        let (l, x) = (self.length, x[0]);
        let len = cx.batch * self.heads * l * l;
        cache.scratch.resize((1 + cx.r) * len, T::ZERO);
        cache.saved.resize((1 + cx.r) * len, T::ZERO);
        let mut scores = PlanesMut { data: &mut cache.scratch, len, acc: false };
        for h in 0..self.heads {
            let place = (h * cx.batch * l * l, l, l * l);
            product(cx, (l, l, self.d()), self.part(x, 0, h), self.part(x, 1, h).t(), &mut scores, place);
        }
        let scores = Planes { data: &cache.scratch, len, zeros: cx.zeros };
        let weights = &mut PlanesMut { data: &mut cache.saved, len, acc: false };
        lanes!(cx, T, p => self.softmax(scores, weights, p));
        let weights = Planes { data: &cache.saved, len, zeros: cx.zeros };
        for h in 0..self.heads {
            let place = (h * self.d(), self.width, l * self.width);
            product(cx, (l, self.d(), l), self.weights(weights, h), self.part(x, 2, h), y, place);
        }
    }

    fn backward(
        &self,
        cx: &Cx<'_, T>,
        io: Io<'_, '_, T>,
        _: Option<&mut Grads<'_, T>>,
        cache: &mut Cache<T>,
    ) {
        let (l, d, x) = (self.length, self.d(), io.x[0]);
        let Some(dx) = &mut io.dx[0] else { return };
        let len = cx.batch * self.heads * l * l;
        // Scratch: cotangents of the weights, then of the scores.
        cache.scratch.resize(2 * (1 + cx.r) * len, T::ZERO);
        let (dw, ds) = cache.scratch.split_at_mut((1 + cx.r) * len);
        let mut dw = PlanesMut { data: dw, len, acc: false };
        let weights = Planes { data: &cache.saved, len, zeros: cx.zeros };
        for h in 0..self.heads {
            let dy = self.output(io.dy, h);
            product(cx, (l, l, d), dy, self.part(x, 2, h).t(), &mut dw, (h * cx.batch * l * l, l, l * l));
            product(cx, (l, d, l), self.weights(weights, h).t(), dy, dx, self.place(2, h));
        }
        let dw = Planes { data: dw.data, len, zeros: cx.zeros };
        let ds_mut = &mut PlanesMut { data: &mut *ds, len, acc: false };
        lanes!(cx, T, p => self.softmax_backward(weights, dw, ds_mut, p));
        let ds = Planes { data: ds, len, zeros: cx.zeros };
        for h in 0..self.heads {
            let ds = self.weights(ds, h);
            for (which, a, other) in [(0, ds, 1), (1, ds.t(), 0)] {
                product(cx, (l, d, l), a, self.part(x, other, h), dx, self.place(which, h));
            }
        }
    }
}
