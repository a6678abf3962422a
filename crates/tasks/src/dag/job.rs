//! A learned graph: settings and data → the search → what is said and written of it.

use std::time::Instant;

use serde_json::{Map, Value, json};
use thalweg_core::{Seed, StopReason};
use thalweg_topo::bootstrap::Bootstrap;
use thalweg_topo::graph::{edges, made_acyclic, topological_order};
use thalweg_topo::{FitOptions, Init, Knowledge, Learned, Polished, Sample, Topo, TopoError};

use super::settings::Start;
use super::settings::name_of;
use super::table::Reading;
use super::{Settings, continuous, report, table};
use crate::error::bail;
use crate::host::Driver;
use crate::{Context, Folder, Host, Result, TaskError};

/// A graph with the data that it was learned from.
pub struct LearnedGraph {
    /// Name or file of the data.
    pub data: String,
    /// What was read.
    pub sample: Sample,
    /// What was found.
    pub learned: Learned,
    /// Name of the score, and why it is this one.
    pub score: (String, &'static str),
    /// How often resamples have each edge, if that was asked for.
    pub support: Option<Bootstrap>,
    /// Of an improved graph: scores before, and where it was cut.
    pub improved: Option<Improvement>,
    /// Time of the search, in this session.
    pub seconds: f64,
}

/// Where a graph that was improved came from.
#[derive(Clone, Copy, Debug)]
pub struct Improvement {
    /// Score of the weights as given (after the cut, if any).
    pub before: Option<f64>,
    /// Score of the best weights of their order.
    pub refit: f64,
    /// Absolute value up to which weights were dropped because the graph had a cycle; 0 if it had none.
    pub cut: f64,
}

/// Learns a graph: the whole of `thalweg dag fit`. With a folder, everything is written there, and an
/// interrupted search goes on.
///
/// ```
/// use thalweg_tasks::Host;
/// use thalweg_tasks::dag::{Settings, fit};
///
/// let settings = Settings { data: Some("sachs".into()), log: Some(true), ..Settings::default() };
/// let graph = fit(&settings, None, &Host::default())?;
/// assert_eq!(graph.names(&graph.learned.order).len(), 11);
/// # Ok::<(), thalweg_tasks::TaskError>(())
/// ```
///
/// # Errors
/// Settings or data that do not fit, an interruption.
pub fn fit(settings: &Settings, folder: Option<&Folder>, host: &Host) -> Result<LearnedGraph> {
    let job = Job::new(settings, None, folder, host)?;
    if settings.continuous() {
        return job.run("dag fit", |options, _| Ok((continuous::learn(&job, options)?, None)));
    }
    let names = job.sample.names();
    let start = match &settings.init {
        Some(Start::Order(file)) => Some(table::order(file, names)?),
        Some(Start::Graph(file)) => {
            let (w, cut) = made_acyclic(&table::graph(file)?.among(names, file)?);
            job.note_cut(file, cut);
            topological_order(&w)
        }
        // A start that takes its time takes it from the limit.
        _ if matches!(job.topo.init, Init::Notears | Init::Dagma | Init::Golem) => {
            host.note(format!("start: the order of {}", name_of(job.topo.init)));
            let (order, warnings) = job.topo.first_order(&job.sample, &job.options())?;
            warnings.iter().for_each(|w| host.note(format!("warning: {w}")));
            Some(order)
        }
        _ => None,
    };
    job.run("dag fit", |options, driver| {
        let options = FitOptions { start: start.as_deref(), ..*options };
        Ok((job.topo.fit_driven(&job.sample, &options, driver)?, None))
    })
}

/// Improves the graph `w` of the settings: the whole of `thalweg dag polish`.
///
/// # Errors
/// As [`fit`]; a graph that does not fit the data.
pub fn polish(settings: &Settings, folder: Option<&Folder>, host: &Host) -> Result<LearnedGraph> {
    let file = settings.w.as_deref().context("no graph to improve; set `w` to a file")?;
    if settings.continuous() {
        bail!("an improvement is one by swaps; leave out `method`");
    }
    if settings.init.is_some() {
        bail!("an improvement starts from the order of `w`; leave out `init`");
    }
    let job = Job::new(settings, Some(file), folder, host)?;
    let graph = table::graph(file)?;
    if graph.unnamed {
        host.note(format!("{file} has no names; its columns are those of the data, in turn"));
    }
    let w = graph.among(job.sample.names(), file)?;
    job.run("dag polish", |options, driver| {
        let Polished { before, refit, cut, learned } =
            job.topo.polish_driven(&w, &job.sample, options, driver)?;
        job.note_cut(file, cut);
        Ok((learned, Some(Improvement { before, refit, cut })))
    })
}

/// Finds the best graph of all: the whole of `thalweg dag exact`.
///
/// # Errors
/// As [`fit`]; too many variables; a time limit, since there is no best so far.
pub fn exact(settings: &Settings, folder: Option<&Folder>, host: &Host) -> Result<LearnedGraph> {
    if host.time.is_some() {
        bail!("an exact search has no best so far; leave out `time`, or fit the graph instead");
    }
    settings.no_search()?;
    if settings.bootstrap.is_some() {
        bail!("`bootstrap` repeats a search; fit the graph instead, or leave it out");
    }
    let job = Job::new(settings, None, folder, host)?;
    job.run("dag exact", |options, _| {
        let clock = Instant::now();
        let learned = job.topo.exact(&job.sample, options)?;
        let seconds = clock.elapsed().as_secs_f64();
        if let Some(folder) = folder {
            let (evaluations, value) = (learned.evaluations, learned.score);
            let record = json!({ "step": 1, "evaluations": evaluations, "seconds": seconds, "value": value });
            folder.write_metrics([record])?;
        }
        Ok((learned, None))
    })
}

/// Settings and data, checked.
pub(super) struct Job<'a> {
    pub settings: &'a Settings,
    pub folder: Option<&'a Folder>,
    pub host: &'a Host,
    pub topo: Topo,
    data: String,
    pub sample: Sample,
    knowledge: Knowledge,
    began: Instant,
}

impl<'a> Job<'a> {
    fn new(
        settings: &'a Settings,
        w: Option<&str>,
        folder: Option<&'a Folder>,
        host: &'a Host,
    ) -> Result<Self> {
        if settings.w.as_deref() != w {
            bail!("`w` is a graph to improve; polish it, or start from it with `init` w:FILE");
        }
        let began = Instant::now();
        let topo = settings.method()?;
        topo.validate()?;
        let data = settings.data.clone().context("no data; name a CSV file, or `sachs`")?;
        let drop = settings.drop.clone().unwrap_or_default();
        let sample = table::data(&data, &Reading { table: settings.table_options()?, drop }, host)?;
        let (score, why) = settings.chosen();
        host.note(format!("score: {} ({why})", name_of(score)));
        host.note(format!("{data}: {} samples of {} variables", sample.n(), sample.d()));
        let sample = match settings.log {
            Some(true) => sample.log().with_context(|| format!("{data} has values ≤ 0; leave out `log`"))?,
            _ => sample,
        };
        let knowledge = table::knowledge(settings, sample.names(), host)?;
        if let Some(folder) = folder {
            folder.begin(&settings.effective(&topo), report::PRODUCTS)?;
        }
        Ok(Self { settings, folder, host, topo, data, sample, knowledge, began })
    }

    fn options(&self) -> FitOptions<'_> {
        FitOptions {
            knowledge: &self.knowledge,
            seed: Seed(self.settings.seed.unwrap_or(0)),
            start: None,
            interrupt: Some(&self.host.interrupt),
            deadline: self.host.time.map(|time| self.began + time),
        }
    }

    fn note_cut(&self, file: &str, cut: f64) {
        if cut > 0.0 {
            self.host.note(format!("{file} has a cycle; weights up to {cut} were dropped"));
        }
    }

    /// Searches, says how it ended, and writes what was found.
    fn run(
        &self,
        title: &str,
        go: impl FnOnce(&FitOptions, &mut Driver) -> Result<(Learned, Option<Improvement>)>,
    ) -> Result<LearnedGraph> {
        // What reading and a start have taken is no longer there for the search.
        let left = self.host.time.map(|time| time.saturating_sub(self.began.elapsed()));
        let host = Host { time: left, ..self.host.clone() };
        let clock = Instant::now();
        let mut driver = host.driver(title, self.folder);
        driver.configuration = json!({
            "data": self.data,
            "samples": self.sample.n(),
            "variables": self.sample.names(),
            "knowledge": self.knowledge,
        });
        let (learned, improved) = go(&self.options(), &mut driver)?;
        let reason = learned.stopped_because;
        if reason == StopReason::Interrupted {
            return Err(TaskError::Interrupted { folder: self.folder.map(|f| f.path().into()) });
        }
        if reason == StopReason::Time {
            self.host.note("the time was up; the graph is the best so far; `resume` goes on");
        }
        for warning in &learned.warnings {
            self.host.note(format!("warning: {warning}"));
        }
        let support = self.resample(reason)?;
        let seconds = clock.elapsed().as_secs_f64();
        let (data, sample) = (self.data.clone(), self.sample.clone());
        let (score, why) = self.settings.chosen();
        let score = (name_of(score), why);
        let graph = LearnedGraph { data, sample, learned, score, support, improved, seconds };
        if let Some(folder) = self.folder {
            report::write(folder, &graph)?;
            folder.end(&graph.full_summary(), Some(reason))?;
        }
        Ok(graph)
    }
}

impl Job<'_> {
    /// How often resamples have each edge; as many of them as the time allows.
    fn resample(&self, reason: StopReason) -> Result<Option<Bootstrap>> {
        let wanted = self.settings.bootstrap.unwrap_or(0);
        if wanted == 0 {
            return Ok(None);
        }
        if reason == StopReason::Time {
            self.host.note("no time was left for resamples");
            return Ok(None);
        }
        let options = self.options();
        let mut meter = self.host.meter("resamples", Some(wanted as u64));
        if let Some(meter) = &mut meter {
            meter.begin(0);
        }
        let found = self.topo.bootstrap(&self.sample, &options, wanted, |done| {
            if let Some(meter) = &mut meter {
                meter.show(done as u64, f64::NAN);
            }
            !self.host.interrupt.requested() && options.deadline.is_none_or(|end| Instant::now() < end)
        })?;
        if let Some(meter) = &mut meter {
            meter.finish(found.resamples as u64, f64::NAN);
        }
        if self.host.interrupt.requested() {
            return Err(TaskError::Interrupted { folder: self.folder.map(|f| f.path().into()) });
        }
        if found.resamples + found.failed < wanted {
            self.host.note(format!("the time was up after {} of {wanted} resamples", found.resamples));
        }
        if found.failed > 0 {
            self.host.note(format!(
                "{} resamples had a column that was constant or determined by others, and are left out",
                found.failed
            ));
        }
        Ok((found.resamples > 0).then_some(found))
    }
}

impl From<TopoError> for TaskError {
    fn from(e: TopoError) -> Self {
        match e {
            TopoError::Run(e) => Self::Run(*e),
            TopoError::Interrupted => Self::Interrupted { folder: None },
            e @ TopoError::Diverged { .. } => Self::Failed(e.to_string()),
            e => Self::Below(Box::new(e)),
        }
    }
}

impl LearnedGraph {
    /// Names of variables.
    pub fn names(&self, variables: &[usize]) -> Vec<&str> {
        variables.iter().map(|v| &*self.sample.names()[*v]).collect()
    }

    /// What is said of it, for programs.
    pub fn summary(&self) -> Map<String, Value> {
        let Learned { score, order, graph, cpdag, kkt_violation, .. } = &self.learned;
        let name = |v: usize| &self.sample.names()[v];
        let listed = |e: &[(usize, usize)], kind: &str| -> Vec<Value> {
            e.iter().map(|(u, v)| json!([name(*u), name(*v), kind])).collect()
        };
        let mut class = listed(&cpdag.directed, "directed");
        class.extend(listed(&cpdag.undirected, "undirected"));
        let support = self.support.as_ref().map(|found| -> Vec<Value> {
            let one = |s: &thalweg_topo::bootstrap::Support| {
                json!({ "from": name(s.a), "to": name(s.b), "linked": s.linked, "forward": s.forward, "backward": s.backward })
            };
            found.support.iter().map(one).collect()
        });
        let edges: Vec<Value> =
            edges(graph).into_iter().map(|(u, v, w)| json!([name(u), name(v), w])).collect();
        let mut map = Map::new();
        if let Some(Improvement { before, refit, cut }) = self.improved {
            map.insert("score_before".into(), json!(before));
            map.insert("score_refit".into(), json!(refit));
            map.insert("cut".into(), json!(cut));
        }
        map.insert("score".into(), json!(score));
        map.insert("score_name".into(), json!(self.score.0));
        map.insert("score_chosen".into(), json!(self.score.1));
        if let Some(found) = &self.support {
            map.insert("resamples".into(), json!(found.resamples));
            map.insert("support".into(), json!(support));
        }
        map.insert("order".into(), json!(self.names(order)));
        map.insert("edges".into(), edges.into());
        map.insert("cpdag_edges".into(), class.into());
        map.insert("kkt_violation".into(), json!(kkt_violation));
        map.insert("seconds".into(), json!(self.seconds));
        map
    }
}
