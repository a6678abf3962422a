//! The sliding window against the static products and against the paper's recursions.

use faer::Mat;
use proptest::prelude::*;
use thalweg_mfac::WindowFisher;
use thalweg_mfac::gradients::Storage;
use thalweg_testing::on_threads;

use crate::common::*;

/// D and B of the paper, by their recursions.
fn paper(g: &[Vec<f64>], damping: f64) -> (Mat<f64>, Mat<f64>) {
    let (m, n) = (g.len(), g.len() as f64);
    let (mut d, mut b) = (Mat::<f64>::zeros(m, m), Mat::<f64>::zeros(m, m));
    for i in 0..m {
        for j in i..m {
            let past: f64 = (0..i).map(|k| d[(k, i)] * d[(k, j)] / (n + d[(k, k)])).sum();
            d[(i, j)] = dot(&g[i], &g[j]) / damping - past;
        }
        for j in 0..=i {
            let past: f64 = (0..i).map(|k| d[(k, i)] / (n + d[(k, k)]) * b[(k, j)]).sum();
            b[(i, j)] = if i == j { 1.0 / damping } else { 0.0 } - past;
        }
    }
    (d, b)
}

/// The paper's product: p = Gx/λ, r by forward substitution, y = x/λ − Gᵀ Bᵀ (r/(m + diag D)).
fn paper_product(g: &[Vec<f64>], damping: f64, x: &[f64]) -> Vec<f64> {
    let ((d, b), m) = (paper(g, damping), g.len());
    let mut r: Vec<f64> = Vec::new();
    for i in 0..m {
        let past: f64 = (0..i).map(|k| d[(k, i)] * r[k] / (m as f64 + d[(k, k)])).sum();
        r.push(dot(&g[i], x) / damping - past);
    }
    let mut y: Vec<f64> = x.iter().map(|x| x / damping).collect();
    for i in 0..m {
        for j in 0..=i {
            let c = b[(i, j)] * r[i] / (m as f64 + d[(i, i)]);
            y.iter_mut().zip(&g[j]).for_each(|(y, g)| *y -= c * g);
        }
    }
    y
}

#[test]
fn the_papers_recursions_are_what_they_should_be() {
    let (m, d, damping) = (6, 9, 0.2);
    let g = rows(1, m, d);
    let (big_d, big_b) = paper(&g, damping);
    // D_ij = gᵢᵀ F_{i−1}⁻¹ gⱼ, where F_{i−1} holds the gradients before i.
    for i in 0..m {
        let before = Mat::from_fn(d, d, |a, b| {
            let sum: f64 = g[..i].iter().map(|g| g[a] * g[b]).sum();
            sum / m as f64 + if a == b { damping } else { 0.0 }
        });
        let inverse = inverse(&before);
        for j in i..m {
            assert!((big_d[(i, j)] - dot(&g[i], &times(&inverse, &g[j]))).abs() < 1e-11);
        }
        // vᵢ = Σ B_ij gⱼ = F_{i−1}⁻¹ gᵢ.
        let v: Vec<f64> = (0..d).map(|a| (0..=i).map(|j| big_b[(i, j)] * g[j][a]).sum()).collect();
        close(&v, &times(&inverse, &g[i]), 1e-11);
    }
    // S₀ + mI = LU: D = triu(U − mI), B = L⁻¹/λ. Of a symmetric matrix U = ΔLᵀ.
    let s = Mat::from_fn(m, m, |i, j| dot(&g[i], &g[j]) / damping + if i == j { m as f64 } else { 0.0 });
    let c = thalweg_linalg::dense::cholesky(&s).unwrap();
    let l = Mat::from_fn(m, m, |i, j| c[(i, j)] / c[(j, j)]);
    let inverse = inverse(&l);
    for i in 0..m {
        for j in i..m {
            let u = c[(i, i)].powi(2) * l[(j, i)] - if i == j { m as f64 } else { 0.0 };
            assert!((big_d[(i, j)] - u).abs() < 1e-10);
            assert!((big_b[(j, i)] - inverse[(j, i)] / damping).abs() < 1e-10);
        }
    }
}

/// The last m of `g`, zeros first.
fn content(g: &[Vec<f64>], m: usize) -> Vec<Vec<f64>> {
    let zeros = vec![vec![0.0; g[0].len()]; m.saturating_sub(g.len())];
    [zeros, g[g.len().saturating_sub(m)..].to_vec()].concat()
}

fn window(g: &[Vec<f64>], m: usize, damping: f64) -> WindowFisher {
    let mut window = WindowFisher::new::<f64>(m, g[0].len(), damping, Storage::Full).unwrap();
    g.iter().for_each(|g| window.insert(g).unwrap());
    window
}

fn newest(window: &WindowFisher) -> Vec<f64> {
    let mut u = vec![0.0; window.gradients().width()];
    window.precondition_newest(&mut u).unwrap();
    u
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_sequence_of_inserts_is_the_static_product_of_the_content(
        seed in 0u64..1000, m in 1usize..=12, d in 1usize..=40, n in 1usize..=30, power in -2i32..=1,
    ) {
        let (g, damping) = (rows(seed, n, d), 10f64.powi(power));
        let (window, now) = (window(&g, m, damping), content(&g, m));
        let fisher = fisher(&now, damping, 0).unwrap();
        let x = random(5, d);
        close(&window.ihvp(&x).unwrap(), &fisher.ihvp(&x).unwrap(), 1e-10);
        close(&paper_product(&now, damping, &x), &fisher.ihvp(&x).unwrap(), 1e-8);
        // Push-through: the same as the dense solve, less than m, and in the span of the window.
        let (u, last) = (newest(&window), &g[n - 1]);
        let f = dense(&now, damping, 0);
        close(&u, &times(&inverse(&f), last), 1e-10);
        close(&times(&f, &u), last, 1e-10);
        prop_assert!(dot(&u, last) < m as f64);
        prop_assert_eq!((window.filled(), window.len(), window.damping()), (n.min(m), m, damping));
        let squares = g[n.saturating_sub(m)..].iter().map(|g| dot(g, g)).sum::<f64>() / n.min(m) as f64;
        prop_assert!((window.mean_square() - squares).abs() <= 1e-12 * squares);
    }
}

#[test]
fn the_step_lies_in_the_span_of_the_window() {
    let g = rows(3, 4, 30);
    let u = newest(&window(&g, 4, 1e-3));
    // Gram–Schmidt leaves nothing.
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let project = |x: &[f64], basis: &[Vec<f64>]| {
        basis.iter().fold(x.to_vec(), |x, b| {
            let c = dot(&x, b);
            x.iter().zip(b).map(|(x, b)| x - c * b).collect()
        })
    };
    for g in &g {
        let rest = project(g, &basis);
        let norm = dot(&rest, &rest).sqrt();
        basis.push(rest.iter().map(|x| x / norm).collect());
    }
    let rest = project(&project(&u, &basis), &basis);
    assert!(dot(&rest, &rest).sqrt() < 1e-12 * dot(&u, &u).sqrt());
}

#[test]
fn one_gradient_alone_has_a_closed_form() {
    let g = random(4, 25);
    for (m, damping) in [(1, 0.3), (8, 1e-5), (8, 10.0)] {
        let scale = 1.0 / (damping + dot(&g, &g) / m as f64);
        close(
            &newest(&window(std::slice::from_ref(&g), m, damping)),
            &g.iter().map(|g| g * scale).collect::<Vec<_>>(),
            1e-12,
        );
    }
}

#[test]
fn limits_of_damping_and_scale() {
    let g = rows(5, 8, 40);
    let far: Vec<f64> = newest(&window(&g, 8, 1e9)).iter().map(|u| 1e9 * u).collect();
    close(&far, &g[7], 1e-6);
    let scaled: Vec<Vec<f64>> = g.iter().map(|g| g.iter().map(|g| 8.0 * g).collect()).collect();
    let u: Vec<f64> = newest(&window(&scaled, 8, 6.4)).iter().map(|u| 8.0 * u).collect();
    close(&u, &newest(&window(&g, 8, 0.1)), 1e-12);
}

#[test]
fn ten_thousand_slides_lose_no_digits() {
    let (m, d, damping) = (10, 30, 1e-4);
    let g = rows(6, 10_000, d);
    let (window, now) = (window(&g, m, damping), content(&g, m));
    let x = random(7, d);
    close(&window.ihvp(&x).unwrap(), &fisher(&now, damping, 0).unwrap().ihvp(&x).unwrap(), 1e-10);
    close(&newest(&window), &times(&inverse(&dense(&now, damping, 0)), &g[9999]), 1e-10);
}

#[test]
fn damping_can_change_and_the_window_be_emptied() {
    let g = rows(8, 9, 20);
    let mut slid = window(&g, 4, 1e-2);
    slid.set_damp(0.5).unwrap();
    close(&newest(&slid), &newest(&window(&g, 4, 0.5)), 1e-12);
    slid.insert(&g[0]).unwrap();
    let longer = [&g[..], &g[..1]].concat();
    close(&newest(&slid), &newest(&window(&longer, 4, 0.5)), 1e-12);
    slid.reset();
    assert_eq!(slid, WindowFisher::new::<f64>(4, 20, 0.5, Storage::Full).unwrap());
    assert_eq!(newest(&slid), vec![0.0; 20]);
}

#[test]
fn a_window_saved_and_loaded_goes_on_with_the_same_bits() {
    for storage in [Storage::Full, Storage::Bf16] {
        let g = rows(9, 40, 3000);
        let narrow = |g: &[f64]| g.iter().map(|g| *g as f32).collect::<Vec<f32>>();
        let mut window = WindowFisher::new::<f32>(7, 3000, 1e-3, storage).unwrap();
        g[..20].iter().for_each(|g| window.insert(&narrow(g)).unwrap());
        let mut loaded: WindowFisher = postcard::from_bytes(&postcard::to_stdvec(&window).unwrap()).unwrap();
        for g in &g[20..] {
            window.insert(&narrow(g)).unwrap();
            loaded.insert(&narrow(g)).unwrap();
        }
        let (mut a, mut b) = (vec![0f32; 3000], vec![0f32; 3000]);
        window.precondition_newest(&mut a).unwrap();
        loaded.precondition_newest(&mut b).unwrap();
        assert!(a == b && window == loaded);
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let g = rows(10, 12, 20_000);
    let run = |threads| {
        on_threads(threads, || {
            let window = window(&g, 5, 1e-3);
            [newest(&window), window.ihvp(&g[1]).unwrap()].concat()
        })
    };
    let one = run(1);
    assert!(run(2) == one && run(3) == one);
}

/// f32 data, the spec's case: the larger ‖g‖²/λ the worse for Woodbury in f32.
#[test]
fn single_precision_loses_only_its_rounding() {
    let (m, d, damping) = (64, 10_000, 1e-6);
    let g: Vec<Vec<f64>> =
        rows(12, m, d).iter().map(|g| g.iter().map(|g| f64::from(*g as f32)).collect()).collect();
    let exact = newest(&window(&g, m, damping));
    let narrow: Vec<Vec<f32>> = g.iter().map(|g| g.iter().map(|g| *g as f32).collect()).collect();
    let mut ours = WindowFisher::new::<f32>(m, d, damping, Storage::Full).unwrap();
    narrow.iter().for_each(|g| ours.insert(g).unwrap());
    let mut u = vec![0f32; d];
    ours.precondition_newest(&mut u).unwrap();
    let error = relative(&u.iter().map(|u| f64::from(*u)).collect::<Vec<_>>(), &exact);
    assert!(error < 1e-6, "{error:e}");
}

#[test]
fn bad_input_is_named_and_changes_nothing() {
    let mut slid = window(&rows(1, 3, 5), 2, 0.1);
    let before = slid.clone();
    let text = |e: Result<(), thalweg_mfac::MfacError>| e.unwrap_err().to_string();
    assert!(text(slid.insert(&[1.0f64; 4])).starts_with("the gradient has 4 elements where 5 are needed"));
    assert!(text(slid.insert(&[1.0, 1.0, f64::NAN, 1.0, 1.0])).contains("is not finite at element 2"));
    assert!(text(slid.set_damp(-1.0)).starts_with("damping = -1 is not allowed"));
    assert!(text(slid.precondition_newest(&mut [0f64; 3])).starts_with("the step has 3 elements"));
    assert!(slid.ihvp(&[0f64; 3]).is_err());
    assert_eq!(slid, before);
    let text = WindowFisher::new::<f32>(1024, 1 << 40, 0.1, Storage::Full).unwrap_err().to_string();
    assert!(text.contains("use at most"), "{text}");
    assert!(WindowFisher::new::<f32>(0, 4, 0.1, Storage::Full).is_err());
}
