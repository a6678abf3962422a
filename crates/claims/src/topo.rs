//! Acyclic graphs by topological swaps (Deng et al., arXiv:2305.17277): scores, distances and times.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use thalweg::core::Seed;
use thalweg::dag::{picture, table, tour};
use thalweg::plot::{Figure, Table};
use thalweg::tasks::{Finding, Host};
use thalweg::topo::baselines::{Dagma, Golem, Notears};
use thalweg::topo::factor::Factor;
use thalweg::topo::graph::{edges, made_acyclic, thresholded, topological_order};
use thalweg::topo::metrics::{Metrics, compare};
use thalweg::topo::score::{Bic, Mlp, NodeScore};
use thalweg::topo::simulate::{Mechanism, Noise, Simulation};
use thalweg::topo::start::{top_down, variance_order};
use thalweg::topo::{FitOptions, Init, Learned, Mat, Mode, Sample, Score, Topo, sachs};

use crate::claim::{Entry, Options, publish};
use crate::measure::{exponent, median};
use crate::sources::shared_file;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg-claims topo graph scaling exact
  thalweg-claims topo standardized networks --out report/

Known sets are looked for in the folder THALWEG_DATA (default ../shared/data): topo/.")]
pub struct Claims {
    /// graph, scaling, polish, sizes, standardized, noise, networks, sachs, nonlinear, exact, tour, all
    #[arg(required = true)]
    which: Vec<String>,
    #[command(flatten)]
    options: Options,
}

const ALL: &[Entry<Claims>] = &[
    ("graph", |_| graph()),
    ("scaling", |_| scaling()),
    ("polish", |_| polish()),
    ("sizes", |_| sizes()),
    ("standardized", |b| standardized(&b.options)),
    ("noise", |b| noise(&b.options)),
    ("networks", |_| networks()),
    ("sachs", |_| proteins()),
    ("nonlinear", |_| nonlinear()),
    ("exact", |b| exact(&b.options)),
    ("tour", |b| Ok(tour::topo(&b.options.host())?)),
];

impl Claims {
    pub fn run(self) -> Result<()> {
        self.options.start()?;
        publish("Acyclic graphs by topological swaps", &self.options, &self, &self.which, ALL)
    }
}

/// Data and true graph of the shared folder.
fn set(name: &str) -> Result<(Sample, Mat<f64>)> {
    let folder = shared_file("topo")?;
    let file = |name: String| folder.join(name).display().to_string();
    let sample = table::data(&file(format!("{name}.csv.gz")), &table::Reading::default(), &Host::default())?;
    let network = file(format!("{}_network.csv", name.trim_end_matches("_n1000")));
    let truth = file(format!("{name}_truth.csv"));
    let truth = if std::path::Path::new(&truth).exists() { truth } else { network };
    let w = table::graph(&truth)?.among(sample.names(), &truth)?;
    Ok((sample, w))
}

fn simulated(dim: usize, family: &str, noise: Noise, seed: u64) -> Result<(Sample, Mat<f64>)> {
    let family = family.parse()?;
    let (w, x) =
        Simulation { family, dim, samples: 1000, noise, mechanism: Mechanism::Linear }.run(Seed(seed))?;
    Ok((x, w))
}

fn fit(topo: &Topo, sample: &Sample, seed: u64) -> Result<Learned> {
    Ok(topo.fit(sample, &FitOptions::seed(seed))?)
}

/// A result and its time: the median of `runs`.
fn timed<T>(runs: usize, mut go: impl FnMut() -> Result<T>) -> Result<(T, f64)> {
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..runs.max(1) {
        let clock = Instant::now();
        last = Some(go()?);
        times.push(clock.elapsed().as_secs_f64());
    }
    Ok((last.context("nothing was run")?, median(times)))
}

/// Least-squares score of an order and the graph of its weights of 0.3 and more.
fn of_order(order: &[usize], sample: &Sample) -> Result<(f64, Mat<f64>)> {
    let Ok(f) = Factor::new(&sample.covariance(), order) else { bail!("the data are collinear") };
    Ok((f.score(), thresholded(&f.weights(order), 0.3)))
}

/// The graph and the least-squares score of the order of another method's weights.
fn of_weights(w: &Mat<f64>, sample: &Sample) -> Result<(f64, Mat<f64>)> {
    let (w, _) = made_acyclic(w);
    let order = topological_order(&w).unwrap_or_default();
    Ok((of_order(&order, sample)?.0, w))
}

/// The fast search from a random order.
fn random() -> Topo {
    Topo { init: Init::Random, threshold: Some(0.3), ..Topo::default() }
}

fn graph() -> Result<Finding> {
    let mut table = Table::new(["set", "method", "score of the order", "SHD", "milliseconds"]);
    let mut data = Vec::new();
    let (mut quick, mut best, mut close, mut ratio) = (0f64, true, true, f64::INFINITY);
    let simulated = simulated(20, "er:2", Noise::GaussEv, 1)?;
    for (name, (sample, truth)) in
        [("er2_d20 simulated", simulated), ("er4_d20_n1000", set("er4_d20_n1000")?)]
    {
        let s = sample.covariance();
        let mut add = |method: &str, score: f64, w: &Mat<f64>, seconds: f64| -> Result<()> {
            let shd = compare(&truth, &made_acyclic(w).0)?.shd;
            let ms = format!("{:.3}", 1e3 * seconds);
            table.row([name.to_owned(), method.to_owned(), format!("{score:.5}"), shd.to_string(), ms]);
            data.push(
                json!({ "set": name, "method": method, "score": score, "shd": shd, "seconds": seconds }),
            );
            Ok(())
        };
        let (fast, seconds) = timed(51, || fit(&random(), &sample, 1))?;
        add("swaps, fast, random start", fast.score, &fast.graph, seconds)?;
        quick = quick.max(seconds);
        close &= compare(&truth, &fast.graph)?.shd <= 1;
        let td = Topo { init: Init::TopDown, ..random() };
        let (from_td, seconds) = timed(51, || fit(&td, &sample, 1))?;
        add("swaps, fast, top-down start", from_td.score, &from_td.graph, seconds)?;
        let paper =
            Topo { mode: Mode::Paper, small: Some(40), large: Some(150), large_budget: 1, ..random() };
        let (published, slow) = timed(3, || fit(&paper, &sample, 1))?;
        add("swaps, published search 40/150/1", published.score, &published.graph, slow)?;
        ratio = ratio.min(slow / quick);
        best &= fast.score <= published.score * (1.0 + 1e-3);
        for (method, order) in
            [("top-down", top_down as fn(&Mat<f64>) -> Vec<usize>), ("sort by variance", variance_order)]
        {
            let (order, seconds) = timed(51, || Ok(order(&s)))?;
            let (score, w) = of_order(&order, &sample)?;
            add(method, score, &w, seconds)?;
            best &= fast.score <= score + 1e-9;
        }
        for (method, go) in [
            ("NOTEARS, λ 0.1", (|s| Notears::default().fit(s)) as fn(&Mat<f64>) -> _),
            ("DAGMA, λ 0.02", |s| Dagma { lambda: 0.02, ..Dagma::default() }.fit(s)),
            ("GOLEM-EV", |s| Golem::default().fit(s)),
        ] {
            let (w, seconds) = timed(1, || Ok(go(&s)?))?;
            let (score, w) = of_weights(&w, &sample)?;
            add(method, score, &w, seconds)?;
            best &= fast.score <= score + 1e-9;
        }
    }
    Ok(Finding {
        name: "graph",
        title: "One graph, equal variances, raw".into(),
        text: "Least-squares score of each method's order, refitted. Times are medians; NOTEARS, DAGMA and GOLEM are our own."
            .into(),
        table,
        figures: Vec::new(),
        marks: vec![
            (format!("the fast search takes ≤ 5 ms at 20 variables ({:.2} ms)", 1e3 * quick), quick <= 5e-3),
            ("its score is the lowest (within 1e-3 of the published search's)".into(), best),
            ("its SHD is ≤ 1".into(), close),
        ],
        data: Value::Array(data),
    })
}

fn scaling() -> Result<Finding> {
    let mut table = Table::new(["variables", "start", "score", "SHD", "edges", "rounds", "seconds"]);
    let (mut curves, mut data) = (vec![Vec::new(), Vec::new()], Vec::new());
    let (mut hundred, mut largest) = (f64::INFINITY, f64::INFINITY);
    for dim in [20, 50, 100, 200, 500] {
        let (sample, truth) = simulated(dim, "er:4", Noise::GaussEv, 1)?;
        for (k, (name, init)) in
            [("random", Init::Random), ("top-down", Init::TopDown)].into_iter().enumerate()
        {
            let runs = if dim <= 100 { 5 } else { 1 };
            let (learned, seconds) = timed(runs, || fit(&Topo { init, ..random() }, &sample, 1))?;
            curves[k].push((dim as f64, seconds));
            let shd = compare(&truth, &learned.graph)?.shd;
            let cells = [dim.to_string(), name.into(), format!("{:.4}", learned.score), shd.to_string()];
            let rest = [
                edges(&truth).len().to_string(),
                (learned.trace.len() - 1).to_string(),
                format!("{seconds:.4}"),
            ];
            table.row(cells.into_iter().chain(rest));
            data.push(
                json!({ "dim": dim, "start": name, "score": learned.score, "shd": shd, "seconds": seconds }),
            );
            match (dim, init) {
                (100, Init::Random) => hundred = seconds,
                (500, Init::TopDown) => largest = seconds,
                _ => {}
            }
        }
    }
    let figure = Figure::new("Time of a search").x_label("variables").y_label("seconds").log_x().log_y();
    let figure = figure.line("random start", &curves[0]).line("top-down start", &curves[1]);
    Ok(Finding {
        name: "scaling",
        title: "Scaling of the fast search".into(),
        text: format!(
            "ER4, 1000 samples, equal variances; all exchanges, all insertions and windows of 8. Exponents of power laws: \
             {:.2} from random orders, {:.2} from the top-down order.",
            exponent(&curves[0]),
            exponent(&curves[1])
        ),
        table,
        figures: vec![(figure, "Both axes are logarithmic.".into())],
        marks: vec![
            (format!("100 variables from a random order take < 1 s ({hundred:.3} s)"), hundred < 1.0),
            (format!("500 variables from the top-down order take < 60 s ({largest:.2} s)"), largest < 60.0),
        ],
        data: Value::Array(data),
    })
}

fn polish() -> Result<Finding> {
    let mut table = Table::new([
        "set",
        "method",
        "score",
        "refitted",
        "after swaps",
        "SHD before",
        "SHD after",
        "seconds of swaps",
    ]);
    let (mut better, mut near, mut data) = (true, true, Vec::new());
    for name in ["er4_d20_n1000", "er4_d50_n1000"] {
        let (sample, truth) = set(name)?;
        let s = sample.covariance();
        let dagma = Dagma { lambda: 0.02, ..Dagma::default() };
        for (method, w) in [("NOTEARS", Notears::default().fit(&s)?), ("DAGMA", dagma.fit(&s)?)] {
            let (done, seconds) =
                timed(1, || Ok(Topo::default().polish(&w, &sample, &FitOptions::default())?))?;
            let before = done.before.unwrap_or(f64::NAN);
            let shd = [&made_acyclic(&w).0, &done.learned.graph].map(|w| compare(&truth, w).map(|m| m.shd));
            let [shd_before, shd_after] = shd;
            let (shd_before, shd_after) = (shd_before?, shd_after?);
            better &= done.learned.score <= done.refit + 1e-9 && done.refit <= before + 1e-9;
            near &= shd_after <= if name.contains("d20") { 3 } else { 6 };
            table.row([
                name.to_owned(),
                method.into(),
                format!("{before:.4}"),
                format!("{:.4}", done.refit),
                format!("{:.4}", done.learned.score),
                shd_before.to_string(),
                shd_after.to_string(),
                format!("{seconds:.4}"),
            ]);
            data.push(json!({ "set": name, "method": method, "before": before, "refit": done.refit,
                "after": done.learned.score, "shd_before": shd_before, "shd_after": shd_after, "seconds": seconds }));
        }
    }
    Ok(Finding {
        name: "polish",
        title: "Improving graphs of other methods".into(),
        text: "Our NOTEARS (λ 0.1) and DAGMA (λ 0.02), threshold 0.3; least-squares scores.".into(),
        table,
        figures: Vec::new(),
        marks: vec![
            ("no score gets worse".into(), better),
            (
                "SHD afterwards ≤ 3 (20 variables) and ≤ 6 (50, where the optimum itself is 5 off)".into(),
                near,
            ),
        ],
        data: Value::Array(data),
    })
}

/// Set and the score that exchanges and insertions over all pairs reach, by an independent program.
const REACHED: [(&str, f64); 6] = [
    ("er4_d20_n1000", 9.9725),
    ("er4_d50_n1000", 24.3249),
    ("er4_d100_n1000", 47.3000),
    ("sf4_d30_n1000_gumbel", 24.3831),
    ("er2_d20_n1000_nv", 11.0002),
    ("er2_d20_n1000_std", 1.644),
];

fn sizes() -> Result<Finding> {
    let mut table = Table::new([
        "set",
        "true order",
        "top-down",
        "published, small sets",
        "published, all pairs",
        "fast",
        "to reach",
    ]);
    let (mut reached, mut data) = (true, Vec::new());
    for (name, target) in REACHED {
        let (sample, truth) = set(name)?;
        let d = sample.d();
        let pairs = d * (d - 1) / 2;
        // The automatic sizes of dagrad.
        let most = (((d as f64).sqrt() * (d - 1) as f64 * (d as f64).log10()) as usize).min(pairs);
        let auto = Topo {
            mode: Mode::Paper,
            small: Some(most.min(3 * d / 2)),
            large: Some(most.max(3 * d / 2)),
            large_budget: (d / 10).min(1),
            ..random()
        };
        let full = Topo { small: Some(pairs), large: Some(pairs), ..auto.clone() };
        let of = |topo: &Topo| -> Result<Vec<f64>> {
            (1..=3).map(|seed| Ok(fit(topo, &sample, seed)?.score)).collect()
        };
        let small = of(&auto)?;
        // All pairs by full refits grow with the fifth power of the variables.
        let all = if d <= 50 { of(&full)? } else { Vec::new() };
        let fast = of(&random())?;
        let order = topological_order(&truth).unwrap_or_default();
        let (true_score, td) =
            (of_order(&order, &sample)?.0, of_order(&top_down(&sample.covariance()), &sample)?.0);
        reached &= fast.iter().all(|s| *s <= target * (1.0 + 1e-3));
        let list = |v: &[f64]| match v.is_empty() {
            true => "–".to_owned(),
            false => v.iter().map(|s| format!("{s:.4}")).collect::<Vec<_>>().join(" / "),
        };
        let numbers = [format!("{true_score:.4}"), format!("{td:.4}")];
        let lists = [list(&small), list(&all), list(&fast), format!("{target:.4}")];
        table.row(std::iter::once(name.to_owned()).chain(numbers).chain(lists));
        data.push(json!({ "set": name, "truth": true_score, "top_down": td, "small": small, "all": all, "fast": fast, "target": target }));
    }
    Ok(Finding {
        name: "sizes",
        title: "Which moves are tried".into(),
        text: "Least-squares scores from three random orders. Small sets are dagrad's automatic sizes."
            .into(),
        table,
        figures: Vec::new(),
        marks: vec![("the fast search reaches the value everywhere, within 1e-3".into(), reached)],
        data: Value::Array(data),
    })
}

/// Cells of a table for one graph.
fn cells(set: &str, method: &str, m: &Metrics, seconds: f64) -> [String; 7] {
    [
        set.into(),
        method.into(),
        m.shd.to_string(),
        m.cpdag_shd.to_string(),
        m.skeleton_shd.to_string(),
        m.nnz.to_string(),
        format!("{seconds:.4}"),
    ]
}

const COLUMNS: [&str; 7] = ["set", "method", "SHD", "CPDAG-SHD", "skeleton", "edges", "seconds"];

/// JSON of one graph.
fn record(set: &str, method: &str, m: &Metrics, seconds: f64) -> Value {
    json!({ "set": set, "method": method, "metrics": m, "seconds": seconds })
}

fn standardized(options: &Options) -> Result<Finding> {
    let mut table = Table::new(COLUMNS);
    let (mut matches, mut below, mut data) = (true, true, Vec::new());
    let mut sets = vec![("er2_d20_n1000_std".to_owned(), set("er2_d20_n1000_std")?)];
    for seed in 1..=options.seeds.min(2) {
        sets.push((format!("simulated, seed {seed}"), simulated(20, "er:2", Noise::GaussEv, seed)?));
    }
    for (name, (sample, truth)) in sets {
        let sample = sample.standardized();
        let s = sample.covariance();
        let mut add = |method: &str, w: &Mat<f64>, seconds: f64| -> Result<Metrics> {
            let m = compare(&truth, &made_acyclic(w).0)?;
            table.row(cells(&name, method, &m, seconds));
            data.push(record(&name, method, &m, seconds));
            Ok(m)
        };
        for lambda in [2.0, 1.0] {
            let topo = Topo { score: Score::Bic(lambda), ..Topo::default() };
            let (learned, seconds) = timed(3, || fit(&topo, &sample, 1))?;
            let m = add(&format!("swaps, BIC, λ {lambda}"), &learned.graph, seconds)?;
            matches &= lambda < 2.0 || m.cpdag_shd <= 2;
            below &= learned.score
                <= Bic::new(s.clone(), sample.n(), lambda).at(&truth, &[]).unwrap_or(f64::NAN) + 1e-9;
        }
        let squares = Topo { threshold: Some(0.1), ..random() };
        let (learned, seconds) = timed(3, || fit(&squares, &sample, 1))?;
        add("swaps, least squares, threshold 0.1", &learned.graph, seconds)?;
        let (w, seconds) = timed(1, || Ok(Notears::default().fit(&s)?))?;
        add("NOTEARS", &w, seconds)?;
        let (w, seconds) = timed(1, || Ok(Dagma { lambda: 0.02, ..Dagma::default() }.fit(&s)?))?;
        add("DAGMA", &w, seconds)?;
    }
    Ok(Finding {
        name: "standardized",
        title: "Standardized data".into(),
        text: "ER2, 20 variables, 1000 samples, each column divided by its deviation. λ 2 is the penalty of BOSS by default."
            .into(),
        table,
        figures: Vec::new(),
        marks: vec![
            ("BIC with λ 2 is within 2 of the true equivalence class".into(), matches),
            ("its score is never worse than the truth's".into(), below),
        ],
        data: Value::Array(data),
    })
}

fn noise(options: &Options) -> Result<Finding> {
    let mut table = Table::new(COLUMNS);
    let (mut exact, mut data) = (true, Vec::new());
    for (kind, noise) in [("uniform noise", Noise::Uniform), ("unequal variances", Noise::GaussNv)] {
        for seed in 1..=options.seeds.min(2) {
            let (sample, truth) = simulated(20, "er:2", noise, seed)?;
            let name = format!("{kind}, seed {seed}");
            let mut add = |method: &str, w: &Mat<f64>, seconds: f64| -> Result<Metrics> {
                let m = compare(&truth, w)?;
                table.row(cells(&name, method, &m, seconds));
                data.push(record(&name, method, &m, seconds));
                Ok(m)
            };
            // Uniform noise of variance 1/3 and weights of at least 0.5.
            let (learned, seconds) = timed(5, || fit(&random(), &sample, 1))?;
            let m = add("swaps, least squares", &learned.graph, seconds)?;
            exact &= noise != Noise::Uniform || m.shd <= 1;
            let (order, seconds) = timed(5, || Ok(top_down(&sample.covariance())))?;
            add("top-down", &of_order(&order, &sample)?.1, seconds)?;
            let topo = Topo { score: Score::Bic(2.0), ..Topo::default() };
            let (learned, seconds) = timed(3, || fit(&topo, &sample, 1))?;
            add("swaps, BIC, λ 2", &learned.graph, seconds)?;
        }
    }
    Ok(Finding {
        name: "noise",
        title: "Other noises".into(),
        text: "ER2, 20 variables, 1000 samples, raw.".into(),
        table,
        figures: Vec::new(),
        marks: vec![("uniform noise: SHD ≤ 1".into(), exact)],
        data: Value::Array(data),
    })
}

fn networks() -> Result<Finding> {
    let mut table = Table::new(COLUMNS);
    let (mut near, mut data) = (true, Vec::new());
    // What BOSS scores at λ 1.
    for (name, boss) in [("ecoli70_n1000", 23), ("magic_niab_n1000", 25)] {
        let (sample, truth) = set(name)?;
        for lambda in [1.0, 2.0] {
            let topo = Topo { score: Score::Bic(lambda), standardize: true, ..Topo::default() };
            let (learned, seconds) = timed(3, || fit(&topo, &sample, 1))?;
            let m = compare(&truth, &learned.graph)?;
            near &= lambda != 1.0 || m.cpdag_shd <= boss + 3;
            let method = format!("swaps, BIC, λ {lambda}");
            table.row(cells(name, &method, &m, seconds));
            data.push(record(name, &method, &m, seconds));
        }
    }
    Ok(Finding {
        name: "networks",
        title: "Gaussian Bayesian networks".into(),
        text: "ecoli70 (46 variables, 70 arcs) and magic-niab (44, 66), 1000 samples, standardized. BOSS at λ 1: CPDAG-SHD 23 and 25."
            .into(),
        table,
        figures: Vec::new(),
        marks: vec![("at λ 1 the CPDAG-SHD is at most 3 above that of BOSS".into(), near)],
        data: Value::Array(data),
    })
}

fn proteins() -> Result<Finding> {
    let Some(sample) = sachs::data().log() else { bail!("the embedded data are positive") };
    let truth = sachs::truth();
    let mut table = Table::new(COLUMNS);
    let (mut near, mut data, mut figures) = (true, Vec::new(), Vec::new());
    for lambda in [1.0, 2.0] {
        let topo = Topo { score: Score::Bic(lambda), standardize: true, ..Topo::default() };
        let (learned, seconds) = timed(3, || fit(&topo, &sample, 1))?;
        let m = compare(&truth, &learned.graph)?;
        near &= m.skeleton_shd <= 12;
        let method = format!("swaps, BIC, λ {lambda}");
        table.row(cells("Sachs", &method, &m, seconds));
        data.push(record("sachs", &method, &m, seconds));
        if lambda == 1.0 {
            let names: Vec<&str> = learned.order.iter().map(|v| sample.names()[*v].as_str()).collect();
            let figure = picture::arcs("Edges along the order", &learned.order, &learned.graph, Some(&truth));
            figures.push((figure, format!("The order: {}.", names.join(", "))));
        }
    }
    Ok(Finding {
        name: "sachs",
        title: "Proteins".into(),
        text: "853 observational cells, 11 proteins, logarithms; the consensus network of 17 edges. The data hold few of them."
            .into(),
        table,
        figures,
        marks: vec![("skeleton distance ≤ 12".into(), near)],
        data: Value::Array(data),
    })
}

fn nonlinear() -> Result<Finding> {
    let (sample, truth) = set("er1_d10_n1000_mlp")?;
    let mut table = Table::new(["method", "SHD", "TPR", "FDR", "edges", "networks trained", "seconds"]);
    let mut data = Vec::new();
    let mlp = Score::Mlp(Mlp::default());
    let paper = Topo {
        score: mlp,
        mode: Mode::Paper,
        small: Some(10),
        large: Some(40),
        large_budget: 1,
        ..Topo::default()
    };
    let fast = Topo { score: mlp, ..Topo::default() };
    let mut reached = false;
    for (name, topo) in [("published search 10/40/1", paper), ("each node to its best position", fast)] {
        let (learned, seconds) = timed(1, || fit(&topo, &sample, 1))?;
        let m = compare(&truth, &learned.graph)?;
        reached |= m.tpr >= 0.7 && m.shd <= 6;
        table.row([
            name.to_owned(),
            m.shd.to_string(),
            format!("{:.2}", m.tpr),
            format!("{:.2}", m.fdr),
            m.nnz.to_string(),
            learned.evaluations.to_string(),
            format!("{seconds:.1}"),
        ]);
        data.push(json!({ "method": name, "metrics": m, "score": learned.score, "seconds": seconds }));
    }
    Ok(Finding {
        name: "nonlinear",
        title: "A network for each node".into(),
        text: "ER1, 10 variables, 1000 samples of networks with 100 units; ours have 40. Top-down start."
            .into(),
        table,
        figures: Vec::new(),
        marks: vec![("TPR ≥ 0.7 and SHD ≤ 6".into(), reached)],
        data: Value::Array(data),
    })
}

fn exact(options: &Options) -> Result<Finding> {
    let mut table =
        Table::new(["set", "optimum", "known", "9 starts find it", "seconds exact", "seconds of 9 starts"]);
    let (mut right, mut data) = (true, Vec::new());
    let nine = Topo { restarts: Some(8), ..random() };
    for (name, known) in [("er2_d12_n100_std", 0.8650415082), ("er4_d15_n100", 7.1460422109)] {
        let (sample, _) = set(name)?;
        let (best, seconds) = timed(1, || Ok(Topo::default().exact(&sample, &FitOptions::default())?))?;
        let (found, quick) = timed(5, || fit(&nine, &sample, 1))?;
        right &= (best.score - known).abs() < 1e-8;
        let hit = if found.score <= best.score + 1e-9 { "yes" } else { "no" };
        table.row([
            name.to_owned(),
            format!("{:.10}", best.score),
            format!("{known:.10}"),
            hit.into(),
            format!("{seconds:.3}"),
            format!("{quick:.4}"),
        ]);
        data.push(json!({ "set": name, "optimum": best.score, "found": found.score, "seconds": seconds }));
    }
    let (mut hits, mut all) = (0, 0);
    for (family, samples, standardize) in
        [("er:2", 100, false), ("er:2", 100, true), ("er:4", 100, true), ("er:2", 1000, true)]
    {
        let mut own = 0;
        let runs = 4 * options.seeds;
        for seed in 0..runs {
            let family = family.parse()?;
            let set =
                Simulation { family, dim: 12, samples, noise: Noise::GaussEv, mechanism: Mechanism::Linear };
            let (_, sample) = set.run(Seed(seed))?;
            let topo = Topo { standardize, ..nine.clone() };
            let best = topo.exact(&sample, &FitOptions::default())?.score;
            own += u64::from(fit(&topo, &sample, seed)?.score <= best * (1.0 + 1e-9));
        }
        (hits, all) = (hits + own, all + runs);
        let scale = if standardize { "standardized" } else { "raw" };
        let name = format!("{family}, 12 variables, {samples} samples, {scale}");
        table.row([name, "–".into(), "–".into(), format!("{own} of {runs}"), "–".into(), "–".into()]);
    }
    data.push(json!({ "hits": hits, "runs": all }));
    Ok(Finding {
        name: "exact",
        title: "The optimum of few variables".into(),
        text: "Least squares, by dynamic programming over subsets; nine random starts with windows of 8."
            .into(),
        table,
        figures: Vec::new(),
        marks: vec![
            ("the optima are the known ones to 1e-8".into(), right),
            (
                format!("nine starts find the optimum in ≥ 95 % of the sets ({hits} of {all})"),
                hits * 100 >= 95 * all,
            ),
        ],
        data: Value::Array(data),
    })
}
