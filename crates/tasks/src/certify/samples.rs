//! Certified accuracy of data beside what an attack leaves.

use std::time::Instant;

use rayon::prelude::*;
use serde_json::{Value, json};
use thalweg_data::{Dataset, Source, Targets, Values};
use thalweg_lipsdp::robust::{Pairs, Robustness, all_pairs, attack, certify_samples, pair_bound};
use thalweg_lipsdp::{Bound, Certificate, Mat};

use super::job::Watch;
use super::{Engine, EpsUnit, LoadedNetwork, Settings};
use crate::error::bail;
use crate::model::{DataPart, cut_anew, scored_part};
use crate::source::{DataSource, Part};
use crate::{Context, Host, Result, TaskError};

/// What is certified of labelled samples.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Classes of the samples, and per sample: no change of a smaller norm changes its (correct) class; 0 if it is
    /// wrong.
    pub radii: Vec<(usize, f64)>,
    /// What the network answers.
    pub predictions: Vec<usize>,
    /// Share of samples classified correctly.
    pub accuracy: f64,
    /// What a change of size 1, in which `radii` and `curve` count, is in the data's own numbers.
    pub unit: f64,
    /// Shares of samples over the size of the change.
    pub curve: Vec<CurvePoint>,
}

/// Shares of samples at one size of the change.
#[derive(Clone, Copy, Debug)]
pub struct CurvePoint {
    /// Size ε of the change, in the unit of the samples.
    pub eps: f64,
    /// No change of this size alters the answer.
    pub certified: f64,
    /// None was found that does.
    pub attacked: f64,
}

impl CurvePoint {
    pub(super) fn json(&self) -> Value {
        json!({ "eps": self.eps, "certified": self.certified, "attacked": self.attacked })
    }
}

/// Steps of the attack.
const STEPS: usize = 40;

/// Samples as the network sees them, with the numbers of their classes.
pub(super) struct Labelled {
    x: Vec<Vec<f64>>,
    labels: Vec<usize>,
    /// A change of size 1 in the data's own numbers.
    unit: f64,
    /// Multiplies these.
    scale: f64,
}

impl Labelled {
    /// Those that the settings name, if they do.
    pub fn load(settings: &Settings, loaded: &LoadedNetwork, host: &Host) -> Result<Option<Self>> {
        if settings.data.is_none() {
            return Ok(None);
        }
        loaded.net.written_out().context("`data` is certified by values of the network as matrices")?;
        let label = settings.label.as_deref();
        let source = DataSource::named(settings.data.as_deref(), None, label, &settings.reading)?;
        let mut source = source.with(None, settings.seed);
        let model = loaded.engine.as_ref().map(Engine::model);
        if let Some(model) = model {
            source = source.for_model(model);
        }
        let parted = source.clone();
        let mut source = source.load()?;
        host.note(&source.description);
        if let Some(model) = model {
            source.notes.extend(cut_anew(model, parted.cut_of(&source).as_ref()));
        }
        source.notes.iter().for_each(|note| host.note(note));
        let unit = match (&source.source, settings.eps_unit.unwrap_or_default()) {
            (Source::Examples { train, .. }, EpsUnit::Range) => {
                let (least, most) = range(&train.x);
                if most <= least {
                    bail!("all inputs of the data are {least}, so they have no range; set `eps-unit` to raw");
                }
                let unit = most - least;
                host.note(format!(
                    "`eps` 1 is {unit} in the data's own numbers, their range from {least} to {most}"
                ));
                unit
            }
            _ => 1.0,
        };
        let (part, why) = match model {
            Some(model) => scored_part(model, &source),
            None if Part::default_for(&source) == Part::All => (Part::All, "all examples"),
            None => (Part::Test, "the test part"),
        };
        host.note(format!("certified: {why}"));
        let part = match part {
            Part::All => DataPart::whole(source.source)?,
            _ => DataPart::both(source.source).1,
        };
        let DataPart::Set(data) = part else { bail!("certify needs examples with classes, not text") };
        Self::of(&data, loaded, unit, settings.limit).map(Some)
    }

    /// Where the network is evaluated.
    pub fn points(&self) -> &[Vec<f64>] {
        &self.x
    }

    fn of(data: &Dataset, loaded: &LoadedNetwork, unit: f64, limit: Option<usize>) -> Result<Self> {
        let Targets::Classes { labels, names } = &data.targets else {
            bail!("certified accuracy needs classes; the data has numbers to predict")
        };
        let (width, inputs) = (data.example_len(), loaded.net.inputs());
        if width != inputs {
            bail!(
                "the network reads {inputs} numbers per sample but the data has {width}; use data of this shape"
            );
        }
        let number = |label: &u32| -> Result<usize> {
            let name = &names[*label as usize];
            let place = match loaded.classes.is_empty() {
                true => Some(*label as usize),
                false => loaded.classes.iter().position(|c| c == name),
            };
            place
                .filter(|p| *p < loaded.net.outputs())
                .with_context(|| format!("the model has no class {name:?}"))
        };
        let bytes = matches!(data.x, Values::Bytes(_));
        let scale = loaded.scale.unwrap_or(if bytes { 1.0 / 255.0 } else { 1.0 });
        if scale == 0.0 {
            bail!("the scale of the preprocessing is 0, so no change of an input matters; set `normalize`");
        }
        let raw: Vec<f64> = match &data.x {
            Values::Bytes(b) => b.iter().map(|x| scale * f64::from(*x)).collect(),
            Values::Floats(f) => f.iter().map(|x| scale * f64::from(*x)).collect(),
        };
        let count = limit.unwrap_or(labels.len()).min(labels.len());
        let x = raw.chunks(width).take(count).map(<[f64]>::to_vec).collect();
        let labels = labels[..count].iter().map(number).collect::<Result<_>>()?;
        Ok(Self { x, labels, unit, scale: scale.abs() })
    }

    /// Certifies and attacks them, as far as the time reaches. A sample that is certified and falls is an error.
    pub fn certify(
        &self,
        settings: &Settings,
        loaded: &LoadedNetwork,
        whole: &Certificate,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Samples>> {
        let net = loaded.net.written_out()?;
        let Some(bounds) = bounds(settings, loaded, whole, watch)? else {
            watch.left_out.push("the samples".into());
            return Ok(None);
        };
        let done = certify_samples(net, &bounds, &self.x, &self.labels)?;
        let radii: Vec<f64> = done.radii.iter().zip(&self.x).map(|(r, x)| self.in_units(*r, x)).collect();
        let done = Robustness { radii, ..done };
        let mut curve = Vec::new();
        for &eps in settings.eps() {
            if watch.time_is_up()? {
                watch.left_out.push(format!("ε = {eps}"));
                continue;
            }
            let clock = Instant::now();
            let size = eps * self.unit * self.scale;
            let survived = attack(net, settings.norm(), &self.x, &self.labels, size, STEPS)?;
            if let Some(i) = (0..survived.len()).find(|i| !survived[*i] && done.radii[*i] > eps) {
                return Err(TaskError::Failed(format!(
                    "sample {i} is certified up to {} but a change of {eps} alters its answer; please report it",
                    done.radii[i]
                )));
            }
            let attacked = survived.iter().filter(|s| **s).count() as f64 / survived.len().max(1) as f64;
            let point = CurvePoint { eps, certified: done.certified(eps), attacked };
            watch.record(json!({
                "eps": eps,
                "value": point.certified,
                "attacked": point.attacked,
                "seconds": clock.elapsed().as_secs_f64(),
            }))?;
            curve.push(point);
        }
        let radii = self.labels.iter().copied().zip(done.radii).collect();
        let predictions = done.predictions;
        Ok(Some(Samples { radii, predictions, accuracy: done.accuracy, unit: self.unit, curve }))
    }

    /// A radius around the scaled sample `x` in the unit of changes, rounded down; the sample itself was rounded when it
    /// was scaled.
    fn in_units(&self, radius: f64, x: &[f64]) -> f64 {
        let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let left = radius - 4.0 * f64::EPSILON * length;
        (left / (self.unit * self.scale) * (1.0 - 8.0 * f64::EPSILON)).max(0.0)
    }
}

/// The least and the largest input.
fn range(values: &Values) -> (f64, f64) {
    let of = |all: &mut dyn Iterator<Item = f64>| {
        all.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)))
    };
    match values {
        Values::Bytes(bytes) => of(&mut bytes.iter().map(|x| f64::from(*x))),
        Values::Floats(floats) => of(&mut floats.iter().map(|x| f64::from(*x))),
    }
}

/// Bounds of the differences of all pairs of outputs, symmetric; none if the time does not suffice.
fn bounds(
    settings: &Settings,
    loaded: &LoadedNetwork,
    whole: &Certificate,
    watch: &mut Watch<'_>,
) -> Result<Option<Mat<f64>>> {
    let method = settings.method(Bound::Auto);
    let pairs = if settings.pairs == Some(true) { Pairs::Program } else { Pairs::Cheap };
    let net = loaded.net.written_out()?;
    let norms = match whole.method == Bound::Product.to_string() {
        true => loaded.net.pair_products(settings.norm()),
        false => None,
    };
    let bound = |&pair: &(usize, usize)| {
        let clock = Instant::now();
        let bound = match (norms.as_ref().map(|n| n[pair]), pairs) {
            (Some(bound), Pairs::Cheap) => bound,
            (Some(bound), Pairs::Program) => method.certify(&net.pair(pair.0, pair.1)?)?.bound.min(bound),
            (None, _) => pair_bound(&method, net, whole, pairs, pair)?,
        };
        Ok((pair, bound, clock.elapsed().as_secs_f64()))
    };
    let m = loaded.net.outputs();
    let list = all_pairs(m);
    let mut all = Mat::zeros(m, m);
    let mut meter = watch.host.meter("pairs of classes", Some(list.len() as u64));
    let mut made = 0;
    meter.iter_mut().for_each(|m| m.begin(made));
    for some in list.chunks(4 * rayon::current_num_threads()) {
        if watch.time_is_up()? {
            return Ok(None);
        }
        for ((k, j), bound, seconds) in some.par_iter().map(bound).collect::<Result<Vec<_>>>()? {
            all[(k, j)] = bound;
            all[(j, k)] = bound;
            made += 1;
            meter.iter_mut().for_each(|m| m.show(made, bound));
            watch.record(json!({ "pair": [k, j], "value": bound, "seconds": seconds }))?;
        }
    }
    meter.iter_mut().for_each(|m| m.finish(made, whole.bound));
    Ok(Some(all))
}
