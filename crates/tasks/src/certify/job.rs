//! One bound after the other, each with its proof; then the samples, if there are any.

use std::time::Instant;

use serde_json::{Map, Value, json};
use thalweg_core::StopReason;
use thalweg_lipsdp::{Bound, Certificate, LipSdp, Norm};

use super::check::Saved;
use super::reach::reached;
use super::samples::{Labelled, Samples};
use super::{Settings, Subject, read, report};
use crate::{Folder, Host, Result, TaskError};

/// The tightest certificate's file.
const CERTIFICATE: &str = "certificate.json";
/// The certified radius of each sample.
const RADII: &str = "radii.csv";

/// What [`certify`] gives back.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was certified.
    pub title: String,
    /// Every bound on the list was asked for.
    pub all: bool,
    /// Norms of the inputs' and the outputs' change, for people.
    pub norm: &'static str,
    /// The most that an input was found to reach; none where the network cannot be evaluated, or none was looked for.
    pub lower_bound: Option<f64>,
    /// The bounds that apply, in the order of [`Bound::ALL`].
    pub certificates: Vec<Certificate>,
    /// Those that do not, and why.
    pub refused: Vec<(Bound, String)>,
    /// What is certified of the data.
    pub samples: Option<Samples>,
    /// What the time did not suffice for.
    pub left_out: Vec<String>,
}

/// Certifies as the settings say: the whole of `thalweg certify`. With a folder, everything is written there; an
/// interrupted list of bounds goes on. One bound is always proved, whatever the host's time; those that it does
/// not suffice for are left out.
///
/// # Errors
/// Settings, network or data that do not fit, a bound that does not apply where it alone is asked for, an
/// interruption; results that contradict one another, of which nothing is written.
pub fn certify(settings: &Settings, folder: Option<&Folder>, host: &Host) -> Result<Outcome> {
    let settings = &settings.effective();
    settings.validate()?;
    let file = settings.file()?;
    let loaded = read(file, &settings.read_options())?;
    loaded.notes.iter().for_each(|n| host.note(n));
    let net = settings.aimed(&loaded.net)?;
    let samples = Labelled::load(settings, &loaded, host)?;
    if let Some(folder) = folder {
        folder.begin(settings, &[CERTIFICATE, RADII, "bounds.svg", "accuracy.svg"])?;
    }
    let mut watch = Watch { host, folder, clock: Instant::now(), records: Vec::new(), left_out: Vec::new() };
    let mut outcome = Outcome {
        title: file.display().to_string(),
        all: settings.all(),
        norm: measured(settings.norm(), net.outputs()),
        lower_bound: None,
        certificates: Vec::new(),
        refused: Vec::new(),
        samples: None,
        left_out: Vec::new(),
    };
    outcome.prove(settings, &net, &mut watch)?;
    if watch.time_is_up()? && settings.samples() > 0 {
        watch.left_out.push("the sampled lower bound".into());
    } else {
        let points = samples.as_ref().map_or(&[][..], Labelled::points);
        outcome.lower_bound = reached(settings, &loaded, &net, points)?;
    }
    outcome.check()?;
    if let (Some(samples), Some(whole)) = (samples, outcome.certificates.first()) {
        outcome.samples = samples.certify(settings, &loaded, whole, &mut watch)?;
    }
    outcome.left_out = watch.left_out;
    outcome.say(folder.is_some(), host);
    if let Some(folder) = folder {
        outcome.write(folder, settings)?;
    }
    Ok(outcome)
}

/// Who looks on at one bound, pair or size of change after the other, and what was recorded of them.
pub(super) struct Watch<'a> {
    pub host: &'a Host,
    folder: Option<&'a Folder>,
    clock: Instant,
    records: Vec<Value>,
    /// What the time did not suffice for.
    pub left_out: Vec<String>,
}

impl Watch<'_> {
    /// Whether nothing more may be begun.
    pub fn time_is_up(&self) -> Result<bool> {
        if self.host.interrupt.requested() {
            return Err(TaskError::Interrupted { folder: self.folder.map(|f| f.path().into()) });
        }
        Ok(self.late())
    }

    fn late(&self) -> bool {
        self.host.time.is_some_and(|limit| self.clock.elapsed() >= limit)
    }

    /// The method within the time that is left.
    fn within(&self, method: LipSdp) -> LipSdp {
        let left = self.host.time.map(|limit| limit.saturating_sub(self.clock.elapsed()).as_secs_f64());
        let max_seconds = left.map_or(method.max_seconds, |left| left.clamp(1e-3, method.max_seconds));
        LipSdp { max_seconds, ..method }
    }

    /// Adds a line to the metrics.
    pub fn record(&mut self, mut line: Value) -> Result<()> {
        line["step"] = (self.records.len() + 1).into();
        self.records.push(line);
        self.folder.map_or(Ok(()), |folder| folder.write_metrics(self.records.iter().cloned()))
    }
}

/// A bound that was tried, or why it does not apply: the checkpoint of a list has one after the other.
type Tried = Result<Certificate, String>;

impl Outcome {
    /// Tries one bound after the other. Those of an earlier session are not tried again.
    fn prove(&mut self, settings: &Settings, net: &Subject, watch: &mut Watch<'_>) -> Result<()> {
        let bounds = settings.bounds()?;
        let mut tried: Vec<Tried> = watch.folder.map_or(Ok(None), Folder::restore)?.unwrap_or_default();
        let mut meter = watch.host.meter("bounds", Some(bounds.len() as u64));
        meter.iter_mut().for_each(|m| m.begin(tried.len() as u64));
        for (i, bound) in bounds.into_iter().enumerate() {
            if i >= tried.len() {
                if watch.time_is_up()? && !self.certificates.is_empty() {
                    watch.left_out.push(bound.to_string());
                    continue;
                }
                let quiet = watch.host.quiet();
                let host = if self.all { &quiet } else { watch.host };
                let method = watch.within(net.resolved(settings.method(bound), host)?);
                tried.push(match net.certify(&method) {
                    Ok(certificate) => Ok(certificate),
                    Err(e) if self.all => Err(e.to_string()),
                    Err(e) => return Err(e),
                });
                let shortened = method.max_seconds < settings.method(bound).max_seconds;
                let anytime = matches!(&tried[i], Ok(c) if c.method == Bound::FirstOrder.to_string());
                if anytime && shortened && watch.late() {
                    // It holds, but more time would have made it tighter: a resumed run tries it again.
                    watch.left_out.push(format!("the rest of {bound}"));
                } else if let Some(folder) = watch.folder {
                    folder.save(&tried)?;
                }
            }
            match &tried[i] {
                Ok(c) => {
                    watch.record(json!({
                        "bound": c.method,
                        "value": c.bound,
                        "verified": c.verified,
                        "seconds": c.seconds,
                    }))?;
                    meter.iter_mut().for_each(|m| m.show(i as u64 + 1, c.bound));
                    self.certificates.push(c.clone());
                }
                // What does not apply is left out, with the reason for people.
                Err(why) => {
                    watch.host.note(format!("{bound}: {why}"));
                    self.refused.push((bound, why.clone()));
                }
            }
        }
        let least = self.tightest().map_or(f64::NAN, |c| c.bound);
        meter.iter_mut().for_each(|m| m.finish(tried.len() as u64, least));
        Ok(())
    }

    /// Whether every bound is proved, none only the product of norms that stands in for it.
    pub fn verified(&self) -> bool {
        self.certificates.iter().all(|c| c.verified)
    }

    /// The tightest certificate.
    pub fn tightest(&self) -> Option<&Certificate> {
        self.certificates.iter().min_by(|a, b| a.bound.total_cmp(&b.bound))
    }

    /// Notes what was not done.
    fn say(&self, saved: bool, host: &Host) {
        if !self.verified() {
            host.note("warning: the solver's multipliers were not proved; the bound is the product of norms");
        }
        if !self.left_out.is_empty() {
            let how = if saved { "; `resume` goes on" } else { "" };
            host.note(format!("the time was up; left out: {}{how}", self.left_out.join(", ")));
        }
    }

    /// For programs: of one bound an object, with what is certified of the data; of all a list of them.
    pub fn json(&self) -> Value {
        match &self.certificates[..] {
            [one] if !self.all => {
                let mut map = object(one, self.lower_bound);
                if let Some(samples) = &self.samples {
                    map.insert("accuracy".into(), samples.accuracy.into());
                    map.insert("eps_unit".into(), samples.unit.into());
                    let curve = samples.curve.iter().map(|p| p.json()).collect();
                    map.insert("certified_accuracy".into(), curve);
                    map.insert("radii".into(), samples.radii.iter().map(|r| r.1).collect());
                }
                map.into()
            }
            all => all.iter().map(|c| Value::Object(object(c, self.lower_bound))).collect(),
        }
    }

    /// The same as an object always, with what was refused and left out.
    pub fn summary(&self) -> Value {
        let mut summary = match self.json() {
            Value::Array(bounds) => {
                let refused: Map<String, Value> =
                    self.refused.iter().map(|(b, why)| (b.to_string(), why.clone().into())).collect();
                json!({ "lower_bound": self.lower_bound, "bounds": bounds, "refused": refused })
            }
            object => object,
        };
        if !self.left_out.is_empty() {
            summary["left_out"] = self.left_out.clone().into();
        }
        summary
    }

    fn write(&self, folder: &Folder, settings: &Settings) -> Result<()> {
        if let Some(certificate) = self.tightest() {
            folder.write_json(CERTIFICATE, &Saved::new(certificate, settings)?)?;
        }
        if let Some(samples) = &self.samples {
            let rows = samples.radii.iter().zip(&samples.predictions).enumerate();
            let lines = rows.map(|(i, ((label, radius), found))| format!("{i},{label},{found},{radius}\n"));
            let csv: String =
                std::iter::once("sample,class,prediction,radius\n".to_owned()).chain(lines).collect();
            folder.write(RADII, csv.as_bytes())?;
        }
        report::write(folder, self)?;
        folder.end(&self.summary(), (!self.left_out.is_empty()).then_some(StopReason::Time))
    }

    /// Refuses bounds that contradict a slope that was found, or the theory.
    fn check(&self) -> Result<()> {
        let failed = |why: String| Err(TaskError::Failed(why));
        let lower = self.lower_bound.unwrap_or(0.0);
        if let Some(e) = self.certificates.iter().find_map(|c| c.against(lower).err()) {
            return failed(e.to_string());
        }
        match self.contradiction() {
            Some(broken) => failed(format!("the bounds contradict the theory: {broken}; please report it")),
            None => Ok(()),
        }
    }

    /// The first pair of bounds that is not in its theoretical order.
    fn contradiction(&self) -> Option<String> {
        const CHAINS: &[&[&str]] = &[
            &["patterns", "nsr", "nsr-paper", "product"],
            &["patterns", "neuron", "layer", "product"],
            &["neuron", "eclipse"],
            &["neuron", "first-order"],
            &["nsr", "first-order"],
            &["neuron", "split:2", "product"],
        ];
        if !self.all {
            return None;
        }
        let value = |name: &str| self.certificates.iter().find(|c| c.method == name).map(|c| c.bound);
        CHAINS.iter().find_map(|chain| {
            let found: Vec<(&str, f64)> = chain.iter().filter_map(|n| Some((*n, value(n)?))).collect();
            let broken = found.windows(2).find(|w| w[0].1 > w[1].1 * (1.0 + 1e-5))?;
            Some(format!("{} {} above {} {}", broken[0].0, broken[0].1, broken[1].0, broken[1].1))
        })
    }
}

/// Norms of the inputs' and the outputs' change in words.
fn measured(norm: Norm, outputs: usize) -> &'static str {
    match (norm, outputs) {
        (Norm::L2, _) => "ℓ2",
        (_, 1) => "ℓ∞",
        (Norm::Linf, _) => "ℓ∞ to ℓ1",
        (Norm::LinfL2, _) => "ℓ∞ to ℓ2",
    }
}

/// A certificate for programs, without its multipliers.
pub(super) fn object(c: &Certificate, lower: Option<f64>) -> Map<String, Value> {
    let fields = json!({
        "bound": c.bound,
        "lower_bound": lower,
        "norm": c.norm,
        "method": c.method,
        "verified": c.verified,
        "basis": c.basis,
        "margin": c.margin,
        "theta": c.theta,
        "solver_value": c.solver_value,
        "gap": c.gap,
        "iterations": c.iterations,
        "seconds": c.seconds,
        "neurons": c.neurons,
        "lmi_size": c.lmi_size,
    });
    match fields {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
