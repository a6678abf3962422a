//! In-process collectives: sums against plain loops, traffic, and what happens when a rank fails.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use thalweg_comm::{Alone, Collective, CommError, Local, Traffic, local, share};

/// Runs `work` on `n` ranks and gives their results in rank order; a dead-lock fails.
fn ranks<T: Send + 'static>(n: usize, work: impl Fn(Local) -> T + Clone + Send + 'static) -> Vec<T> {
    let (done, all) = mpsc::channel();
    for rank in local(n) {
        let (done, work) = (done.clone(), work.clone());
        thread::spawn(move || {
            let index = rank.rank();
            done.send((index, work(rank)))
        });
    }
    let mut results: Vec<_> = (0..n).map(|_| all.recv_timeout(Duration::from_secs(30)).unwrap()).collect();
    results.sort_by_key(|r| r.0);
    results.into_iter().map(|r| r.1).collect()
}

fn parts(most: usize) -> impl Strategy<Value = Vec<Vec<f32>>> {
    (1..6usize, 0..most).prop_flat_map(|(n, len)| {
        prop::collection::vec(prop::collection::vec(-1e6f32..1e6, len..=len), n..=n)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sums_are_added_in_rank_order(parts in parts(40)) {
        let n = parts.len();
        let mut sum = parts[0].clone();
        let mut wide: Vec<f64> = parts[0].iter().map(|&x| f64::from(x) / 3.0).collect();
        for part in &parts[1..] {
            sum.iter_mut().zip(part).for_each(|(s, x)| *s += x);
            wide.iter_mut().zip(part).for_each(|(s, &x)| *s += f64::from(x) / 3.0);
        }
        let given = parts.clone();
        let found = ranks(n, move |mut c| {
            let mut x = given[c.rank()].clone();
            let mut w: Vec<f64> = x.iter().map(|&x| f64::from(x) / 3.0).collect();
            let mut m = x.clone();
            c.all_reduce_sum(&mut x).unwrap();
            c.all_reduce_sum_f64(&mut w).unwrap();
            c.mean(&mut m).unwrap();
            (x, w, m, c.traffic())
        });
        let (mean, len) = (sum.iter().map(|s| s / n as f32).collect::<Vec<_>>(), sum.len() as u64);
        for (x, w, m, traffic) in found {
            prop_assert_eq!(&x, &sum);
            prop_assert_eq!(&w, &wide);
            prop_assert_eq!(&m, &mean);
            prop_assert_eq!(traffic, Traffic { calls: 3, bytes: 16 * len });
        }
    }

    #[test]
    fn a_broadcast_gives_the_roots_bytes(n in 1..6usize, root in 0..6usize, len in 0..50usize) {
        let root = root % n;
        let found = ranks(n, move |mut c| {
            let mut x = vec![c.rank() as u8; len];
            c.broadcast(root, &mut x).unwrap();
            (x, c.traffic())
        });
        prop_assert_eq!(found, vec![(vec![root as u8; len], Traffic { calls: 1, bytes: len as u64 }); n]);
    }

    #[test]
    fn any_is_the_logical_or(votes in prop::collection::vec(any::<bool>(), 1..6)) {
        let (n, or) = (votes.len(), votes.iter().any(|v| *v));
        prop_assert_eq!(ranks(n, move |mut c| c.any(votes[c.rank()]).unwrap()), vec![or; n]);
    }

    #[test]
    fn shares_follow_each_other_and_differ_by_one(n in 0..1000usize, size in 1..20usize) {
        let shares: Vec<_> = (0..size).map(|rank| share(n, rank, size)).collect();
        prop_assert_eq!(shares[0].start, 0);
        prop_assert_eq!(shares[size - 1].end, n);
        prop_assert!(shares.windows(2).all(|w| w[0].end == w[1].start));
        prop_assert!(shares.iter().all(|s| s.len() == n / size || s.len() == n.div_ceil(size)));
    }
}

#[test]
fn what_is_not_finite_reaches_every_rank() {
    for bad in [f32::NAN, f32::INFINITY] {
        let found = ranks(3, move |mut c| {
            let mut x = [1.0, if c.rank() == 1 { bad } else { 0.5 }];
            c.mean(&mut x).unwrap();
            x
        });
        assert!(found.iter().all(|x| x[0] == 1.0 && !x[1].is_finite()), "{found:?}");
    }
}

#[test]
fn calls_follow_each_other_in_any_rhythm() {
    let found = ranks(3, |mut c| {
        let mut x = [c.rank() as f64 + 1.0];
        for i in 0..200 {
            if (i + c.rank()).is_multiple_of(7) {
                thread::yield_now();
            }
            c.barrier().unwrap();
            c.mean_f64(&mut x).unwrap();
        }
        (x, c.traffic())
    });
    assert_eq!(found, vec![([2.0], Traffic { calls: 400, bytes: 1600 }); 3]);
}

#[test]
fn alone_is_a_group_of_one_that_sends_nothing() {
    let mut alone = Alone;
    let mut x = [1.0, f32::NAN];
    alone.mean(&mut x).unwrap();
    assert!(x[0] == 1.0 && x[1].is_nan());
    assert_eq!((alone.rank(), alone.size(), alone.any(true), alone.any(false)), (0, 1, Ok(true), Ok(false)));
    assert_eq!(alone.broadcast(1, &mut []), Err(CommError::Root { root: 1, size: 1 }));
    assert_eq!(alone.traffic(), Traffic::default());
}

#[test]
fn a_rank_that_returns_early_is_lost_to_the_others() {
    let found = ranks(3, |mut c| {
        let steps = if c.rank() == 1 { 4 } else { 10 };
        (0..steps).map(|_| c.all_reduce_sum(&mut [1.0; 8])).find_map(Result::err)
    });
    let lost = |rank| Some(CommError::Lost { rank });
    assert_eq!(found[1], None);
    assert_eq!((found[0].clone(), found[2].clone()), (lost(1), lost(1)));
}

#[test]
fn a_rank_that_panics_is_lost_to_the_others() {
    let mut ends = local(2);
    let (mut second, mut first) = (ends.pop().unwrap(), ends.pop().unwrap());
    let broken = thread::spawn(move || {
        second.barrier().unwrap();
        let _still_owned = second;
        std::panic::panic_any("on purpose");
    });
    first.barrier().unwrap();
    assert_eq!(first.any(false), Err(CommError::Lost { rank: 1 }));
    assert_eq!(first.barrier(), Err(CommError::Lost { rank: 1 }), "and for good");
    assert!(broken.join().is_err());
}

#[test]
fn different_calls_are_an_error_on_every_rank() {
    let found = ranks(3, |mut c| match c.rank() {
        1 => c.all_reduce_sum_f64(&mut [0.0; 4]),
        _ => c.all_reduce_sum(&mut [0.0; 4]),
    });
    assert!(found.iter().all(|r| matches!(r, Err(CommError::Mismatch { .. }))), "{found:?}");
    let found = ranks(2, |mut c| c.all_reduce_sum(&mut vec![0.0; 4 + c.rank()]));
    let text = found[0].clone().unwrap_err().to_string();
    assert!(text.starts_with("rank 0 calls for the sum of 4 f32 but rank 1 for the sum of 5 f32"), "{text}");
    let found = ranks(2, |mut c| c.broadcast(c.rank(), &mut [0; 4]));
    assert!(found.iter().all(|r| matches!(r, Err(CommError::Mismatch { .. }))), "{found:?}");
    let found = ranks(2, |mut c| c.broadcast(2, &mut [0; 4]));
    assert_eq!(found, vec![Err(CommError::Root { root: 2, size: 2 }); 2]);
}

#[test]
fn pointers_to_collectives_are_collectives() {
    let found = ranks(2, |c| {
        let mut boxed: Box<dyn Collective> = Box::new(c);
        let mut by_reference = &mut boxed;
        let mut x = [1.0];
        Collective::all_reduce_sum(&mut by_reference, &mut x).unwrap();
        (x, Collective::traffic(&by_reference).bytes, Collective::size(&by_reference))
    });
    assert_eq!(found, vec![([2.0], 4, 2); 2]);
}
