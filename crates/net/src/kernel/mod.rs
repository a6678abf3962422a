//! PLACEHOLDER kernels (naive, correct); being replaced by the fast ones with the same signatures.
use rayon::prelude::*;
use thalweg_core::Real;
pub trait Scalar: Real {
    fn exp_fast(self) -> Self { Self::from_f64(self.to_f64().exp()) }
    fn ln_fast(self) -> Self { Self::from_f64(self.to_f64().ln()) }
    fn tanh_fast(self) -> Self { Self::from_f64(self.to_f64().tanh()) }
    fn sigmoid_fast(self) -> Self { Self::from_f64(1.0 / (1.0 + (-self.to_f64()).exp())) }
    fn erf_fast(self) -> Self { Self::from_f64(libm::erf(self.to_f64())) }
}
impl Scalar for f32 {}
impl Scalar for f64 {}
pub fn vectorize<R>(f: impl FnOnce() -> R) -> R { f() }
pub fn matmul<T: Scalar>(m: usize, n: usize, k: usize, a: &[T], ta: bool, b: &[T], tb: bool, c: &mut [T], acc: bool) {
    for i in 0..m { for j in 0..n {
        let mut s = T::ZERO;
        for l in 0..k { s += (if ta { a[l*m+i] } else { a[i*k+l] }) * (if tb { b[j*k+l] } else { b[l*n+j] }); }
        c[i*n+j] = if acc { c[i*n+j] + s } else { s };
    }}
}
pub fn batched_matmul<T: Scalar>(batches: usize, m: usize, n: usize, k: usize, a: &[T], lda: usize, sa: usize, ta: bool, b: &[T], ldb: usize, sb: usize, tb: bool, c: &mut [T], ldc: usize, sc: usize, acc: bool, alpha: T) {
    for q in 0..batches { for i in 0..m { for j in 0..n {
        let mut s = T::ZERO;
        for l in 0..k { s += (if ta { a[q*sa+l*lda+i] } else { a[q*sa+i*lda+l] }) * (if tb { b[q*sb+j*ldb+l] } else { b[q*sb+l*ldb+j] }); }
        let o = q*sc+i*ldc+j;
        c[o] = if acc { c[o] + alpha*s } else { alpha*s };
    }}}
}
#[derive(Clone, Debug)]
pub struct ConvShape { pub in_h: usize, pub in_w: usize, pub in_c: usize, pub out_c: usize, pub k_h: usize, pub k_w: usize, pub stride: [usize;2], pub dilation: [usize;2], pub groups: usize, pub pad: [usize;4], pub circular: bool }
impl ConvShape {
    pub fn out_h(&self) -> usize { (self.in_h + self.pad[0] + self.pad[1] - self.dilation[0]*(self.k_h-1) - 1) / self.stride[0] + 1 }
    pub fn out_w(&self) -> usize { (self.in_w + self.pad[2] + self.pad[3] - self.dilation[1]*(self.k_w-1) - 1) / self.stride[1] + 1 }
    fn each(&self, mut f: impl FnMut(usize, usize, usize)) { // x index, w index, y index within an image
        let (ig, og) = (self.in_c/self.groups, self.out_c/self.groups);
        let at = |o: usize, k: usize, s: usize, d: usize, p: usize, n: usize| { let i = (o*s + k*d) as isize - p as isize; if self.circular { Some(i.rem_euclid(n as isize) as usize) } else if i >= 0 && i < n as isize { Some(i as usize) } else { None } };
        for oh in 0..self.out_h() { for ow in 0..self.out_w() { for kh in 0..self.k_h { for kw in 0..self.k_w {
            let (Some(h), Some(w)) = (at(oh,kh,self.stride[0],self.dilation[0],self.pad[0],self.in_h), at(ow,kw,self.stride[1],self.dilation[1],self.pad[2],self.in_w)) else { continue };
            for o in 0..self.out_c { for i in 0..ig {
                f((h*self.in_w+w)*self.in_c + o/og*ig + i, ((o*ig+i)*self.k_h+kh)*self.k_w+kw, (oh*self.out_w()+ow)*self.out_c+o);
            }}
        }}}}
    }
}
#[derive(Clone, Debug)]
pub struct Conv { shape: ConvShape }
impl Conv {
    pub fn new(shape: ConvShape) -> Self { Self { shape } }
    pub fn forward<T: Scalar>(&self, images: usize, x: &[T], w: &[T], bias: Option<&[T]>, y: &mut [T], acc: bool, _: &mut Vec<T>) {
        let (nx, ny) = (x.len()/images, y.len()/images);
        y.par_chunks_mut(ny).zip(x.par_chunks(nx)).for_each(|(y, x)| {
            if !acc { y.fill(T::ZERO); }
            if let Some(b) = bias { for row in y.chunks_mut(b.len()) { row.iter_mut().zip(b).for_each(|(y,b)| *y += *b); } }
            self.shape.each(|i,j,o| y[o] += x[i]*w[j]);
        });
    }
    pub fn backward_data<T: Scalar>(&self, images: usize, dy: &[T], w: &[T], dx: &mut [T], acc: bool, _: &mut Vec<T>) {
        let (nx, ny) = (dx.len()/images, dy.len()/images);
        dx.par_chunks_mut(nx).zip(dy.par_chunks(ny)).for_each(|(dx, dy)| {
            if !acc { dx.fill(T::ZERO); }
            self.shape.each(|i,j,o| dx[i] += dy[o]*w[j]);
        });
    }
    pub fn backward_weight<T: Scalar>(&self, images: usize, x: &[T], dy: &[T], dw: &mut [T], acc: bool, _: &mut Vec<T>) {
        let (nx, ny) = (x.len()/images, dy.len()/images);
        if !acc { dw.fill(T::ZERO); }
        for (x, dy) in x.chunks(nx).zip(dy.chunks(ny)) { self.shape.each(|i,j,o| dw[j] += dy[o]*x[i]); }
    }
}
pub fn column_sums<T: Scalar>(x: &[T], rows: usize, cols: usize) -> Vec<f64> {
    let mut s = vec![0.0; cols];
    for r in 0..rows { for c in 0..cols { s[c] += x[r*cols+c].to_f64(); } }
    s
}
