//! Spatial averaging of the estimated diagonal. Every rule of the literature is a mean over
//! contiguous chunks of a row-major block, so a rule is one number: the length of the chunk.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thalweg_core::{Block, Invalid, Kind, Layout, Real};
use thalweg_optim::{glob, known};

/// How the products `z ⊙ Hz` of one averaging chunk become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Average {
    /// Mean of absolute values, as in the authors' programs. The default rate belongs to it.
    #[default]
    Abs,
    /// Mean of the signed values, as in the paper's formula. Entries cancel, the denominator
    /// shrinks: it needs rates about ten times smaller.
    Signed,
    /// No averaging, whatever the block rules say.
    None,
}

/// Which elements of a block share one curvature.
///
/// As text (TOML, JSON, command line): `natural` (also −1), `none` (also 1), `row`, `kernel`, or
/// the chunk length as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub enum BlockRule {
    /// Rows of linear and embedding tables, kernels of convolutions, nothing else.
    #[default]
    Natural,
    /// Each element on its own.
    None,
    /// All elements with the same first index: the inputs of one unit, the vector of one token.
    Row,
    /// All elements with the same first two indices: one kernel of a convolution.
    Kernel,
    /// This many consecutive elements, at least 1; the last chunk may be shorter.
    Chunks(usize),
}

impl BlockRule {
    const LEGAL: &str = "natural (or -1), none (or 1), row, kernel, or a chunk length ≥ 1";

    /// Length of an averaging chunk of `block`, at least 1; only the last may be shorter.
    pub fn chunk(self, block: &Block) -> usize {
        let below = |axis: usize| block.shape.iter().skip(axis).product::<usize>().max(1);
        match self {
            Self::Natural => match block.kind {
                Kind::Linear | Kind::Embedding => below(1),
                Kind::Conv => below(2),
                Kind::Bias | Kind::NormScale | Kind::NormShift | Kind::Other => 1,
            },
            Self::None => 1,
            Self::Row => below(1),
            Self::Kernel => below(2),
            Self::Chunks(b) => b.max(1),
        }
    }

    pub(crate) fn validate(self, field: &str) -> Result<(), Invalid> {
        Invalid::check(self != Self::Chunks(0), field, 0, Self::LEGAL)
    }
}

impl fmt::Display for BlockRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Natural => f.write_str("natural"),
            Self::None => f.write_str("none"),
            Self::Row => f.write_str("row"),
            Self::Kernel => f.write_str("kernel"),
            Self::Chunks(b) => b.fmt(f),
        }
    }
}

impl FromStr for BlockRule {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "natural" | "-1" => Ok(Self::Natural),
            "none" => Ok(Self::None),
            "row" => Ok(Self::Row),
            "kernel" => Ok(Self::Kernel),
            _ => match text.parse() {
                Ok(b) if b > 0 => Ok(Self::Chunks(b)),
                _ => {
                    Err(Invalid { field: "block rule".into(), value: text.into(), legal: Self::LEGAL.into() })
                }
            },
        }
    }
}

/// A rule in a file: a word or a number.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Number(i64),
    Word(String),
}

impl From<BlockRule> for Text {
    fn from(rule: BlockRule) -> Self {
        Self::Word(rule.to_string())
    }
}

impl TryFrom<Text> for BlockRule {
    type Error = Invalid;

    fn try_from(text: Text) -> Result<Self, Invalid> {
        match text {
            Text::Number(b) => b.to_string().parse(),
            Text::Word(word) => word.parse(),
        }
    }
}

/// Block rules by kind or by name, e.g. `linear=row,conv2d=kernel,decoder.*=32`.
///
/// A key is a kind (`linear`, `conv`, `conv1d`, `conv2d`, `conv3d`, `bias`, `norm`, `norm-scale`,
/// `norm-shift`, `embedding`, `other`), a block's name, or a pattern of names in which `*` stands
/// for any text. A name beats a pattern beats a kind; of two patterns or kinds the longer one
/// wins. Blocks that no key matches follow [`BlockRule::Natural`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockRules(pub BTreeMap<String, BlockRule>);

impl BlockRules {
    /// The rule of one block.
    pub fn rule(&self, block: &Block) -> BlockRule {
        let rank = |key: &str| match () {
            () if key == block.name => Some((3, 0)),
            () if key.contains('*') && glob(key, &block.name) => Some((2, key.len())),
            () if is_kind(key, block) => Some((1, key.len())),
            () => None,
        };
        let ranked = self.0.iter().filter_map(|(key, rule)| Some((rank(key)?, *rule)));
        ranked.max_by_key(|(rank, _)| *rank).map_or(BlockRule::Natural, |(_, rule)| rule)
    }

    pub(crate) fn validate(&self) -> Result<(), Invalid> {
        self.0.iter().try_for_each(|(key, rule)| rule.validate(&format!("blocks.{key}")))
    }

    /// Refuses a key that is neither a kind nor matches a block.
    pub(crate) fn check(&self, layout: &Layout) -> Result<(), Invalid> {
        for key in self.0.keys().filter(|key| !KINDS.contains(&key.as_str())) {
            known(layout, "blocks", key).map_err(|error| Invalid {
                legal: format!("a kind ({}) or {}", KINDS.join(", "), error.legal),
                ..error
            })?;
        }
        Ok(())
    }
}

impl FromStr for BlockRules {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let pair = |entry: &str| {
            let Some((key, rule)) = entry.split_once('=') else {
                let legal = "key=rule pairs separated by commas, e.g. linear=row,conv2d=kernel";
                return Err(Invalid { field: "blocks".into(), value: entry.into(), legal: legal.into() });
            };
            Ok((key.trim().to_string(), rule.trim().parse()?))
        };
        let entries = text.split(',').filter(|e| !e.trim().is_empty());
        Ok(Self(entries.map(pair).collect::<Result<_, _>>()?))
    }
}

const KINDS: [&str; 11] = [
    "linear",
    "conv",
    "conv1d",
    "conv2d",
    "conv3d",
    "bias",
    "norm",
    "norm-scale",
    "norm-shift",
    "embedding",
    "other",
];

fn is_kind(key: &str, block: &Block) -> bool {
    match (block.kind, key) {
        (Kind::Linear, "linear")
        | (Kind::Conv, "conv")
        | (Kind::Bias, "bias")
        | (Kind::NormScale, "norm" | "norm-scale")
        | (Kind::NormShift, "norm" | "norm-shift")
        | (Kind::Embedding, "embedding")
        | (Kind::Other, "other") => true,
        (Kind::Conv, "conv1d") => block.shape.len() == 3,
        (Kind::Conv, "conv2d") => block.shape.len() == 4,
        (Kind::Conv, "conv3d") => block.shape.len() == 5,
        _ => false,
    }
}

/// Replaces every element by the mean over its chunk of `chunk` ≥ 1 elements.
pub fn average<T: Real>(diagonal: &mut [T], chunk: usize, mode: Average) {
    if mode != Average::None {
        for chunk in diagonal.chunks_mut(chunk.max(1)) {
            chunk.fill(mean(chunk, mode));
        }
    }
}

/// Mean of one non-empty chunk: absolute values unless signed.
#[inline(always)]
pub(crate) fn mean<T: Real>(x: &[T], mode: Average) -> T {
    let sum = match mode {
        Average::Signed => sum(x, |x| x),
        Average::Abs | Average::None => sum(x, T::abs),
    };
    sum / T::from_f64(x.len() as f64)
}

/// Sum in a fixed order: sixteen lanes for speed, double precision above them for accuracy.
#[inline(always)]
fn sum<T: Real>(x: &[T], f: impl Fn(T) -> T + Copy) -> T {
    const LANES: usize = 16;
    if x.len() < 2 * LANES {
        return x.iter().fold(T::ZERO, |s, &x| s + f(x));
    }
    let total: f64 = x
        .chunks(32 * LANES)
        .map(|x| {
            let mut lanes = [T::ZERO; LANES];
            let (body, tail) = x.as_chunks::<LANES>();
            for x in body {
                lanes.iter_mut().zip(x).for_each(|(lane, &x)| *lane += f(x));
            }
            lanes.iter_mut().zip(tail).for_each(|(lane, &x)| *lane += f(x));
            lanes.iter().map(|lane| lane.to_f64()).sum::<f64>()
        })
        .sum();
    T::from_f64(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(name: &str, shape: &[usize], kind: Kind) -> Block {
        Block { name: name.into(), shape: shape.into(), kind, offset: 0, frozen: false }
    }

    #[test]
    fn chunk_lengths() {
        let conv = block("c", &[8, 4, 3, 5], Kind::Conv);
        let chunks =
            [BlockRule::Natural, BlockRule::None, BlockRule::Row, BlockRule::Kernel, BlockRule::Chunks(7)];
        assert_eq!(chunks.map(|r| r.chunk(&conv)), [15, 1, 60, 15, 7]);
        assert_eq!(BlockRule::Natural.chunk(&block("c", &[8, 4, 3], Kind::Conv)), 3);
        assert_eq!(BlockRule::Natural.chunk(&block("c", &[8, 4, 2, 3, 5], Kind::Conv)), 30);
        assert_eq!(BlockRule::Natural.chunk(&block("l", &[3, 5], Kind::Linear)), 5);
        assert_eq!(BlockRule::Natural.chunk(&block("e", &[9, 6], Kind::Embedding)), 6);
        for kind in [Kind::Bias, Kind::NormScale, Kind::NormShift, Kind::Other] {
            assert_eq!(BlockRule::Natural.chunk(&block("b", &[7], kind)), 1);
            assert_eq!(BlockRule::Row.chunk(&block("b", &[7], kind)), 1);
        }
        assert_eq!(BlockRule::Row.chunk(&block("scalar", &[], Kind::Other)), 1);
    }

    #[test]
    fn names_beat_patterns_beat_kinds() {
        let rules: BlockRules = "conv=none, conv2d=row, head.*=32, head.weight=5".parse().unwrap();
        assert_eq!(rules.rule(&block("a", &[2, 2, 3], Kind::Conv)), BlockRule::None);
        assert_eq!(rules.rule(&block("a", &[2, 2, 3, 3], Kind::Conv)), BlockRule::Row);
        assert_eq!(rules.rule(&block("head.conv", &[2, 2, 3, 3], Kind::Conv)), BlockRule::Chunks(32));
        assert_eq!(rules.rule(&block("head.weight", &[2, 2], Kind::Linear)), BlockRule::Chunks(5));
        assert_eq!(rules.rule(&block("body", &[2, 2], Kind::Linear)), BlockRule::Natural);
    }

    #[test]
    fn rules_as_text() {
        for (text, rule) in [
            ("-1", BlockRule::Natural),
            ("none", BlockRule::None),
            ("1", BlockRule::Chunks(1)),
            ("row", BlockRule::Row),
            ("kernel", BlockRule::Kernel),
            ("32", BlockRule::Chunks(32)),
        ] {
            assert_eq!(text.parse::<BlockRule>().unwrap(), rule);
            assert_eq!(serde_json::from_str::<BlockRule>(&format!("\"{rule}\"")).unwrap(), rule);
        }
        assert_eq!(serde_json::from_str::<BlockRule>("32").unwrap(), BlockRule::Chunks(32));
        for bad in ["0", "-2", "rows", ""] {
            let error = bad.parse::<BlockRule>().unwrap_err().to_string();
            assert!(error.contains("block rule") && error.contains("chunk length"), "{error}");
        }
        assert!("linear".parse::<BlockRules>().is_err());
    }

    #[test]
    fn long_means_are_accurate() {
        let x: Vec<f32> = (0..1_000_003).map(|i| if i % 2 == 0 { 0.1 } else { -0.1 }).collect();
        assert!((mean(&x, Average::Abs) - 0.1).abs() < 1e-7);
        assert!(mean(&x, Average::Signed).abs() < 2e-7);
    }
}
