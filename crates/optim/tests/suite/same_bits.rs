//! A resumed run and a run with more threads end in the same bits.

use thalweg_core::Method;
use thalweg_optim::{Adam, AdamW, Lamb, Lbfgs, Muon, Schedule, Sgd};
use thalweg_testing::{Bowl, same_bits};

use crate::common::blocks;

fn check<M>(method: M)
where
    M: Method<Bowl<f32>, Solution = Vec<f32>> + Method<Bowl<f64>, Solution = Vec<f64>> + Sync,
{
    // L-BFGS wants an objective that stays the same.
    let noise = if Method::<Bowl<f32>>::name(&method) == "lbfgs" { 0.0 } else { 0.3 };
    same_bits(&method, || blocks::<f32>(noise), 6, 0..=6);
    same_bits(&method, || blocks::<f64>(noise), 6, 0..=6);
}

#[test]
fn sgd() {
    let schedule = Schedule::parse("warmup:2+cosine:6").unwrap();
    check(Sgd { schedule, nesterov: true, weight_decay: 0.1, ..Sgd::default() });
}

#[test]
fn adam() {
    check(Adam::default());
    check(AdamW::default());
}

#[test]
fn lamb() {
    check(Lamb::default());
}

#[test]
fn muon() {
    check(Muon::default());
}

#[test]
fn lbfgs() {
    check(Lbfgs { tolerance: 0.0, ..Lbfgs::default() });
}
