//! The kernels against their definitions, on every instruction set of the machine.

mod conv;
mod matmul;
mod simd;

use rand::{RngExt, SeedableRng};

use super::*;

/// Numbers in −1..1 from a seed.
fn random<T: Scalar>(len: usize, seed: u64) -> Vec<T> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| T::from_f64(rng.random_range(-1.0..1.0))).collect()
}

/// Largest difference, relative to the size of the numbers summed.
fn distance<T: Scalar>(a: &[T], b: &[T]) -> f64 {
    assert_eq!(a.len(), b.len());
    let top = b.iter().map(|b| b.to_f64().abs()).fold(1.0, f64::max);
    a.iter().zip(b).map(|(a, b)| (a.to_f64() - b.to_f64()).abs()).fold(0.0, f64::max) / top
}

fn assert_close<T: Scalar>(a: &[T], b: &[T], what: &str) {
    let tolerance = if size_of::<T>() == 4 { 3e-5 } else { 1e-12 };
    let d = distance(a, b);
    assert!(d < tolerance, "{what}: off by {d:e}");
}

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn results_do_not_depend_on_the_number_of_threads() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("a small pool").install(|| {
            let mut bits = Vec::new();
            let mut keep = |v: &[f32]| bits.extend(v.iter().map(|v| v.to_bits()));
            let (m, n, k) = (130, 120, 333);
            let (a, b): (Vec<f32>, Vec<f32>) = (random(m * k, 1), random(k * n, 2));
            let mut c = vec![0.0; m * n];
            for (ta, tb) in [(false, true), (false, false), (true, false)] {
                matmul(m, n, k, &a, ta, &b, tb, &mut c, false);
                keep(&c);
            }
            let (a, b): (Vec<f32>, Vec<f32>) = (random(20_000 * 20, 1), random(20_000 * 16, 2));
            matmul(20, 16, 20_000, &a, true, &b, false, &mut c, false);
            keep(&c[..320]);
            let (q, s) = (64 * 16, 64 * 64);
            let (a, mut c) = (random::<f32>(70 * q, 1), vec![0.0; 70 * s]);
            batched_matmul(70, 64, 64, 16, &a, 16, q, false, &a, 16, q, true, &mut c, 64, s, false, 0.25);
            keep(&c);
            let simple = ConvShape::simple((20, 20), (16, 24), 3, 1, 1);
            let strided = ConvShape::simple((20, 20), (16, 24), 3, 2, 1);
            let depthwise = ConvShape { groups: 40, ..ConvShape::simple((20, 20), (40, 40), 3, 1, 1) };
            for shape in [simple, strided, depthwise, ConvShape::simple((20, 20), (16, 24), 1, 1, 0)] {
                let (conv, images, scratch) = (Conv::new(shape.clone()), 19, &mut Vec::new());
                let (x, dy): (Vec<f32>, Vec<f32>) =
                    (random(images * shape.in_len(), 1), random(images * shape.out_len(), 2));
                let w: Vec<f32> = random(shape.weight_len(), 3);
                let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
                conv.forward(images, &x, &w, None, &mut y, false, scratch);
                conv.backward_data(images, &dy, &w, &mut dx, false, scratch);
                conv.backward_weight(images, &x, &dy, &mut dw, false, scratch);
                [y, dx, dw].iter().for_each(|v| keep(v));
            }
            let sums = column_sums(&random::<f32>(5000 * 37, 8), 5000, 37);
            bits.extend(sums.iter().flat_map(|s| [s.to_bits() as u32, (s.to_bits() >> 32) as u32]));
            bits
        })
    };
    let one = run(1);
    assert!(one == run(2) && one == run(3));
}

#[test]
fn column_sums_match_their_definition() {
    for (rows, cols) in [(0, 3), (1, 1), (7, 5), (123, 33)] {
        let x: Vec<f32> = random(rows * cols, 1);
        let sums = column_sums(&x, rows, cols);
        assert_eq!(sums.len(), cols);
        for (j, sum) in sums.iter().enumerate() {
            let expected: f64 = (0..rows).map(|i| x[i * cols + j] as f64).sum();
            assert!((sum - expected).abs() < 1e-10);
        }
    }
}

#[test]
fn pieces_cover_everything_once() {
    for (len, chunk) in [(0, 4), (3, 4), (4, 4), (103, 10)] {
        let seen: Vec<_> = (0..len).map(|_| std::sync::atomic::AtomicUsize::new(0)).collect();
        for_chunks(len, chunk, |range| {
            range.for_each(|i| {
                seen[i].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            });
        });
        assert!(seen.into_iter().all(|n| n.into_inner() == 1));
    }
    let mut rows = vec![0.0f32; 7 * 3];
    par_rows(&mut rows, 3, 2, |first, piece| {
        piece.chunks_mut(3).enumerate().for_each(|(i, row)| row.fill((first + i) as f32));
    });
    assert!(rows.chunks(3).enumerate().all(|(i, row)| row.iter().all(|v| *v == i as f32)));
}
