//! A step after the first allocates no large buffer.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use thalweg_core::Seed;
use thalweg_net::{Batch, Init, Mode, Net, Pass, Targets, initial, named};

/// Counts allocations of at least [`LARGE`] bytes.
struct Counting;

/// Lists of pieces, per-channel constants and tasks stay below; activations lie far above.
const LARGE: usize = 64 * 1024;
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn count(size: usize) {
    if size >= LARGE {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(p, layout) }
    }
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(p, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn steps_reuse_their_workspace() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        for (arch, input, classes) in [
            ("mlp:784-512-512-10", &[784][..], 10),
            ("lenet", &[28, 28, 1], 10),
            ("resnet8", &[32, 32, 3], 10),
            ("char-transformer:2,64,4,64", &[64], 65),
        ] {
            let graph = named(arch, input, classes).unwrap();
            let (theta, buffers) = initial::<f32>(&graph, &Init::PyTorch, Seed(1)).unwrap();
            let net = Net::<f32>::new(graph).unwrap();
            let x: Vec<f32> = (0..32 * input.iter().product::<usize>()).map(|i| (i % 60) as f32).collect();
            let rows = 32 * net.output_shape().iter().product::<usize>() / classes;
            let labels: Vec<u32> = (0..rows).map(|i| (i % classes) as u32).collect();
            let batch = Batch { x: &x, targets: Targets::Classes(&labels), weights: None };
            let (mut grad, mut product) = (theta.clone(), vec![theta.clone()]);
            let mut pass = Pass::default();
            let mut step = || {
                pass.loss_grad_hvp(
                    &net,
                    &theta,
                    &buffers,
                    &batch,
                    Mode::train(),
                    &mut grad,
                    &[&theta],
                    &mut product,
                )
                .unwrap();
            };
            step();
            let before = COUNT.load(Ordering::Relaxed);
            assert!(before > 0, "the first step allocates");
            step();
            step();
            assert_eq!(COUNT.load(Ordering::Relaxed) - before, 0, "{arch} allocates in later steps");
        }
    });
}
