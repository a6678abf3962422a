use serde::{Deserialize, Serialize};
use thalweg_core::{Block, Invalid, Kind};
use thalweg_optim::glob;

use crate::BlockRule;

/// Overrides for some blocks. The first group that matches a block decides.
///
/// ```
/// use thalweg_adahessian::{AdaHessian, BlockRule, Group};
/// let table = Group { pattern: "embed.*".into(), block: Some(BlockRule::Chunks(32)), ..Group::default() };
/// let method = AdaHessian { groups: vec![table], ..AdaHessian::default() };
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
    /// Weight decay instead of the method's, ≥ 0.
    pub weight_decay: Option<f64>,
    /// Hessian power instead of the method's, in [0, 1].
    pub hessian_power: Option<f64>,
    /// Block rule instead of the method's.
    pub block: Option<BlockRule>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            pattern: "*".into(),
            kind: None,
            lr_scale: 1.0,
            weight_decay: None,
            hessian_power: None,
            block: None,
        }
    }
}

impl Group {
    /// Names the bad field.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::at_least_zero("groups.lr_scale", self.lr_scale)?;
        Invalid::at_least_zero("groups.weight_decay", self.weight_decay.unwrap_or(0.0))?;
        Invalid::in_closed("groups.hessian_power", self.hessian_power.unwrap_or(1.0), 0.0, 1.0)?;
        self.block.unwrap_or_default().validate("groups.block")
    }

    /// Whether the group speaks of this block.
    pub fn matches(&self, block: &Block) -> bool {
        self.kind.is_none_or(|kind| kind == block.kind) && glob(&self.pattern, &block.name)
    }
}
