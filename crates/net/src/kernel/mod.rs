//! CPU kernels: matrix products, convolutions, elementary functions, deterministic reductions.
//!
//! All buffers are contiguous and row-major, images channels last. Functions with an `acc` argument
//! add to their output where it is true and overwrite it where it is false. All of them run in
//! parallel on rayon's current pool; the work is cut by shapes alone and partial sums are added in
//! a fixed order, so that results do not depend on the number of threads. They may differ in the
//! last bits between machines with different vector instructions (fused or separate rounding).
//!
//! This is the only place of the crate with unsafe code: vector instructions, and tiles of one
//! buffer written by several threads.

mod conv;
mod math;
mod matmul;
mod par;
mod simd;
mod tile;

#[cfg(test)]
mod tests;

pub use conv::{Conv, ConvShape, Filter};
pub use matmul::{batched_matmul, matmul, matmul_bias};
pub use par::{column_sums, for_chunks, par_rows};
pub use simd::vectorize;

mod sealed {
    use super::simd::{Isa, Op};

    /// What the kernels need of a number type.
    pub trait Kernel: Sized {
        /// Runs `op` with the vectors of `isa`.
        fn run<O: Op<Self>>(isa: Isa, op: O) -> O::Out;
        /// Lends `len` numbers of the calling thread's workspace, aligned to a cache line, with
        /// arbitrary contents.
        fn with_buffer<R>(len: usize, f: impl FnOnce(&mut [Self]) -> R) -> R;
    }
}
use sealed::Kernel;

/// A number type that the kernels compute with: `f32` (vectorised by hand) or `f64` (for tests and
/// small scientific problems).
///
/// The `_fast` functions are branch-free for `f32`, so that loops over them vectorise inside
/// [`vectorize`]; accurate to about two units in the last place, and at ±∞ and NaN what one expects.
pub trait Scalar: thalweg_core::Real + Kernel {
    /// eˣ.
    fn exp_fast(self) -> Self;
    /// Natural logarithm.
    fn ln_fast(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh_fast(self) -> Self;
    /// Logistic function 1/(1 + e⁻ˣ).
    fn sigmoid_fast(self) -> Self;
    /// Error function; for `f32` within 1.5e-7 absolutely.
    fn erf_fast(self) -> Self;
}

macro_rules! kernel {
    ($t:ty, $run:path) => {
        impl Kernel for $t {
            #[inline(always)]
            fn run<O: simd::Op<Self>>(isa: simd::Isa, op: O) -> O::Out {
                $run(isa, op)
            }
            fn with_buffer<R>(len: usize, f: impl FnOnce(&mut [Self]) -> R) -> R {
                use std::cell::Cell;
                thread_local!(static BUFFER: Cell<Vec<$t>> = const { Cell::new(Vec::new()) });
                const LINE: usize = 64;
                // Taken out while lent: a nested call simply makes its own.
                let mut buffer = BUFFER.take();
                if buffer.len() < len + LINE {
                    buffer.resize(len + LINE, 0.0);
                }
                let start = buffer.as_ptr().align_offset(LINE).min(LINE);
                let result = f(&mut buffer[start..start + len]);
                BUFFER.set(buffer);
                result
            }
        }
    };
}
kernel!(f32, simd::run_f32);
kernel!(f64, run_f64);

#[inline(always)]
fn run_f64<O: simd::Op<f64>>(_: simd::Isa, op: O) -> O::Out {
    simd::run_portable(op)
}

impl Scalar for f32 {
    #[inline(always)]
    fn exp_fast(self) -> Self {
        math::exp(self)
    }
    #[inline(always)]
    fn ln_fast(self) -> Self {
        math::ln(self)
    }
    #[inline(always)]
    fn tanh_fast(self) -> Self {
        math::tanh(self)
    }
    #[inline(always)]
    fn sigmoid_fast(self) -> Self {
        math::sigmoid(self)
    }
    #[inline(always)]
    fn erf_fast(self) -> Self {
        math::erf(self)
    }
}

impl Scalar for f64 {
    #[inline(always)]
    fn exp_fast(self) -> Self {
        self.exp()
    }
    #[inline(always)]
    fn ln_fast(self) -> Self {
        self.ln()
    }
    #[inline(always)]
    fn tanh_fast(self) -> Self {
        self.tanh()
    }
    #[inline(always)]
    fn sigmoid_fast(self) -> Self {
        let e = (-self.abs()).exp();
        (if self < 0.0 { e } else { 1.0 }) / (1.0 + e)
    }
    #[inline(always)]
    fn erf_fast(self) -> Self {
        libm::erf(self)
    }
}
