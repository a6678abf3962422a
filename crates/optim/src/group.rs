use std::ops::Range;

use serde::{Deserialize, Serialize};
use thalweg_core::{Block, Invalid, Kind, Layout};

/// Overrides for some blocks. The first group that matches a block decides.
///
/// ```
/// use thalweg_core::Kind;
/// use thalweg_optim::{Adam, Group};
/// let no_decay = Group { kind: Some(Kind::Bias), weight_decay: Some(0.0), ..Group::default() };
/// let slow_head = Group { pattern: "head.*".into(), lr_scale: 0.1, ..Group::default() };
/// let adam = Adam { groups: vec![no_decay, slow_head], ..Adam::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Group {
    /// Block names; `*` stands for any characters. Default `*`.
    pub pattern: String,
    /// Only blocks of this kind. Default: any.
    pub kind: Option<Kind>,
    /// Factor on the learning rate, ≥ 0. Default 1.
    pub lr_scale: f64,
    /// Weight decay instead of the method's, ≥ 0. Default: the method's.
    pub weight_decay: Option<f64>,
}

impl Default for Group {
    fn default() -> Self {
        Self { pattern: "*".into(), kind: None, lr_scale: 1.0, weight_decay: None }
    }
}

impl Group {
    /// Names the bad field.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::at_least_zero("groups.lr_scale", self.lr_scale)?;
        Invalid::at_least_zero("groups.weight_decay", self.weight_decay.unwrap_or(0.0))
    }

    /// Whether the group speaks of this block.
    pub fn matches(&self, block: &Block) -> bool {
        self.kind.is_none_or(|kind| kind == block.kind) && glob(&self.pattern, &block.name)
    }
}

/// One trainable block with what holds for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates<'a> {
    /// The block.
    pub block: &'a Block,
    /// Where it lies in the flat buffer.
    pub range: Range<usize>,
    /// Factor on the learning rate.
    pub lr_scale: f64,
    /// Weight decay.
    pub weight_decay: f64,
}

/// The blocks that are not frozen, each with its rates. A pattern that names no block is an
/// error: it is most likely a misspelt name.
pub fn rates<'a>(layout: &'a Layout, groups: &[Group], weight_decay: f64) -> Result<Vec<Rates<'a>>, Invalid> {
    for group in groups {
        known(layout, "groups.pattern", &group.pattern)?;
    }
    let rates = |block: &'a Block| {
        let group = groups.iter().find(|g| g.matches(block));
        Rates {
            block,
            range: block.range(),
            lr_scale: group.map_or(1.0, |g| g.lr_scale),
            weight_decay: group.and_then(|g| g.weight_decay).unwrap_or(weight_decay),
        }
    };
    Ok(layout.blocks().iter().filter(|b| !b.frozen).map(rates).collect())
}

/// The error for a pattern in `field` that matches no block.
pub fn known(layout: &Layout, field: &str, pattern: &str) -> Result<(), Invalid> {
    if pattern == "*" || layout.blocks().iter().any(|b| glob(pattern, &b.name)) {
        return Ok(());
    }
    let names: Vec<&str> = layout.blocks().iter().take(8).map(|b| b.name.as_str()).collect();
    let more = if layout.blocks().len() > names.len() { ", …" } else { "" };
    let legal =
        format!("the name of a block, with * for any characters; there are {}{more}", names.join(", "));
    Invalid::check(false, field, format!("{pattern:?}"), &legal)
}

/// Whether `name` matches `pattern`, in which `*` stands for any characters.
pub fn glob(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(head) else { return false };
    let pieces: Vec<&str> = tail.split('*').collect();
    let Some((last, inner)) = pieces.split_last() else { return true };
    for piece in inner {
        // The leftmost place leaves most for the others.
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}
