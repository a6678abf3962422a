use super::random;
use crate::kernel::simd::{Isa, Op, Simd};
use crate::kernel::{Kernel, Scalar, vectorize};

/// The basic operations of every instruction set.
struct Basics;
impl<T: Scalar> Op<T> for Basics {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let x: Vec<T> = random(S::N * 6, 1);
        let mut y = vec![T::ZERO; S::N];
        // SAFETY: all accesses are to the `6·N` numbers of `x` or the `N` of `y`.
        unsafe {
            let (a, b) = (S::load(x.as_ptr()), S::load(x[S::N..].as_ptr()));
            S::store(y.as_mut_ptr(), S::fma(a, b, S::splat(T::ONE)));
            for i in 0..S::N {
                assert!((y[i].to_f64() - (x[i].to_f64() * x[S::N + i].to_f64() + 1.0)).abs() < 1e-6);
            }
            for n in 0..S::N {
                y.fill(T::ONE);
                S::store_part(y.as_mut_ptr(), S::load_part(x.as_ptr(), n), n);
                assert!((0..S::N).all(|i| y[i] == if i < n { x[i] } else { T::ONE }));
                S::store(y.as_mut_ptr(), S::load_part(x.as_ptr(), n));
                assert!((0..S::N).all(|i| y[i] == if i < n { x[i] } else { T::ZERO }));
            }
            for (c, v) in S::columns(x.as_ptr(), 6).into_iter().enumerate() {
                S::store(y.as_mut_ptr(), v);
                assert!((0..S::N).all(|r| y[r] == x[r * 6 + c]));
            }
            let sum: f64 = x[..S::N].iter().map(|x| x.to_f64()).sum();
            assert!((S::sum(a).to_f64() - sum).abs() < 1e-5);
        }
    }
}

#[test]
fn vectors_work_on_every_instruction_set() {
    for isa in Isa::available() {
        <f32 as Kernel>::run(isa, Basics);
    }
    <f64 as Kernel>::run(Isa::best(), Basics);
}

/// Distance in units in the last place, ∞ and NaN matching themselves only.
fn ulps(a: f32, b: f64) -> f64 {
    let nearest = b as f32;
    if a.is_nan() || b.is_nan() || a.is_infinite() || nearest.is_infinite() {
        return if a.to_bits() == nearest.to_bits() || (a.is_nan() && b.is_nan()) {
            0.0
        } else {
            f64::INFINITY
        };
    }
    let up = f32::from_bits(nearest.abs().to_bits() + 1);
    (a as f64 - b).abs() / (up as f64 - nearest.abs() as f64)
}

#[test]
fn elementary_functions_are_accurate() {
    let steps = if cfg!(miri) { 200 } else { 400_000 };
    let mut worst = [0.0f64; 5];
    let mut check = |x: f32| {
        let d = x as f64;
        let sigmoid = if d < 0.0 { d.exp() / (1.0 + d.exp()) } else { 1.0 / (1.0 + (-d).exp()) };
        let errors = [
            ulps(x.exp_fast(), d.exp()),
            ulps(x.ln_fast(), d.ln()),
            ulps(x.tanh_fast(), d.tanh()),
            ulps(x.sigmoid_fast(), sigmoid),
            if d.is_nan() {
                if x.erf_fast().is_nan() { 0.0 } else { 1.0 }
            } else {
                (x.erf_fast() as f64 - libm::erf(d)).abs()
            },
        ];
        for (w, e) in worst.iter_mut().zip(errors) {
            assert!(e < 4.0, "{errors:?} at {x:e}");
            *w = w.max(e);
        }
    };
    for i in 0..=steps {
        let u = i as f32 / steps as f32 * 2.0 - 1.0;
        [120.0 * u, 10.0 * u, u, 0.01 * u].into_iter().for_each(&mut check);
        check((88.0 * u).exp());
    }
    [
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        0.0,
        -0.0,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        1e-42,
        1e-45,
    ]
    .into_iter()
    .for_each(&mut check);
    println!("largest errors of exp, ln, tanh, sigmoid (ulp), erf (absolute): {worst:?}");
    assert!(worst[..4].iter().all(|e| *e < 2.5) && worst[4] < 2e-7, "{worst:?}");
}

#[test]
fn vectorized_loops_give_the_same_bits() {
    let x: Vec<f32> = random(1000, 1);
    let f = |x: f32| (x * 3.0 + 1.0).exp_fast() / (x.tanh_fast() * x - 7.0);
    let plain: Vec<f32> = x.iter().map(|x| f(*x)).collect();
    let mut fast = x.clone();
    vectorize(
        #[inline(always)]
        || fast.iter_mut().for_each(|x| *x = f(*x)),
    );
    assert_eq!(plain, fast);
}
