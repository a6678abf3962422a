//! One thin trait over the vector instructions that the kernels need, and its instances: AVX-512,
//! AVX2 + FMA, and plain arrays for every other machine and for `f64`.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU8, Ordering};

use super::Scalar;
use super::tile::{Outer, Tile, outer, tile};

/// Instruction sets that a kernel can be compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    Portable,
    Avx2,
    Avx512,
}

impl Isa {
    /// The best one of this machine, detected once.
    #[inline]
    pub fn best() -> Self {
        static BEST: AtomicU8 = AtomicU8::new(u8::MAX);
        match BEST.load(Ordering::Relaxed) {
            0 => Self::Portable,
            1 => Self::Avx2,
            2 => Self::Avx512,
            _ => {
                let best = *Self::available().last().unwrap_or(&Self::Portable);
                BEST.store(best as u8, Ordering::Relaxed);
                best
            }
        }
    }

    /// All that this machine can run, the best one last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "only x86 has more than one")]
        let mut all = vec![Self::Portable];
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self::Avx2);
                let v4 = is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl");
                if v4 {
                    all.push(Self::Avx512);
                }
            }
        }
        all
    }
}

/// A computation that is compiled once for each instruction set. `run` must be `inline(always)`.
pub trait Op<T> {
    type Out;
    /// # Safety
    /// The machine must have the instructions of `S`.
    unsafe fn run<S: Simd<T = T>>(self) -> Self::Out;
}

/// Vectors of `N` numbers.
///
/// # Safety
/// Every method needs the instructions of the type; loads and stores need valid memory. The
/// methods carry no safety text of their own.
#[allow(clippy::missing_safety_doc, reason = "stated once, for all of them")]
pub trait Simd: Copy + 'static {
    type T: Scalar;
    type V: Copy;
    const N: usize;
    /// Rows of the largest [`Outer`] tile that is one vector wide; one of two has half as many.
    const OUTER: usize;
    unsafe fn splat(x: Self::T) -> Self::V;
    unsafe fn load(p: *const Self::T) -> Self::V;
    unsafe fn store(p: *mut Self::T, v: Self::V);
    /// The first `n < N` numbers; zeros behind them.
    unsafe fn load_part(p: *const Self::T, n: usize) -> Self::V;
    unsafe fn store_part(p: *mut Self::T, v: Self::V, n: usize);
    /// `a·b + c`, fused where the machine can.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// Sum of all lanes, in a fixed order.
    unsafe fn sum(v: Self::V) -> Self::T;
    /// Four columns of a row-major block of `N` rows that are `ld` apart.
    unsafe fn columns(p: *const Self::T, ld: usize) -> [Self::V; 4];
    /// Computes up to [`Self::rows`] rows of a tile; returns nothing that depends on how many at once.
    unsafe fn tile(t: &Tile<'_, Self::T>);
    /// Rows that one call of [`Self::tile`] takes when `left` remain.
    fn rows(nv: usize, left: usize) -> usize;
    unsafe fn outer(t: &Outer<Self::T>);
}

/// Vectors per panel for `n` output columns.
#[inline(always)]
pub(super) fn vectors<S: Simd>(n: usize) -> usize {
    if n > S::N { 2 } else { 1 }
}

/// Arrays that the compiler may vectorise; correct everywhere.
#[derive(Clone, Copy)]
pub struct Portable<T>(PhantomData<T>);

const LANES: usize = 8;

impl<T: Scalar> Simd for Portable<T> {
    type T = T;
    type V = [T; LANES];
    const N: usize = LANES;
    const OUTER: usize = 4;
    #[inline(always)]
    unsafe fn splat(x: T) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(p: *const T) -> Self::V {
        // SAFETY: the caller promises `N` readable numbers.
        unsafe { p.cast::<[T; LANES]>().read() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut T, v: Self::V) {
        // SAFETY: the caller promises `N` writable numbers.
        unsafe { p.cast::<[T; LANES]>().write(v) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const T, n: usize) -> Self::V {
        let mut v = [T::ZERO; LANES];
        for i in 0..n {
            // SAFETY: the caller promises `n` readable numbers.
            v[i] = unsafe { *p.add(i) };
        }
        v
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut T, v: Self::V, n: usize) {
        for i in 0..n {
            // SAFETY: the caller promises `n` writable numbers.
            unsafe { *p.add(i) = v[i] };
        }
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn sum(v: Self::V) -> T {
        v.into_iter().fold(T::ZERO, |s, x| s + x)
    }
    #[inline(always)]
    unsafe fn columns(p: *const T, ld: usize) -> [Self::V; 4] {
        // SAFETY: the caller promises `N` rows of four numbers.
        std::array::from_fn(|c| std::array::from_fn(|r| unsafe { *p.add(r * ld + c) }))
    }
    #[inline(always)]
    fn rows(nv: usize, left: usize) -> usize {
        left.min(4 / nv)
    }
    #[inline(always)]
    unsafe fn tile(t: &Tile<'_, T>) {
        // SAFETY: the caller's promise is the same.
        unsafe {
            match t.nv {
                1 => tile::<Self, 4, 1>(t),
                _ => tile::<Self, 2, 2>(t),
            }
        }
    }
    #[inline(always)]
    unsafe fn outer(t: &Outer<T>) {
        // SAFETY: the caller's promise is the same.
        unsafe {
            match t.nv {
                1 => outer::<Self, 4, 1>(t),
                _ => outer::<Self, 2, 2>(t),
            }
        }
    }
}

/// Writes the instance for `f32` vectors of one x86 extension: the two instances differ only in
/// names and tile sizes.
#[cfg(target_arch = "x86_64")]
macro_rules! x86 {
    ($name:ident, $v:ident, $n:literal, $set1:ident, $loadu:ident, $storeu:ident, $fmadd:ident, $add:ident,
     $mul:ident, [$big1:literal, $big2:literal, $small1:literal, $small2:literal], outer [$o1:literal, $o2:literal; $m1:literal, $m2:literal],
     load_part $load_part:expr, store_part $store_part:expr, sum $sum:expr, strided4 $strided:expr, transpose4 $transpose:expr) => {
        #[derive(Clone, Copy)]
        pub(super) struct $name;

        // SAFETY of every block below: the caller promises the instructions and the memory.
        #[allow(clippy::undocumented_unsafe_blocks, reason = "stated once, for all of them")]
        impl Simd for $name {
            type T = f32;
            type V = $v;
            const N: usize = $n;
            const OUTER: usize = $o1;
            #[inline(always)]
            unsafe fn splat(x: f32) -> $v {
                unsafe { $set1(x) }
            }
            #[inline(always)]
            unsafe fn load(p: *const f32) -> $v {
                unsafe { $loadu(p) }
            }
            #[inline(always)]
            unsafe fn store(p: *mut f32, v: $v) {
                unsafe { $storeu(p, v) }
            }
            #[inline(always)]
            unsafe fn load_part(p: *const f32, n: usize) -> $v {
                unsafe { $load_part(p, n) }
            }
            #[inline(always)]
            unsafe fn store_part(p: *mut f32, v: $v, n: usize) {
                unsafe { $store_part(p, v, n) }
            }
            #[inline(always)]
            unsafe fn fma(a: $v, b: $v, c: $v) -> $v {
                unsafe { $fmadd(a, b, c) }
            }
            #[inline(always)]
            unsafe fn add(a: $v, b: $v) -> $v {
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            unsafe fn mul(a: $v, b: $v) -> $v {
                unsafe { $mul(a, b) }
            }
            #[inline(always)]
            unsafe fn sum(v: $v) -> f32 {
                unsafe { $sum(v) }
            }
            #[inline(always)]
            unsafe fn columns(p: *const f32, ld: usize) -> [$v; 4] {
                // Row r, r + 4, … side by side, then four-by-four transpositions within 128 bits.
                unsafe {
                    let r: [$v; 4] = [
                        $strided(p, 4 * ld),
                        $strided(p.add(ld), 4 * ld),
                        $strided(p.add(2 * ld), 4 * ld),
                        $strided(p.add(3 * ld), 4 * ld),
                    ];
                    $transpose(r)
                }
            }
            #[inline(always)]
            fn rows(nv: usize, left: usize) -> usize {
                let (big, small) = if nv == 1 { ($big1, $small1) } else { ($big2, $small2) };
                left.min(if left > big - small { big } else { small })
            }
            #[inline(always)]
            unsafe fn tile(t: &Tile<'_, f32>) {
                unsafe {
                    match (t.nv, t.rows) {
                        (1, ..=$small1) => tile::<Self, $small1, 1>(t),
                        (1, _) => tile::<Self, $big1, 1>(t),
                        (_, ..=$small2) => tile::<Self, $small2, 2>(t),
                        _ => tile::<Self, $big2, 2>(t),
                    }
                }
            }
            #[inline(always)]
            unsafe fn outer(t: &Outer<f32>) {
                unsafe {
                    match (t.nv, t.height) {
                        (1, ..=4) => outer::<Self, 4, 1>(t),
                        (1, ..=$m1) => outer::<Self, $m1, 1>(t),
                        (1, _) => outer::<Self, $o1, 1>(t),
                        (_, ..=2) => outer::<Self, 2, 2>(t),
                        (_, ..=$m2) => outer::<Self, $m2, 2>(t),
                        _ => outer::<Self, $o2, 2>(t),
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;
    use std::arch::x86_64::*;

    x86!(
        Avx512, __m512, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, _mm512_add_ps,
        _mm512_mul_ps, [24, 12, 8, 4], outer [16, 8; 8, 4],
        load_part |p, n| _mm512_maskz_loadu_ps((1u16 << n) - 1, p),
        store_part |p, v, n| _mm512_mask_storeu_ps(p, (1u16 << n) - 1, v),
        sum |v| _mm512_reduce_add_ps(v),
        strided4 |p: *const f32, ld: usize| {
            let v = _mm512_castps128_ps512(_mm_loadu_ps(p));
            let v = _mm512_insertf32x4::<1>(v, _mm_loadu_ps(p.add(ld)));
            let v = _mm512_insertf32x4::<2>(v, _mm_loadu_ps(p.add(2 * ld)));
            _mm512_insertf32x4::<3>(v, _mm_loadu_ps(p.add(3 * ld)))
        },
        transpose4 |r: [__m512; 4]| {
            let (a, b) = (_mm512_unpacklo_ps(r[0], r[1]), _mm512_unpackhi_ps(r[0], r[1]));
            let (c, d) = (_mm512_unpacklo_ps(r[2], r[3]), _mm512_unpackhi_ps(r[2], r[3]));
            [
                _mm512_shuffle_ps::<0x44>(a, c),
                _mm512_shuffle_ps::<0xee>(a, c),
                _mm512_shuffle_ps::<0x44>(b, d),
                _mm512_shuffle_ps::<0xee>(b, d),
            ]
        }
    );

    /// Lanes below `n` set.
    #[inline(always)]
    unsafe fn mask8(n: usize) -> __m256i {
        // SAFETY: the caller has AVX2.
        unsafe {
            let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lane)
        }
    }

    x86!(
        Avx2, __m256, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, _mm256_add_ps,
        _mm256_mul_ps, [8, 6, 4, 2], outer [12, 6; 8, 4],
        load_part |p, n| _mm256_maskload_ps(p, mask8(n)),
        store_part |p, v, n| _mm256_maskstore_ps(p, mask8(n), v),
        sum |v| {
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps::<1>(v, v)))
        },
        strided4 |p: *const f32, ld: usize| {
            let v = _mm256_castps128_ps256(_mm_loadu_ps(p));
            _mm256_insertf128_ps::<1>(v, _mm_loadu_ps(p.add(ld)))
        },
        transpose4 |r: [__m256; 4]| {
            let (a, b) = (_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpackhi_ps(r[0], r[1]));
            let (c, d) = (_mm256_unpacklo_ps(r[2], r[3]), _mm256_unpackhi_ps(r[2], r[3]));
            [
                _mm256_shuffle_ps::<0x44>(a, c),
                _mm256_shuffle_ps::<0xee>(a, c),
                _mm256_shuffle_ps::<0x44>(b, d),
                _mm256_shuffle_ps::<0xee>(b, d),
            ]
        }
    );

    /// # Safety
    /// The machine must have AVX-512 F, BW, DQ and VL.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub unsafe fn run_avx512<O: Op<f32>>(op: O) -> O::Out {
        // SAFETY: as promised by the caller.
        unsafe { op.run::<Avx512>() }
    }

    /// # Safety
    /// The machine must have AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn run_avx2<O: Op<f32>>(op: O) -> O::Out {
        // SAFETY: as promised by the caller.
        unsafe { op.run::<Avx2>() }
    }

    /// # Safety
    /// The machine must have AVX-512 F, BW, DQ and VL.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub unsafe fn call_avx512<R>(f: impl FnOnce() -> R) -> R {
        f()
    }

    /// # Safety
    /// The machine must have AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn call_avx2<R>(f: impl FnOnce() -> R) -> R {
        f()
    }
}

/// Runs `op` with `f32` vectors of `isa`.
#[inline(always)]
pub(super) fn run_f32<O: Op<f32>>(isa: Isa, op: O) -> O::Out {
    match isa {
        // SAFETY: an `Isa` comes from `Isa::available`, hence the machine has it.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { x86::run_avx512(op) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { x86::run_avx2(op) },
        _ => run_portable(op),
    }
}

/// Runs `op` on plain arrays.
#[inline(always)]
pub(super) fn run_portable<T: Scalar, O: Op<T>>(op: O) -> O::Out {
    // SAFETY: `Portable` needs no special instructions.
    unsafe { op.run::<Portable<T>>() }
}

/// Runs a closure compiled with the best vector instructions of this machine, so that plain loops
/// inside it vectorise with AVX2 or AVX-512 although the program is built for any x86-64.
///
/// The body must end up *inlined* here: keep it small, or write `vectorize(#[inline(always)] || …)`
/// and mark what it calls `#[inline(always)]`. Rust never contracts `a * b + c` into a fused
/// operation and never reorders sums, so elementwise code gives the same bits on every machine.
#[inline]
pub fn vectorize<R>(f: impl FnOnce() -> R) -> R {
    match Isa::best() {
        // SAFETY: `Isa::best` has detected the instructions.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { x86::call_avx512(f) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { x86::call_avx2(f) },
        _ => f(),
    }
}
