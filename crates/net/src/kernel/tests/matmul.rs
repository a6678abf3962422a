use super::{assert_close, random};
use crate::kernel::simd::Isa;
use crate::kernel::{Scalar, matmul};

/// Product of strided matrices, by definition.
fn naive_product<T: Scalar>(
    (m, n, k): (usize, usize, usize),
    a: impl Fn(usize, usize) -> T,
    b: impl Fn(usize, usize) -> T,
    mut c: impl FnMut(usize, usize, f64),
) {
    for i in 0..m {
        for j in 0..n {
            c(i, j, (0..k).map(|l| a(i, l).to_f64() * b(l, j).to_f64()).sum());
        }
    }
}

fn check_product<T: Scalar>(isa: Isa, (m, n, k): (usize, usize, usize)) {
    let (a, b, c0, bias): (Vec<T>, Vec<T>, Vec<T>, Vec<T>) =
        (random(m * k, 1), random(k * n, 2), random(m * n, 3), random(n, 4));
    for case in 0..16 {
        let [ta, tb, acc, biased] = [1, 2, 4, 8].map(|bit| case & bit != 0);
        let mut expected = c0.clone();
        naive_product(
            (m, n, k),
            |i, l| if ta { a[l * m + i] } else { a[i * k + l] },
            |l, j| if tb { b[j * k + l] } else { b[l * n + j] },
            |i, j, s| {
                let start = if acc { c0[i * n + j].to_f64() } else { 0.0 };
                expected[i * n + j] = T::from_f64(s + start + if biased { bias[j].to_f64() } else { 0.0 });
            },
        );
        let mut c = c0.clone();
        matmul::product(isa, (m, n, k), (&a, ta), (&b, tb), &mut c, acc, biased.then_some(&bias[..]));
        assert_close(&c, &expected, &format!("{isa:?} {m}x{n}x{k} ta {ta} tb {tb} acc {acc} bias {biased}"));
    }
}

#[test]
fn products_match_their_definition() {
    let sizes = [(1, 1, 1), (2, 3, 0), (5, 7, 3), (17, 33, 9), (24, 32, 20), (31, 16, 65), (100, 50, 300)];
    for isa in Isa::available() {
        for size in if cfg!(miri) { &sizes[..4] } else { &sizes[..] } {
            check_product::<f32>(isa, *size);
        }
    }
    check_product::<f64>(Isa::Portable, (13, 19, 7));
    check_product::<f64>(Isa::best(), (40, 9, 300));
}

#[test]
fn long_inner_dimensions_stay_accurate() {
    let k = if cfg!(miri) { 50 } else { 20_000 };
    for isa in Isa::available() {
        check_product::<f32>(isa, (3, 5, k));
    }
}

#[test]
fn batched_products_match_their_definition() {
    let (batches, m, n, k) = (3, 9, 21, 10);
    for isa in Isa::available() {
        for case in 0..8 {
            let [ta, tb, acc] = [1, 2, 4].map(|bit| case & bit != 0);
            let ((ra, ca), (rb, cb)) = (if ta { (k, m) } else { (m, k) }, if tb { (n, k) } else { (k, n) });
            let (lda, ldb, ldc) = (ca + 2, cb + 5, n + 3);
            let (sa, sb, sc) = (ra * lda + 1, rb * ldb, m * ldc);
            let (a, b, c0): (Vec<f32>, Vec<f32>, Vec<f32>) =
                (random(batches * sa, 1), random(batches * sb, 2), random(batches * sc, 3));
            let mut expected = c0.clone();
            for q in 0..batches {
                naive_product(
                    (m, n, k),
                    |i, l| a[q * sa + if ta { l * lda + i } else { i * lda + l }],
                    |l, j| b[q * sb + if tb { j * ldb + l } else { l * ldb + j }],
                    |i, j, s| {
                        let c = &mut expected[q * sc + i * ldc + j];
                        *c = (0.25 * s + if acc { *c as f64 } else { 0.0 }) as f32;
                    },
                );
            }
            let mut c = c0.clone();
            matmul::batched(
                isa,
                batches,
                (m, n, k),
                (&a, lda, sa, ta),
                (&b, ldb, sb, tb),
                (&mut c, ldc, sc),
                acc,
                0.25,
            );
            assert_close(&c, &expected, &format!("{isa:?} ta {ta} tb {tb} acc {acc}"));
        }
    }
}
