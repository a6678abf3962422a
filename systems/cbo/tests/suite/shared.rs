//! The benchmark's shifted functions and the published phase diagram.

use rayon::prelude::*;
use thalweg_cbo::alpha::Alpha;
use thalweg_cbo::method::cbo::Noise;
use thalweg_cbo::{Algorithm, Auto, Cbo, Runs, Space};
use thalweg_core::{Seed, Stop};
use thalweg_optim::functions::{TestFunction, by_name as function};
use thalweg_testing::shared_data;

use crate::{by_name, search};

fn shifts(name: &str) -> Option<Vec<TestFunction>> {
    let mut reader = csv::Reader::from_path(shared_data("cbo/shifts_d10.csv")?).unwrap();
    let rows = reader.records().map(Result::unwrap).filter(|r| &r[0] == name);
    let one = |row: csv::StringRecord| {
        let shift = row.iter().skip(3).map(|x| x.parse().unwrap()).collect();
        function(name, 10).unwrap().shifted(shift).unwrap()
    };
    Some(rows.map(one).collect())
}

fn runs(method: &Algorithm, all: &[TestFunction]) -> Runs {
    let stops = [Stop::Evaluations(200_000), Stop::Target(1e-3)];
    Runs::make(all.len() as u64, Seed(1), |k, seed| {
        let f = &all[k as usize];
        by_name(method, &Space::cube(10, -f.half_width(), f.half_width()), f, &stops, seed.0)
    })
    .unwrap()
}

/// Published successes in ten runs and expected running times; within the error bars of ten runs.
#[test]
fn classic_functions_in_ten_dimensions() {
    let cbo = Algorithm::Cbo(Cbo { particles: 200, ..Cbo::default() });
    let published =
        [("sphere", 17_300.0), ("rastrigin", 40_620.0), ("rastrigin25", 27_820.0), ("ackley", 35_500.0)];
    for (name, ert) in published {
        let Some(all) = shifts(name) else { return };
        let found = runs(&cbo, &all);
        assert!(found.successes >= 8, "{name}: {} of 10", found.successes);
        // A run that fails spends the whole budget of 200,000: of ten, two may, as on other shifts.
        let allowed = 1.8 * ert + (all.len() - found.successes) as f64 * 200_000.0 / found.successes as f64;
        let ours = found.ert.unwrap();
        assert!(ours < allowed && ours > ert / 1.8, "{name}: {ours}");
    }
    // It fails on these, by published count 2, 0 and 0 of 10.
    for (name, most) in [("rosen", 4), ("griewank", 2), ("salomon", 2)] {
        let found = runs(&cbo, &shifts(name).unwrap());
        assert!(found.successes <= most, "{name}: {} of 10", found.successes);
    }
    // `auto` is never much worse than the better of its parts.
    for (name, limit) in [("sphere", 3_000.0), ("rosen", 20_000.0), ("rastrigin", 122_000.0)] {
        let found = runs(&Algorithm::Auto(Auto::default()), &shifts(name).unwrap());
        assert!(found.ert.is_some_and(|e| e < limit), "{name}: {:?}", found.ert);
    }
}

#[test]
fn success_rates_of_truncated_noise() {
    if shared_data("cbo/phase_truncated_rastrigin_d4.csv.gz").is_none() {
        return;
    }
    // Cells of the published table at which few steps decide.
    let f = function("rastrigin25", 4).unwrap();
    for (sigma, cap, rate) in [(0.9, Some(1.0), 1.0), (1.2, None, 0.02)] {
        let cbo = Cbo {
            particles: 100,
            dt: 0.01,
            sigma: Some(sigma),
            noise: Noise::Isotropic,
            cap,
            alpha: Alpha::Fixed(1e5),
            ..Cbo::default()
        };
        let space = Space::around(vec![1.0; 4], 2000f64.sqrt());
        let stops = [Stop::Evaluations(510_000), Stop::Steps(5000)];
        let hit = |k| usize::from(search(&cbo, &space, &f, &stops, k).solution.consensus_f < 0.1);
        let hits: usize = (0..20).into_par_iter().map(hit).sum();
        assert!((hits as f64 / 20.0 - rate).abs() < 0.2, "σ = {sigma}, M = {cap:?}: {hits} of 20");
    }
}
