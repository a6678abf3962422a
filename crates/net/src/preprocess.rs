use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::NetError;

/// What happens to raw input values before a network sees them:
/// `(scale · raw − mean) / std`, mean and standard deviation per channel or one for all.
///
/// ```
/// use thalweg_net::{Normalize, Preprocess};
/// let p: Preprocess = "mean=0.5,std=0.5".parse::<Normalize>()?.of(true);
/// let mut x = [0.0; 2];
/// p.apply(&[0u8, 255], 1, &mut x)?;
/// assert_eq!(x, [-1.0, 1.0]);
/// # Ok::<(), thalweg_net::NetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Multiplies raw values, e.g. 1/255.
    pub scale: f32,
    /// Subtracted after scaling: one value, or one per channel.
    pub mean: Vec<f32>,
    /// Divides at last: one value, or one per channel; each above 0.
    pub std: Vec<f32>,
}

impl Default for Preprocess {
    /// Leaves values as they are.
    fn default() -> Self {
        Self { scale: 1.0, mean: vec![0.0], std: vec![1.0] }
    }
}

impl Preprocess {
    /// Whether it is well formed and fits that many channels.
    ///
    /// # Errors
    /// Which number is not good, or how many are missing.
    pub fn check(&self, channels: usize) -> Result<(), NetError> {
        let bad = |why: String| Err(NetError::Preprocess(why));
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != 1 && values.len() != channels {
                let n = values.len();
                return bad(format!(
                    "{name} has {n} values but the data has {channels} channels; give 1 or {channels}"
                ));
            }
        }
        if !self.scale.is_finite() || self.mean.iter().any(|m| !m.is_finite()) {
            return bad("scale and mean must be finite numbers".into());
        }
        if let Some(s) = self.std.iter().find(|&&s| !(s > 0.0 && s.is_finite())) {
            return bad(format!("std = {s} must be above 0"));
        }
        Ok(())
    }

    /// Writes the network's input for raw values with `channels` last; `out` is as long as `raw`.
    ///
    /// # Errors
    /// As for [`Preprocess::check`]; an `out` of another length.
    pub fn apply<R: Copy + Into<f32>>(
        &self,
        raw: &[R],
        channels: usize,
        out: &mut [f32],
    ) -> Result<(), NetError> {
        NetError::check("the preprocessed input", out.len(), raw.len())?;
        self.check(channels)?;
        let at = |values: &[f32], c: usize| values[if values.len() == 1 { 0 } else { c }];
        for (out, raw) in out.chunks_mut(channels).zip(raw.chunks(channels)) {
            for (c, (out, &raw)) in out.iter_mut().zip(raw).enumerate() {
                *out = (raw.into() * self.scale - at(&self.mean, c)) / at(&self.std, c);
            }
        }
        Ok(())
    }
}

/// A preprocessing as people write it: `mean=0.5,std=0.5` or
/// `mean=0.485/0.456/0.406,std=0.229/0.224/0.225,scale=1`. The scale may be left open: it depends on the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// Multiplies raw values. Default: 1/255 of bytes, 1 of real numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f32>,
    /// As [`Preprocess::mean`]. Default 0.
    pub mean: Vec<f32>,
    /// As [`Preprocess::std`]. Default 1.
    pub std: Vec<f32>,
}

impl Normalize {
    /// What it means for data that are `bytes`, or real numbers.
    pub fn of(&self, bytes: bool) -> Preprocess {
        let scale = self.scale.unwrap_or(if bytes { 1.0 / 255.0 } else { 1.0 });
        Preprocess { scale, mean: self.mean.clone(), std: self.std.clone() }
    }
}

impl From<Preprocess> for Normalize {
    fn from(Preprocess { scale, mean, std }: Preprocess) -> Self {
        Self { scale: Some(scale), mean, std }
    }
}

/// As [`Normalize`], for data that are bytes.
impl FromStr for Preprocess {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        Ok(text.parse::<Normalize>()?.of(true))
    }
}

impl FromStr for Normalize {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let mut p = Self { scale: None, mean: vec![0.0], std: vec![1.0] };
        for part in text.split(',') {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let values: Result<Vec<f32>, _> =
                value.split(['/', ':', ';']).map(|v| v.trim().parse()).collect();
            match (key.trim(), values) {
                ("mean", Ok(values)) => p.mean = values,
                ("std", Ok(values)) => p.std = values,
                ("scale", Ok(values)) if values.len() == 1 => p.scale = Some(values[0]),
                _ => {
                    let why = format!(
                        "`{part}` is not understood; write mean=0.5,std=0.5 or mean=a/b/c,std=a/b/c[,scale=s]"
                    );
                    return Err(NetError::Preprocess(why));
                }
            }
        }
        p.of(false).check(p.mean.len().max(p.std.len()))?;
        Ok(p)
    }
}
