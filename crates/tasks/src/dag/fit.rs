//! `thalweg dag fit`, `polish` and `exact`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thalweg::core::{Seed, interrupt};
use thalweg::data::read_text;
use thalweg::plot::{Report, Table};
use thalweg::topo::{
    Given, Knowledge, Learned, Polished, Sample, TopoError, edges, r2_sortability, varsortability,
};

use super::settings::Settings;
use super::watch::Progress;
use super::{picture, read, table, write};
use crate::config::{self, Common};
use crate::failure::{Failed, Interrupted};
use crate::output;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg dag fit sachs --log --score bic --out g/
  thalweg dag fit data.csv --score l2 --init td --restarts 8 --seed 1 --out g/ --json

`sachs` is embedded. Least squares (l2) depends on units: on standardised data use bic.")]
pub struct Fit {
    #[command(flatten)]
    run: Run,
}

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg dag polish --w w.csv data.csv --json
  thalweg dag polish --w notears.csv data.csv --score bic --standardize --out g/")]
pub struct Polish {
    /// The graph to improve: a list of edges or a matrix
    #[arg(long = "w", value_name = "FILE")]
    w: String,
    #[command(flatten)]
    run: Run,
}

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg dag exact sachs --log --score bic
  thalweg dag exact data.csv --json

At most 20 variables (14 for logistic, mcp, mlp and penalised l2).")]
pub struct Exact {
    #[command(flatten)]
    run: Run,
}

/// What the three of them take.
#[derive(Args)]
struct Run {
    /// CSV with a header (also gzipped), npy or npz; or `sachs`
    data: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// Settings of an earlier run; flags override them
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Folder for graph.csv, cpdag.csv, order.txt, trace.csv, pictures and report.html
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// What `config.toml` holds.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    data: Option<String>,
    w: Option<String>,
    #[serde(default)]
    settings: Settings,
}

/// A run: settings merged, data read.
struct Job {
    whole: Whole,
    sample: Sample,
    knowledge: Knowledge,
    out: Option<PathBuf>,
    common: Common,
}

impl Job {
    fn new(run: Run, w: Option<String>) -> Result<Self> {
        let Run { data, settings, config, out, common } = run;
        common.start()?;
        interrupt::install().map_err(Failed)?;
        let mut whole = Whole { data, w, settings };
        if let Some(file) = &config {
            let text = read_text(file)?;
            let named = || file.display().to_string();
            let saved: Whole = toml::from_str(&text).with_context(named)?;
            let mut merged = toml::Table::try_from(&saved.settings)?;
            merged.extend(toml::Table::try_from(&whole.settings)?);
            whole.settings = merged.try_into().with_context(named)?;
            whole.data = whole.data.or(saved.data);
            whole.w = whole.w.or(saved.w);
        }
        let Settings { log, drop_missing, .. } = whole.settings;
        let data = whole.data.clone().context("no data; name a CSV file, or `sachs`")?;
        let sample = read(&common, &data, log, drop_missing)?;
        let Settings { forbid, require, tiers, .. } = &whole.settings;
        let knowledge = table::knowledge(forbid.as_ref(), require.as_ref(), tiers.as_ref(), sample.names())?;
        if let Some(out) = &out {
            output::make_folder(out)?;
        }
        Ok(Self { whole, sample, knowledge, out, common })
    }

    /// Runs with a watcher; tells interruptions from failures.
    fn run<T>(&self, go: impl FnOnce(&Given) -> Result<T, TopoError>) -> Result<(T, f64)> {
        let clock = Instant::now();
        let progress = Progress::new(&self.common);
        let watch = |round: &_| progress.tell(round);
        let seed = Seed(self.whole.settings.seed.unwrap_or(0));
        let done = go(&Given { knowledge: &self.knowledge, seed, watch: &watch });
        let seconds = clock.elapsed().as_secs_f64();
        match done {
            Ok(done) => Ok((done, seconds)),
            Err(TopoError::Stopped) => Err(Interrupted { resume: None }.into()),
            Err(e @ TopoError::Diverged { .. }) => Err(Failed(e.to_string()).into()),
            Err(e) => Err(e.into()),
        }
    }

    fn note_cut(&self, file: &str, cut: f64) {
        if cut > 0.0 {
            self.common.note(format!("{file} has a cycle; weights up to {cut} were dropped"));
        }
    }

    fn names(&self, order: &[usize]) -> Vec<String> {
        order.iter().map(|v| self.sample.names()[*v].clone()).collect()
    }

    /// The object of `--json`.
    fn summary(&self, learned: &Learned, seconds: f64) -> Map<String, Value> {
        let name = |v: &usize| self.sample.names()[*v].clone();
        let listed = |e: &Vec<(usize, usize)>, kind: &str| {
            e.iter().map(|(u, v)| json!([name(u), name(v), kind])).collect::<Vec<_>>()
        };
        let mut class = listed(&learned.cpdag.directed, "directed");
        class.extend(listed(&learned.cpdag.undirected, "undirected"));
        let mut map = Map::new();
        map.insert("score".into(), json!(learned.score));
        map.insert("order".into(), json!(self.names(&learned.order)));
        let list: Vec<Value> =
            edges(&learned.graph).iter().map(|(u, v, w)| json!([name(u), name(v), w])).collect();
        map.insert("edges".into(), list.into());
        map.insert("cpdag_edges".into(), class.into());
        map.insert("kkt_violation".into(), json!(learned.kkt_violation));
        map.insert("seconds".into(), json!(seconds));
        map
    }

    /// Prints and writes a result; `extra` goes before it.
    fn publish(&self, learned: &Learned, extra: Map<String, Value>, seconds: f64) -> Result<()> {
        for warning in &learned.warnings {
            self.common.note(format!("warning: {warning}"));
        }
        let mut summary = extra;
        summary.extend(self.summary(learned, seconds));
        if let Some(out) = &self.out {
            self.write(out, learned, &summary)?;
        }
        if self.common.json {
            return output::print_json(&summary);
        }
        let mut text = String::new();
        for key in ["score_before", "score_refit", "cut"] {
            if let Some(value) = summary.get(key).and_then(Value::as_f64) {
                text += &format!("{key} {value:.8}\n");
            }
        }
        let kkt = learned.kkt_violation.map_or("–".into(), |k| format!("{k:.1e}"));
        text += &format!(
            "score {:.8}   {} edges, {} of them in every equivalent graph   KKT violation {kkt}   {seconds:.3} s\n\n{}",
            learned.score,
            edges(&learned.graph).len(),
            learned.cpdag.directed.len(),
            self.table(learned).text()
        );
        output::print(&text)
    }

    /// Edges for people.
    fn table(&self, learned: &Learned) -> Table {
        let bic = !learned.strengths.is_empty();
        let mut table =
            Table::new(["from", "to", "weight", "direction"].into_iter().chain(bic.then_some("ΔBIC/2")));
        for (u, v, w) in edges(&learned.graph) {
            let compelled = learned.cpdag.directed.contains(&(u, v));
            let strength =
                learned.strengths.iter().find(|s| (s.0, s.1) == (u, v)).map(|s| format!("{:.2}", s.2));
            let cells = [
                self.sample.names()[u].clone(),
                self.sample.names()[v].clone(),
                format!("{w:.4}"),
                if compelled { "certain" } else { "either" }.to_owned(),
            ];
            table.row(cells.into_iter().chain(strength));
        }
        table
    }

    fn write(&self, out: &Path, learned: &Learned, summary: &Map<String, Value>) -> Result<()> {
        let names = self.sample.names();
        output::write(&out.join("config.toml"), config::to_toml(&self.whole)?.as_bytes())?;
        write::matrix(&out.join("graph.csv"), names, &learned.graph)?;
        write::matrix(&out.join("weights.csv"), names, &learned.weights)?;
        write::class(&out.join("cpdag.csv"), names, &learned.cpdag)?;
        write::dot(&out.join("graph.dot"), names, &learned.graph)?;
        write::graphml(&out.join("graph.graphml"), names, &learned.graph)?;
        output::write(&out.join("order.txt"), (self.names(&learned.order).join("\n") + "\n").as_bytes())?;
        let lines = learned.trace.iter().enumerate().map(|(k, s)| format!("{k},{s}\n"));
        let trace: String = std::iter::once("round,score\n".into()).chain(lines).collect();
        output::write(&out.join("trace.csv"), trace.as_bytes())?;
        output::write(
            &out.join("graph.svg"),
            picture::svg(names, &learned.order, &learned.graph).as_bytes(),
        )?;

        let s = self.sample.covariance();
        let mut all = summary.clone();
        all.insert("warnings".into(), json!(learned.warnings));
        all.insert("intercepts".into(), json!(learned.intercepts));
        all.insert("starts".into(), json!(learned.starts));
        all.insert("evaluations".into(), json!(learned.evaluations));
        all.insert("varsortability".into(), json!(varsortability(&learned.graph, &s)));
        all.insert("r2_sortability".into(), json!(r2_sortability(&learned.graph, &s)));
        output::write_json(&out.join("summary.json"), &all)?;

        let mut report = Report::new("A directed acyclic graph");
        let data = self.whole.data.as_deref().unwrap_or_default();
        report.lead(&format!(
            "{data}: {} samples of {} variables. Score {:.6}, {} edges.",
            self.sample.n(),
            self.sample.d(),
            learned.score,
            edges(&learned.graph).len()
        ));
        let section = report.section("The graph");
        learned.warnings.iter().for_each(|w| {
            section.text(&format!("Warning: {w}."));
        });
        let order = format!("The order: {}.", self.names(&learned.order).join(", "));
        let arcs = picture::arcs("Edges along the order", &learned.order, &learned.graph, None);
        let weights = picture::weights("Weights", &learned.order, &learned.graph);
        section.figure(&arcs, &order).figure(&weights, "graph.svg has the names of the variables.");
        section.table(&self.table(learned));
        if learned.trace.len() > 1 {
            let trace = picture::trace(&learned.trace);
            report.section("The search").figure(&trace, "The best of all starts.");
            trace.save(&out.join("trace.svg"))?;
        }
        arcs.save(&out.join("arcs.svg"))?;
        weights.save(&out.join("weights.svg"))?;
        report.save(&out.join("report.html"))?;
        Ok(())
    }
}

impl Fit {
    pub fn run(self) -> Result<()> {
        let job = Job::new(self.run, None)?;
        let topo = job.whole.settings.method()?;
        let names = job.sample.names();
        let from = match job.whole.settings.init.as_deref().and_then(|i| i.split_once(':')) {
            Some(("order", file)) => Some(table::order(Path::new(file), names)?),
            Some(("w", file)) => {
                let (w, cut) = thalweg::topo::made_acyclic(&table::graph(file)?.among(names, file)?);
                job.note_cut(file, cut);
                thalweg::topo::topological_order(&w)
            }
            _ => None,
        };
        let (learned, seconds) = job.run(|given| match &from {
            Some(order) => topo.fit_from(order, &job.sample, given),
            None => topo.fit(&job.sample, given),
        })?;
        job.publish(&learned, Map::new(), seconds)
    }
}

impl Polish {
    pub fn run(self) -> Result<()> {
        let job = Job::new(self.run, Some(self.w))?;
        let topo = job.whole.settings.method()?;
        let file = job.whole.w.as_deref().unwrap_or_default();
        let w = table::graph(file)?.among(job.sample.names(), file)?;
        let (polished, seconds) = job.run(|given| topo.polish(&w, &job.sample, given))?;
        let Polished { before, refit, cut, learned } = polished;
        job.note_cut(file, cut);
        let mut extra = Map::new();
        extra.insert("score_before".into(), json!(before));
        extra.insert("score_refit".into(), json!(refit));
        extra.insert("cut".into(), json!(cut));
        job.publish(&learned, extra, seconds)
    }
}

impl Exact {
    pub fn run(self) -> Result<()> {
        let job = Job::new(self.run, None)?;
        let topo = job.whole.settings.method()?;
        let (learned, seconds) = job.run(|given| topo.exact(&job.sample, given))?;
        job.publish(&learned, Map::new(), seconds)
    }
}
