//! Speed of the kernels beside the machine's peak of fused multiply–adds, measured in the same run.
//!
//! `cargo bench -p thalweg-net --bench kernels [FILTER]`; `RAYON_NUM_THREADS` sets the threads.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use thalweg_net::kernel::{Conv, ConvShape, Filter, batched_matmul, matmul};

/// Best rate of all threads together in GFLOP/s: independent chains of fused multiply–adds.
fn peak() -> f64 {
    const STEPS: usize = 2_000_000;
    let once = || {
        let start = Instant::now();
        let flops: f64 = rayon::broadcast(|_| chains(STEPS)).into_iter().sum();
        flops / start.elapsed().as_secs_f64() / 1e9
    };
    (0..10).map(|_| once()).fold(0.0, f64::max)
}

/// Runs the chains and returns their floating-point operations.
fn chains(steps: usize) -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: just detected.
            return unsafe { chains_avx512(steps) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: just detected.
            return unsafe { chains_avx2(steps) };
        }
    }
    let mut acc = [1.0f32; 64];
    for _ in 0..steps {
        acc.iter_mut().for_each(|a| *a = *a * black_box(0.999_999) + 1e-7);
    }
    black_box(acc);
    2.0 * 64.0 * steps as f64
}

#[cfg(target_arch = "x86_64")]
macro_rules! chains {
    ($name:ident, $features:literal, $lanes:literal, $set1:ident, $fmadd:ident) => {
        /// # Safety
        /// The machine must have the features.
        #[target_feature(enable = $features)]
        unsafe fn $name(steps: usize) -> f64 {
            use std::arch::x86_64::*;
            let (a, b) = ($set1(black_box(0.999_999)), $set1(black_box(1e-7)));
            let mut acc = [$set1(1.0); 12];
            for _ in 0..steps {
                for x in &mut acc {
                    *x = $fmadd(*x, a, b);
                }
            }
            black_box(acc);
            2.0 * 12.0 * $lanes * steps as f64
        }
    };
}
#[cfg(target_arch = "x86_64")]
chains!(chains_avx512, "avx512f", 16.0, _mm512_set1_ps, _mm512_fmadd_ps);
#[cfg(target_arch = "x86_64")]
chains!(chains_avx2, "avx2,fma", 8.0, _mm256_set1_ps, _mm256_fmadd_ps);

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37) % 101) as f32 * 0.02 - 1.0).collect()
}

/// Benchmarks `f` and prints its rate; `flops` counts a multiply–add as two.
fn rate(c: &mut Criterion, peak: f64, name: &str, flops: usize, mut f: impl FnMut()) {
    let mut group = c.benchmark_group("kernels");
    group.throughput(Throughput::Elements(flops as u64));
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400));
    let mut best = f64::INFINITY;
    group.bench_function(BenchmarkId::from_parameter(name), |b| {
        b.iter_custom(|n| {
            let start = Instant::now();
            for _ in 0..n {
                let one = Instant::now();
                f();
                best = best.min(one.elapsed().as_secs_f64());
            }
            start.elapsed()
        });
    });
    group.finish();
    if best.is_finite() {
        let rate = flops as f64 / best / 1e9;
        println!(
            "    {name}: best {:.1} µs, {rate:.0} GFLOP/s, {:.0} % of peak",
            best * 1e6,
            100.0 * rate / peak
        );
    }
}

fn products(c: &mut Criterion) {
    let peak = peak();
    println!("peak {peak:.0} GFLOP/s on {} threads", rayon::current_num_threads());
    let cases = [
        ("linear y=x.wT 128x512x784", 128, 512, 784, false, true),
        ("linear y=x.wT 256x512x784", 256, 512, 784, false, true),
        ("linear y=x.wT 1x512x784", 1, 512, 784, false, true),
        ("linear y=x.wT 128x10x512", 128, 10, 512, false, true),
        ("linear dx=dy.w 128x512x512", 128, 512, 512, false, false),
        ("linear dw=dyT.x 512x784x128", 512, 784, 128, true, false),
        ("linear dw=dyT.x 10x512x128", 10, 512, 128, true, false),
        ("square 1024", 1024, 1024, 1024, false, false),
    ];
    for (name, m, n, k, ta, tb) in cases {
        let (a, b, mut y) = (numbers(m * k), numbers(k * n), vec![0.0; m * n]);
        rate(c, peak, name, 2 * m * n * k, || matmul(m, n, k, &a, ta, &b, tb, black_box(&mut y), false));
        if std::env::var_os("GEMM").is_some() {
            rate(c, peak, &format!("gemm crate, one thread, {name}"), 2 * m * n * k, || {
                let (ars, acs) = if ta { (1, m as isize) } else { (k as isize, 1) };
                let (brs, bcs) = if tb { (1, k as isize) } else { (n as isize, 1) };
                // SAFETY: the strides address exactly the three buffers.
                unsafe {
                    gemm::gemm(
                        m,
                        n,
                        k,
                        black_box(&mut y).as_mut_ptr(),
                        1,
                        n as isize,
                        false,
                        a.as_ptr(),
                        acs,
                        ars,
                        b.as_ptr(),
                        bcs,
                        brs,
                        0.0,
                        1.0,
                        false,
                        false,
                        false,
                        gemm::Parallelism::None,
                    );
                }
            });
        }
    }
    let (n, heads, x, mut s) = (64, 64, numbers(64 * 64 * 96), vec![0.0; 64 * 64 * 64]);
    rate(c, peak, "attention scores 64x64x16, 64 heads", 2 * heads * n * n * 16, || {
        batched_matmul(
            heads,
            n,
            n,
            16,
            &x,
            96,
            64 * 96,
            false,
            &x[16..],
            96,
            64 * 96 - 16,
            true,
            &mut s,
            n,
            n * n,
            false,
            1.0,
        );
    });
}

fn convolutions(c: &mut Criterion) {
    let peak = peak();
    let shape = |size: usize, in_c: usize, out_c: usize, k: usize, stride: usize, pad: usize| ConvShape {
        in_h: size,
        in_w: size,
        in_c,
        out_c,
        k_h: k,
        k_w: k,
        stride: [stride; 2],
        dilation: [1; 2],
        groups: 1,
        pad: [pad; 4],
        circular: false,
    };
    let cases = [
        ("3x3 16 on 32x32", 128, shape(32, 16, 16, 3, 1, 1)),
        ("3x3 32 on 16x16", 128, shape(16, 32, 32, 3, 1, 1)),
        ("3x3 64 on 8x8", 128, shape(8, 64, 64, 3, 1, 1)),
        ("3x3 16-32 stride 2", 128, shape(32, 16, 32, 3, 2, 1)),
        ("1x1 16-32 stride 2", 128, shape(32, 16, 32, 1, 2, 0)),
        ("3x3 3-16 on 32x32", 128, shape(32, 3, 16, 3, 1, 1)),
        ("lenet 5x5 1-8", 128, shape(28, 1, 8, 5, 1, 2)),
        ("lenet 5x5 8-16", 128, shape(14, 8, 16, 5, 1, 0)),
        ("depthwise 3x3 64 on 32x32", 1, ConvShape { groups: 64, ..shape(32, 64, 64, 3, 1, 1) }),
        ("depthwise 3x3 64 on 32x32 b32", 32, ConvShape { groups: 64, ..shape(32, 64, 64, 3, 1, 1) }),
        ("1x1 64 on 16x16", 128, shape(16, 64, 64, 1, 1, 0)),
        ("mobilenet 1x1 32-64 on 32x32", 1, shape(32, 32, 64, 1, 1, 0)),
        ("mobilenet 1x1 256 on 4x4", 1, shape(4, 256, 256, 1, 1, 0)),
        ("3x3 64 on 8x8 b1", 1, shape(8, 64, 64, 3, 1, 1)),
    ];
    for (name, images, shape) in cases {
        let conv = Conv::new(shape.clone());
        let (x, dy, w) = (
            numbers(images * shape.in_len()),
            numbers(images * shape.out_len()),
            numbers(shape.weight_len()),
        );
        let (mut y, mut dx, mut dw, mut scratch) = (dy.clone(), x.clone(), w.clone(), Vec::new());
        let filter = [Filter { weight: &w, bias: None }];
        let flops = 2 * images * shape.out_h() * shape.out_w() * shape.weight_len();
        rate(c, peak, &format!("{name} forward"), flops, || {
            conv.forward_planes(images, 1, &x, &filter, black_box(&mut y), false, &mut scratch);
        });
        rate(c, peak, &format!("{name} data"), flops, || {
            conv.backward_data_planes(images, 1, &dy, &filter, black_box(&mut dx), false, &mut scratch);
        });
        rate(c, peak, &format!("{name} weight"), flops, || {
            let dw = &mut [black_box(&mut dw[..])];
            conv.backward_weight_planes(images, 1, &x, &dy, dw, false, &mut scratch);
        });
    }
}

criterion_group!(benches, products, convolutions);
criterion_main!(benches);
