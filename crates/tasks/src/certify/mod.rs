//! `thalweg certify`: how much an output can change, proved.

pub mod model;
mod report;
mod tour;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use thalweg::data::{Dataset, Targets, Values};
use thalweg::lipsdp::{
    Bound, Certificate, LipSdp, Network, Norm, Pairs, Sampling, attacked_accuracy, certify_samples,
    lower_bound, pair_bounds,
};
use thalweg::net::Preprocess;
use thalweg::plot::Table;

use crate::config::Common;
use crate::output;
use crate::subject::Piece;
use crate::task::{From, Part};
use model::{How, Subject};
pub use tour::all_bounds;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg train --data digits --model mlp:64-32-32-10 --epochs 20 --out run/
  thalweg certify run/model.safetensors --bound all
  thalweg certify run/model.safetensors --data digits --eps 0.05,0.1,0.2 --out certificate/
  thalweg certify weights.npz --activation maxmin --norm linf --output-row 7 --json

Archives hold W1, b1, W2, … (rows are outputs), v1, … for Householder, or U, bz, Wz, Wo, bo for an
equilibrium. The bound holds for the stored weights in real arithmetic, per unit of the scaled input
(pixels in [0, 1]); inference in float32 adds its own rounding. Exit code 3: nothing better than the
product of norms could be proved.")]
pub struct Certify {
    /// Model that `train` saved (safetensors), or an npz archive of weights
    model: PathBuf,
    /// Norm of the inputs' change
    #[arg(long, default_value = "l2")]
    norm: InputNorm,
    /// auto, neuron, layer, nsr, nsr-paper, first-order, eclipse, split:K, product, patterns, all
    #[arg(long, visible_alias = "method", default_value = "auto")]
    bound: String,
    /// Of an npz archive: relu, leaky:0.1, tanh, slope:a,b, maxmin, groupsort:N, householder, …
    #[arg(long, value_name = "NAME")]
    activation: Option<String>,
    /// Of a file that does not describe itself: a name or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    arch: Option<String>,
    /// Layers between the first and the last of an npz archive are blocks x + φ(W x + b)
    #[arg(long)]
    residual: bool,
    /// Preprocessing instead of the model's; an npz archive takes its scale only
    #[arg(long, value_name = "mean=…,std=…")]
    normalize: Option<Preprocess>,
    /// One output alone, from 0
    #[arg(long, value_name = "ROW", conflicts_with_all = ["pair", "to"])]
    output_row: Option<usize>,
    /// The difference of two outputs
    #[arg(long, value_name = "K,J", value_parser = parse_pair, conflicts_with = "to")]
    pair: Option<(usize, usize)>,
    /// Norm of the outputs' change under --norm linf [default: l1]
    #[arg(long)]
    to: Option<OutputNorm>,
    /// Data to certify: `digits`, a file or a folder
    #[arg(long)]
    data: Option<String>,
    /// Column of the labels (CSV, npz)
    #[arg(long)]
    label: Option<String>,
    /// Sizes of changes, of the scaled input
    #[arg(long, value_delimiter = ',', default_value = "0.05,0.1,0.2", requires = "data")]
    eps: Vec<f64>,
    /// Certify only the first N samples
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// A program of its own for each pair of classes: tighter radii, more time
    #[arg(long)]
    pairs: bool,
    /// Relative gap at which the solver stops; never affects whether a bound holds
    #[arg(long, default_value_t = 1e-8)]
    tol: f64,
    /// Memory for the solver
    #[arg(long, default_value = "4G", value_parser = parse_memory)]
    max_memory: u64,
    /// Repeat the proof of a certificate that --out wrote, without a solver
    #[arg(long, value_name = "certificate.json", conflicts_with_all = ["out", "data"])]
    check: Option<PathBuf>,
    /// Folder for certificate.json, summary.json, radii.csv and report.html
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, ValueEnum)]
enum InputNorm {
    L2,
    Linf,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum OutputNorm {
    L1,
    L2,
}

/// `3,8`.
fn parse_pair(text: &str) -> Result<(usize, usize), String> {
    let pair = text.split_once(',').and_then(|(k, j)| Some((k.trim().parse().ok()?, j.trim().parse().ok()?)));
    pair.ok_or_else(|| "use two classes, e.g. 3,8".into())
}

/// `4G`, `500M` or a number of bytes.
fn parse_memory(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_alphabetic()).len());
    let factor: f64 = match unit {
        "" | "B" => 1.0,
        "K" => 1024.0,
        "M" => 1048576.0,
        "G" => 1073741824.0,
        _ => return Err("use e.g. 500M or 4G".into()),
    };
    match number.parse::<f64>() {
        Ok(n) if n > 0.0 => Ok((n * factor) as u64),
        _ => Err("use e.g. 500M or 4G".into()),
    }
}

impl Certify {
    pub fn run(self) -> Result<()> {
        self.common.start()?;
        if let Some(eps) = self.eps.iter().find(|e| !(**e >= 0.0 && e.is_finite())) {
            bail!("eps = {eps} is not allowed; use numbers ≥ 0");
        }
        let how = How {
            activation: self.activation.as_deref(),
            arch: self.arch.as_deref(),
            residual: self.residual,
            normalize: self.normalize.as_ref(),
        };
        let subject = model::load(&self.model, &how)?;
        subject.notes.iter().for_each(|n| self.common.note(n));
        let net = self.aimed(&subject.net)?;
        if let Some(file) = &self.check {
            return self.check(file, &net);
        }
        if let Some(out) = &self.out {
            output::make_folder(out)?;
        }
        let settings =
            LipSdp { norm: self.norm(), tol: self.tol, max_memory: self.max_memory, ..LipSdp::default() };
        let lower = lower_bound(&net, settings.norm, &[], &Sampling::default());
        if self.bound == "all" {
            return self.all(&settings, &net, lower);
        }
        let settings = LipSdp { bound: self.bound.parse()?, ..settings };
        let certificate = settings.certify(&net)?;
        let mut summary = summary(&certificate, lower);
        if self.data.is_some() {
            summary.extend(self.samples(&settings, &subject, &certificate)?);
        }
        if let Some(out) = &self.out {
            output::write_json(&out.join("certificate.json"), &certificate)?;
            output::write_json(&out.join("summary.json"), &summary)?;
            self.picture(out, &certificate, lower, &summary)?;
        }
        match self.common.json {
            true => output::print_json(&summary)?,
            false => output::print(&text(&certificate, lower, &summary))?,
        }
        self.conclude(certificate.verified)
    }

    /// The report of one certificate: with data their accuracy, else the bound by itself.
    fn picture(
        &self,
        out: &Path,
        c: &Certificate,
        lower: Option<f64>,
        summary: &Map<String, Value>,
    ) -> Result<()> {
        let title = format!("{}: {}", self.model.display(), headline(c, lower));
        match accuracies(summary) {
            Some((curve, table)) => {
                let caption = "Certified: no change of this size can alter the answer. Attacked: none was found that does.";
                report::write(out, &title, &table, ("accuracy", &report::accuracy(curve), caption))
            }
            None => {
                let mut table = Table::new(["method", "bound", "sampled", "seconds"]);
                let bound = format!("{:.6}", c.bound);
                table.row([c.method.clone(), bound, sampled(lower), format!("{:.3}", c.seconds)]);
                let figure = report::bounds(&[(c.method.clone(), c.bound)], lower);
                report::write(out, &title, &table, ("bounds", &figure, PROVED))
            }
        }
    }

    /// A bound that is only the fallback ends the program with a code of its own.
    fn conclude(&self, verified: bool) -> Result<()> {
        if !verified {
            self.common
                .note("warning: the solver's multipliers were not proved; the bound is the product of norms");
            std::process::exit(3);
        }
        Ok(())
    }

    fn norm(&self) -> Norm {
        match (self.norm, self.to) {
            (InputNorm::L2, _) => Norm::L2,
            (InputNorm::Linf, Some(OutputNorm::L2)) => Norm::LinfL2,
            (InputNorm::Linf, _) => Norm::Linf,
        }
    }

    /// The network with the output that is asked for.
    fn aimed(&self, net: &Network) -> Result<Network> {
        if matches!(self.norm, InputNorm::L2) && self.to == Some(OutputNorm::L1) {
            bail!("--to l1 belongs to --norm linf");
        }
        Ok(match (&self.pair, self.output_row) {
            (Some((k, j)), _) => net.pair(*k, *j)?,
            (_, Some(row)) => net.row(row)?,
            _ => net.clone(),
        })
    }

    fn check(&self, file: &Path, net: &Network) -> Result<()> {
        let named = || file.display().to_string();
        let text = std::fs::read_to_string(file).with_context(named)?;
        let certificate: Certificate = serde_json::from_str(&text).with_context(named)?;
        let proved = LipSdp::check(&certificate, net).with_context(named)?;
        let (claimed, method) = (certificate.bound, certificate.method);
        match self.common.json {
            true => output::print_json(&json!({ "verified": true, "bound": claimed, "proved": proved })),
            false => output::print(&format!("proved: {proved:.8} (claimed {claimed:.8}, by {method})\n")),
        }
    }

    fn all(&self, settings: &LipSdp, net: &Network, lower: Option<f64>) -> Result<()> {
        let mut table = Table::new(["method", "bound", "over the sampled", "verified", "seconds"]);
        let (mut proved, mut list) = (Vec::new(), Vec::new());
        let mut verified = true;
        for (bound, found) in settings.all(net) {
            match found {
                Ok(c) => {
                    let ratio = lower.map_or_else(|| "–".into(), |l| format!("{:.4}", c.bound / l));
                    let cells = [c.method.clone(), format!("{:.6}", c.bound), ratio];
                    let rest =
                        [if c.verified { "yes" } else { "fallback" }.into(), format!("{:.3}", c.seconds)];
                    table.row(cells.into_iter().chain(rest));
                    verified &= c.verified;
                    list.push(Value::Object(summary(&c, lower)));
                    proved.push((c.method, c.bound));
                }
                // What does not apply is left out, with the reason for people.
                Err(e) => self.common.note(format!("{bound}: {e}")),
            }
        }
        let order = order(&list);
        if let Some(out) = &self.out {
            output::write_json(&out.join("summary.json"), &list)?;
            let (title, figure) = (self.model.display().to_string(), report::bounds(&proved, lower));
            report::write(out, &title, &table, ("bounds", &figure, PROVED))?;
        }
        match self.common.json {
            true => output::print_json(&list)?,
            false => {
                output::print(&format!("{}\nsampled lower bound {}\n", table.text(), sampled(lower)))?;
            }
        }
        if let Some(broken) = order {
            bail!(crate::failure::Failed(format!(
                "the bounds contradict the theory: {broken}; please report it"
            )));
        }
        self.conclude(verified)
    }

    /// Certified accuracy of the data beside what an attack leaves.
    fn samples(
        &self,
        settings: &LipSdp,
        subject: &Subject,
        whole: &Certificate,
    ) -> Result<Map<String, Value>> {
        if self.pair.is_some() || self.output_row.is_some() {
            bail!("--data certifies whole networks; leave out --pair and --output-row");
        }
        let data = self.data.clone().unwrap_or_default();
        let loaded = From { data, test: None, label: self.label.clone(), limit: None }.load()?;
        self.common.note(&loaded.description);
        let piece = match Part::default_for(&loaded) {
            Part::All => Piece::whole(loaded.source)?,
            _ => Piece::both(loaded.source).1,
        };
        let Piece::Set(data) = piece else { bail!("certify needs examples with classes, not text") };
        let (samples, labels) = examples(&data, subject, self.limit)?;
        let settings = LipSdp { norm: self.norm(), bound: Bound::Auto, ..settings.clone() };
        let pairs = if self.pairs { Pairs::Program } else { Pairs::Cheap };
        let bounds = pair_bounds(&settings, &subject.net, whole, pairs)?;
        let unknown = "the activation is known by its slopes only, so the network cannot be evaluated";
        let done =
            certify_samples(&subject.net, settings.norm, &bounds, &samples, &labels).context(unknown)?;
        if let Some(out) = &self.out {
            let rows = done.radii.iter().zip(&labels).enumerate();
            let lines = rows.map(|(i, (r, label))| format!("{i},{label},{r}\n"));
            let csv: String = std::iter::once("sample,class,radius\n".to_owned()).chain(lines).collect();
            output::write(&out.join("radii.csv"), csv.as_bytes())?;
        }
        let mut curve = Vec::new();
        for &eps in &self.eps {
            let attacked = attacked_accuracy(&subject.net, settings.norm, &samples, &labels, eps, 40)
                .context(unknown)?;
            curve.push(json!({ "eps": eps, "certified": done.certified(eps), "attacked": attacked }));
        }
        let mut map = Map::new();
        map.insert("accuracy".into(), done.accuracy.into());
        map.insert("certified_accuracy".into(), curve.into());
        map.insert("radii".into(), json!(done.radii));
        Ok(map)
    }
}

/// Samples as the network sees them, and the numbers of their classes.
fn examples(data: &Dataset, subject: &Subject, limit: Option<usize>) -> Result<(Vec<Vec<f64>>, Vec<usize>)> {
    let Targets::Classes { labels, names } = &data.targets else {
        bail!("certified accuracy needs classes; the data has numbers to predict")
    };
    let (width, inputs) = (data.example_len(), subject.net.inputs());
    if width != inputs {
        bail!(
            "the network reads {inputs} numbers per sample but the data has {width}; use data of this shape"
        );
    }
    let number = |label: &u32| -> Result<usize> {
        let name = &names[*label as usize];
        let place = match subject.classes.is_empty() {
            true => Some(*label as usize),
            false => subject.classes.iter().position(|c| c == name),
        };
        place
            .filter(|p| *p < subject.net.outputs())
            .with_context(|| format!("the model has no class {name:?}"))
    };
    let raw: Vec<f64> = match &data.x {
        Values::Bytes(b) => b.iter().map(|x| subject.scale * f64::from(*x)).collect(),
        Values::Floats(f) => f.iter().map(|x| subject.scale * f64::from(*x)).collect(),
    };
    let count = limit.unwrap_or(labels.len()).min(labels.len());
    let samples = raw.chunks(width).take(count).map(<[f64]>::to_vec).collect();
    Ok((samples, labels[..count].iter().map(number).collect::<Result<_>>()?))
}

/// The object of `--json`.
fn summary(c: &Certificate, lower: Option<f64>) -> Map<String, Value> {
    let fields = json!({
        "bound": c.bound,
        "lower_bound": lower,
        "norm": c.norm,
        "method": c.method,
        "verified": c.verified,
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

const PROVED: &str = "No two inputs differ by more than this per unit of their distance.";

/// The sampled lower bound in words.
fn sampled(lower: Option<f64>) -> String {
    lower.map_or_else(|| "–".into(), |l| format!("{l:.6}"))
}

fn headline(c: &Certificate, lower: Option<f64>) -> String {
    let lower = sampled(lower);
    format!("bound {:.6}   sampled {lower}   by {} in {:.3} s", c.bound, c.method, c.seconds)
}

fn text(c: &Certificate, lower: Option<f64>, summary: &Map<String, Value>) -> String {
    let table = accuracies(summary).map_or_else(String::new, |(_, table)| format!("\n{}", table.text()));
    format!("{}\n{table}", headline(c, lower))
}

/// Certified and attacked accuracy, if there were data.
fn accuracies(summary: &Map<String, Value>) -> Option<(&[Value], Table)> {
    let curve = summary.get("certified_accuracy")?.as_array()?;
    let mut table = Table::new(["eps", "certified %", "attacked %"]);
    let percent = |v: &Value| format!("{:.2}", 100.0 * v.as_f64().unwrap_or(f64::NAN));
    for row in curve {
        table.row([row["eps"].to_string(), percent(&row["certified"]), percent(&row["attacked"])]);
    }
    Some((curve, table))
}

/// The first pair of bounds that is not in its theoretical order.
fn order(list: &[Value]) -> Option<String> {
    const CHAINS: &[&[&str]] = &[
        &["patterns", "nsr", "nsr-paper", "product"],
        &["patterns", "neuron", "layer", "product"],
        &["neuron", "eclipse"],
        &["neuron", "first-order"],
        &["nsr", "first-order"],
        &["neuron", "split:2", "product"],
    ];
    let value = |name: &str| list.iter().find(|c| c["method"] == name).and_then(|c| c["bound"].as_f64());
    let lower = list.iter().find_map(|c| c["lower_bound"].as_f64()).unwrap_or(0.0);
    let least = list.iter().filter_map(|c| c["bound"].as_f64()).fold(f64::INFINITY, f64::min);
    if least < lower {
        return Some(format!("a bound of {least} below the sampled {lower}"));
    }
    CHAINS.iter().find_map(|chain| {
        let found: Vec<(&str, f64)> = chain.iter().filter_map(|n| Some((*n, value(n)?))).collect();
        let broken = found.windows(2).find(|w| w[0].1 > w[1].1 * (1.0 + 1e-5))?;
        Some(format!("{} {} above {} {}", broken[0].0, broken[0].1, broken[1].0, broken[1].1))
    })
}
