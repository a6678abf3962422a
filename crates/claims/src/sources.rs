//! The data that claims are measured on, and what they do with the results.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use thalweg::data::{Dataset, Source, Targets, Text, Values};
use thalweg::net::Normalize;
use thalweg::plot::Figure;
use thalweg::tasks::Finding;
use thalweg::tasks::source::{DataSource, Parted, Prepared};
use thalweg::train::compare::{By, Length, Row, Setting, leader, moments, table};

use crate::claim::Options;

/// The multilayer perceptron that the methods are compared on.
pub const MLP: &str = "mlp:784-256-128-10";

/// Files of data; those not named are looked for in the shared folder.
#[derive(Args)]
pub struct Sources {
    /// MNIST training images (IDX)
    #[arg(long, value_name = "FILE")]
    pub mnist: Option<PathBuf>,
    /// CIFAR-10 training images (binary)
    #[arg(long, value_name = "FILE")]
    pub cifar: Option<PathBuf>,
    /// A text
    #[arg(long, value_name = "FILE")]
    pub text: Option<PathBuf>,
    /// `digits`: use the embedded images in place of MNIST; the marks are MNIST's
    #[arg(long, value_name = "digits")]
    pub data: Option<String>,
    #[command(flatten)]
    pub options: Options,
}

impl Sources {
    /// Checks the options and starts the threads.
    pub fn start(&self) -> Result<()> {
        if self.options.seeds == 0 {
            bail!("seeds = 0 is not allowed; use at least 1");
        }
        self.options.start()
    }

    fn mnist(&self) -> Result<DataSource> {
        Ok(from(named(&self.mnist, "vision/mnist-train-images-idx3-ubyte.gz", "--mnist")?))
    }

    fn book(&self) -> Result<DataSource> {
        Ok(from(named(&self.text, "text/tinyshakespeare-train.txt.gz", "--text")?))
    }

    /// The file of CIFAR-10 images.
    pub fn cifar(&self) -> Result<PathBuf> {
        named(&self.cifar, "vision/cifar10-train-3000.bin.gz", "--cifar")
    }

    /// The first `limit` MNIST images.
    pub fn digits(&self, arch: &str, limit: usize) -> Result<Prepared> {
        if let Some(data) = self.data.clone() {
            let arch = arch.replace("784", "64");
            return Ok(Prepared::load(&DataSource { data, ..DataSource::default() }, &arch, None)?);
        }
        let from = DataSource { limit: Some(limit), ..self.mnist()? };
        let normalize: Normalize = "mean=0.1307,std=0.3081".parse()?;
        Ok(Prepared::load(&from, arch, Some(&normalize))?)
    }

    /// The first `limit` MNIST images, each its own target.
    pub fn autoencoder(&self, arch: &str, limit: usize) -> Result<Prepared> {
        let (from, arch) = match self.data.clone() {
            Some(data) => (DataSource { data, ..DataSource::default() }, arch.replace("784", "64")),
            None => (self.mnist()?, arch.into()),
        };
        let loaded = DataSource { limit: Some(limit), ..from }.load()?;
        let Source::Examples { train, test } = loaded.source else { bail!("an autoencoder needs images") };
        let normalize: Normalize = "mean=0,std=1".parse()?;
        let own = |set: Dataset| {
            let values = match &set.x {
                Values::Bytes(raw) => raw.iter().map(|p| f32::from(*p) / 255.0).collect(),
                Values::Floats(raw) => raw.clone(),
            };
            let targets = Targets::Values { values, width: set.example_len() };
            Dataset { targets, ..set }
        };
        let train = own(train.slice(0..limit.min(train.len())));
        Ok(Prepared::of_sets(loaded.description, train, own(test), &arch, Some(&normalize))?)
    }

    /// CIFAR-10 images.
    pub fn images(&self, arch: &str) -> Result<Prepared> {
        Ok(Prepared::load(&from(self.cifar()?), arch, None)?)
    }

    /// A text.
    pub fn text(&self, arch: &str) -> Result<Prepared> {
        Ok(Prepared::load(&self.book()?, arch, None)?)
    }

    /// Both halves of a text's training part, scored on the same test part.
    pub fn halves(&self, arch: &str) -> Result<(Prepared, Prepared)> {
        let loaded = self.book()?.load()?;
        let Source::Text { train, test } = loaded.source else { bail!("two halves of a text need a text") };
        let (first, second) = train.tokens.split_at(train.tokens.len() / 2);
        let half = |tokens: &[u32]| {
            let part = Text { tokens: tokens.to_vec(), ..train.clone() };
            Ok::<_, anyhow::Error>(Prepared::of_texts(loaded.description.clone(), part, test.clone(), arch)?)
        };
        Ok((half(first)?, half(second)?))
    }

    /// The usual setting: batch 128, linear decay.
    pub fn setting(&self, length: Length) -> Setting<'static> {
        Setting { batch: 128, length, schedule: "linear", seeds: self.options.seeds, from: &[] }
    }

    /// A finding about rows, with a picture of what they are judged by. Who leads is said first.
    pub fn finding(
        &self,
        name: &'static str,
        title: &str,
        text: String,
        rows: &[Row],
        by: By,
        marks: Vec<(String, bool)>,
    ) -> Finding {
        let (quantity, of): (_, fn(&Row) -> &[f64]) = match by {
            By::Accuracy => ("test accuracy %", |row| &row.accuracy),
            By::Loss => ("test loss", |row| &row.test_loss),
        };
        let shown = |r: &&Row| by == By::Loss || r.mean() > 50.0;
        let bars: Vec<(String, f64, f64)> = rows
            .iter()
            .filter(shown)
            .map(|r| {
                let (mean, sd) = moments(of(r));
                (format!("{} {}", r.label, r.rate()), mean, sd)
            })
            .collect();
        let figure = Figure::new(title).y_label(quantity).bars(quantity, &bars);
        let seeds = self.options.seeds;
        let rule = match rows.iter().all(|r| r.grid.is_empty()) {
            true => String::new(),
            false => format!(" {RULE}"),
        };
        Finding {
            name,
            title: title.into(),
            text: format!("{} {text}{rule} Mean ± standard deviation over {seeds} seeds.", leader(rows, by)),
            table: table(rows),
            figures: if bars.is_empty() {
                Vec::new()
            } else {
                vec![(figure, "Whiskers: one standard deviation.".into())]
            },
            marks,
            data: serde_json::to_value(rows).unwrap_or_default(),
        }
    }
}

/// How [`tuned`](thalweg::train::compare::tuned) chooses.
pub const RULE: &str = "Each method at the best of its usual rate times ¼, ½, 1, 2, 4, and more beyond an end that is best, on a held-out sixth of the training part.";

/// Published figures are of the end of each file.
fn from(file: PathBuf) -> DataSource {
    let data = file.display().to_string();
    DataSource { data, parted: Some(Parted::tail()), ..DataSource::default() }
}

/// The shared data folder: the variable THALWEG_DATA, or `../shared/data`.
pub fn shared_data() -> PathBuf {
    std::env::var_os("THALWEG_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from)
}

/// A file or folder of the shared data that must be there.
pub fn shared_file(path: impl AsRef<Path>) -> Result<PathBuf> {
    let file = shared_data().join(path);
    if !file.exists() {
        bail!("{} does not exist; name the folder of shared data with THALWEG_DATA", file.display());
    }
    Ok(file)
}

/// A file that was named with `flag`, or one of the shared folder.
pub fn named(file: &Option<PathBuf>, shared: &str, flag: &str) -> Result<PathBuf> {
    let file = file.clone().unwrap_or_else(|| shared_data().join(shared));
    if !file.exists() {
        bail!(
            "{} does not exist; name the data with {flag}, or the folder of shared data with THALWEG_DATA",
            file.display()
        );
    }
    Ok(file)
}
