use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use thalweg_data::{Dataset, Targets, Text, Values};
use thalweg_net::kernel::{par_rows, vectorize};
use thalweg_net::{Batch, Preprocess};

use super::TrainError;

/// Data as a network reads it: preprocessed on the fly, so that the raw bytes stay small.
#[derive(Clone, Debug)]
pub struct Examples {
    kind: Kind,
    shape: Vec<usize>,
}

#[derive(Clone, Debug)]
enum Kind {
    /// A channel's value is `raw · gain + offset`.
    Set { data: Dataset, gain: Vec<f32>, offset: Vec<f32> },
    /// Windows of a text; each character's target is the next one.
    Windows(Text),
}

/// Random changes of training images, as is usual for CIFAR (He et al. 2016).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Black pixels added on every side before a random crop to the old size. Default 0.
    pub pad: usize,
    /// Mirror every second image, at random. Default off.
    pub flip: bool,
}

/// Numbers of one mini-batch.
#[derive(Clone, Debug, Default)]
pub struct Minibatch {
    x: Vec<f32>,
    labels: Vec<u32>,
    values: Vec<f32>,
    examples: usize,
}

impl Minibatch {
    /// As the network takes it.
    pub fn batch(&self) -> Batch<'_, f32> {
        let targets = match self.values.is_empty() {
            true => thalweg_net::Targets::Classes(&self.labels),
            false => thalweg_net::Targets::Values(&self.values),
        };
        Batch { x: &self.x, targets, weights: None }
    }

    /// The same in `n` parts of about equal size, no more than there are examples.
    pub fn parts(&self, n: usize) -> Vec<Batch<'_, f32>> {
        let n = n.min(self.examples).max(1);
        let cut = |len: usize, i: usize| {
            let each = len / self.examples.max(1); // numbers per example
            i * self.examples / n * each..(i + 1) * self.examples / n * each
        };
        let part = |i: usize| Batch {
            x: &self.x[cut(self.x.len(), i)],
            targets: match self.values.is_empty() {
                true => thalweg_net::Targets::Classes(&self.labels[cut(self.labels.len(), i)]),
                false => thalweg_net::Targets::Values(&self.values[cut(self.values.len(), i)]),
            },
            weights: None,
        };
        (0..n).map(part).collect()
    }

    /// Class of each row of the output; empty for real targets.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Targets, row by row; empty for classes.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

/// The preprocessing that gives each channel of `data` mean 0 and standard deviation 1; bytes are
/// first brought to [0, 1]. Channels that do not vary are only centred.
pub fn standardize(data: &Dataset) -> Preprocess {
    let channels = data.shape.last().copied().unwrap_or(1).max(1);
    let (scale, moments) = match &data.x {
        Values::Bytes(raw) => (1.0 / 255.0, moments(raw, channels, |p| f64::from(*p) / 255.0)),
        Values::Floats(raw) => (1.0, moments(raw, channels, |p| f64::from(*p))),
    };
    let std = |&(_, var): &(f64, f64)| if var > 0.0 { var.sqrt() as f32 } else { 1.0 };
    Preprocess {
        scale,
        mean: moments.iter().map(|m| m.0 as f32).collect(),
        std: moments.iter().map(std).collect(),
    }
}

/// Mean and variance per channel, in two passes.
fn moments<P>(raw: &[P], channels: usize, value: impl Fn(&P) -> f64) -> Vec<(f64, f64)> {
    let n = (raw.len() / channels).max(1) as f64;
    let mean_of = |term: &dyn Fn(usize, f64) -> f64| {
        let mut sums = vec![0.0; channels];
        for row in raw.chunks_exact(channels) {
            sums.iter_mut().zip(row).enumerate().for_each(|(c, (s, p))| *s += term(c, value(p)));
        }
        sums.iter().map(|s| s / n).collect::<Vec<f64>>()
    };
    let mean = mean_of(&|_, p| p);
    let variance = mean_of(&|c, p| (p - mean[c]).powi(2));
    mean.into_iter().zip(variance).collect()
}

impl Examples {
    /// Examples of a table or of images.
    pub fn set(data: Dataset, preprocess: &Preprocess) -> Result<Self, TrainError> {
        if data.is_empty() {
            return Err(TrainError::Empty("data set"));
        }
        let channels = data.shape.last().copied().unwrap_or(1);
        preprocess.check(channels)?;
        let spread = |v: &[f32]| v.iter().copied().cycle().take(channels).collect::<Vec<f32>>();
        let (mean, std) = (spread(&preprocess.mean), spread(&preprocess.std));
        let gain = std.iter().map(|s| preprocess.scale / s).collect();
        let offset = mean.iter().zip(&std).map(|(m, s)| -m / s).collect();
        let shape = data.shape.clone();
        Ok(Self { kind: Kind::Set { data, gain, offset }, shape })
    }

    /// Windows of `context` characters.
    pub fn windows(text: Text, context: usize) -> Result<Self, TrainError> {
        let (found, needed) = (text.tokens.len(), context + 1);
        if found < needed {
            return Err(TrainError::ShortText { found, needed });
        }
        Ok(Self { kind: Kind::Windows(text), shape: vec![context] })
    }

    /// The first `n` examples, or characters of a text, and the others.
    ///
    /// # Errors
    /// One of the parts would be empty.
    pub fn split(&self, n: usize) -> Result<(Self, Self), TrainError> {
        let part = |kind| Self { kind, shape: self.shape.clone() };
        match &self.kind {
            Kind::Set { data, gain, offset } => {
                if n == 0 || n >= data.len() {
                    return Err(TrainError::Empty("part of the data"));
                }
                let cut = |range| {
                    let data = data.slice(range);
                    part(Kind::Set { data, gain: gain.clone(), offset: offset.clone() })
                };
                Ok((cut(0..n), cut(n..data.len())))
            }
            Kind::Windows(text) => {
                let (first, second) = text.tokens.split_at(n.min(text.tokens.len()));
                let cut = |tokens: &[u32]| {
                    Self::windows(Text { tokens: tokens.to_vec(), ..text.clone() }, self.shape[0])
                };
                Ok((cut(first)?, cut(second)?))
            }
        }
    }

    /// Examples, or characters of a text.
    pub(crate) fn size(&self) -> usize {
        match &self.kind {
            Kind::Set { data, .. } => data.len(),
            Kind::Windows(text) => text.tokens.len(),
        }
    }

    /// Shape of one example.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of examples; of a text, the number of windows beside each other.
    pub fn len(&self) -> usize {
        match &self.kind {
            Kind::Set { data, .. } => data.len(),
            Kind::Windows(text) => (text.tokens.len() - 1) / self.shape[0],
        }
    }

    /// Never: both constructors refuse an empty set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether examples may start anywhere, so that a mini-batch draws places and not from a
    /// shuffled list.
    pub fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Windows(_))
    }

    /// Number of places where an example may start.
    pub(super) fn places(&self) -> usize {
        match &self.kind {
            Kind::Set { data, .. } => data.len(),
            Kind::Windows(text) => text.tokens.len() - self.shape[0],
        }
    }

    /// The place of the `i`-th example in order.
    pub(crate) fn place(&self, i: usize) -> usize {
        if self.is_text() { i * self.shape[0] } else { i }
    }

    /// Number of classes, or of real targets.
    pub fn outputs(&self) -> usize {
        match &self.kind {
            Kind::Set { data, .. } => match &data.targets {
                Targets::Classes { names, .. } => names.len(),
                Targets::Values { width, .. } => *width,
            },
            Kind::Windows(text) => text.vocabulary.len(),
        }
    }

    /// Fills `out` with the examples at `places`, changed at random if asked.
    pub fn gather(&self, places: &[usize], augment: Option<(Augment, &mut ChaCha8Rng)>, out: &mut Minibatch) {
        out.x.clear();
        out.labels.clear();
        out.values.clear();
        out.examples = places.len();
        match &self.kind {
            Kind::Windows(text) => {
                for &at in places {
                    let window = &text.tokens[at..=at + self.shape[0]];
                    out.x.extend(window[..self.shape[0]].iter().map(|&t| t as f32));
                    out.labels.extend(&window[1..]);
                }
            }
            Kind::Set { data, gain, offset } => {
                let n = data.example_len();
                match (augment, &data.x) {
                    (None, Values::Bytes(raw)) => {
                        rows(places, n, raw, |p| f32::from(*p), gain, offset, &mut out.x);
                    }
                    (None, Values::Floats(raw)) => rows(places, n, raw, |p| *p, gain, offset, &mut out.x),
                    (Some((augment, rng)), Values::Bytes(raw)) => {
                        let pixel = |i: usize| f32::from(raw[i]);
                        crops(places, &self.shape, pixel, gain, offset, augment, rng, &mut out.x);
                    }
                    (Some((augment, rng)), Values::Floats(raw)) => {
                        crops(places, &self.shape, |i| raw[i], gain, offset, augment, rng, &mut out.x);
                    }
                }
                match &data.targets {
                    Targets::Classes { labels, .. } => out.labels.extend(places.iter().map(|&i| labels[i])),
                    Targets::Values { values, width } => {
                        places.iter().for_each(|&i| out.values.extend(&values[i * width..(i + 1) * width]));
                    }
                }
            }
        }
    }
}

/// Appends the examples at `places`, channel by channel `raw · gain + offset`.
fn rows<P: Sync>(
    places: &[usize],
    n: usize,
    raw: &[P],
    value: impl Fn(&P) -> f32 + Sync,
    gain: &[f32],
    offset: &[f32],
    x: &mut Vec<f32>,
) {
    const ROWS: usize = 16; // of a task
    let whole = |channels: &[f32]| channels.iter().copied().cycle().take(n).collect::<Vec<_>>();
    let (gain, offset) = (whole(gain), whole(offset));
    let first = x.len();
    x.resize(first + places.len() * n, 0.0);
    par_rows(&mut x[first..], n, ROWS, |row, x| {
        vectorize(
            #[inline(always)]
            || {
                for (x, &i) in x.chunks_exact_mut(n).zip(&places[row..]) {
                    for (((x, p), g), o) in x.iter_mut().zip(&raw[i * n..]).zip(&gain).zip(&offset) {
                        *x = value(p) * g + o;
                    }
                }
            },
        );
    });
}

/// As [`rows`], with a random crop of the padded image and a random reflection.
fn crops(
    places: &[usize],
    shape: &[usize],
    raw: impl Fn(usize) -> f32,
    gain: &[f32],
    offset: &[f32],
    Augment { pad, flip }: Augment,
    rng: &mut ChaCha8Rng,
    x: &mut Vec<f32>,
) {
    let [h, w, c] = [shape[0], shape[1], shape[2]];
    for &i in places {
        let (dy, dx) = (rng.random_range(0..=2 * pad), rng.random_range(0..=2 * pad));
        let mirrored = flip && rng.random::<bool>();
        for row in 0..h {
            for col in 0..w {
                let col = if mirrored { w - 1 - col } else { col };
                // Place in the original; outside, wrapping makes it too large.
                let (r, q) = ((row + dy).wrapping_sub(pad), (col + dx).wrapping_sub(pad));
                let inside = r < h && q < w;
                for ch in 0..c {
                    let p = if inside { raw(((i * h + r) * w + q) * c + ch) } else { 0.0 };
                    x.push(p * gain[ch] + offset[ch]);
                }
            }
        }
    }
}
