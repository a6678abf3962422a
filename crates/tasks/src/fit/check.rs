//! Settings that go together: what would have no effect is refused by name.

use thalweg_convex_relu::Loss;

use super::words::{Beta, Method, Multiclass, Robustness};
use super::{Data, Settings};
use crate::Result;
use crate::error::bail;

/// Refuses settings that do not act on this fit.
///
/// # Errors
/// The first of them, with the remedy.
pub(super) fn check(settings: &Settings, data: &Data, loss: Loss) -> Result<()> {
    let s = settings;
    let searches = s.extra_pattern_searches.unwrap_or(0) > 0;
    let linear = s.linear_part == Some(true);
    let validated = s.cv.is_some() || s.beta.is_some_and(|beta| !matches!(beta, Beta::Value(_)));
    let mut ineffective = Vec::new();
    if s.adversarial.is_some() {
        let method = s.method.is_some_and(|m| m != Method::Exact);
        ineffective.extend([
            (
                method,
                "method",
                "adversarial training has the interior point alone; leave it out, or set it to exact",
            ),
            (
                searches,
                "extra_pattern_searches",
                "adversarial training keeps its list of patterns; leave it out",
            ),
            (linear, "linear_part", "adversarial training has none; leave it out"),
            (
                s.max_steps.is_some(),
                "max_steps",
                "the interior point of adversarial training ends by itself; leave it out",
            ),
            (
                matches!(s.beta, Some(Beta::Path(_))),
                "beta",
                "a path is solved for plain programs; use a number or auto",
            ),
        ]);
    }
    if s.method == Some(Method::Scp) {
        ineffective.extend([
            (searches, "extra_pattern_searches", "scp has neurons, no patterns; leave it out"),
            (s.multiclass.is_some(), "multiclass", "scp fits one output; leave it out"),
            (validated, "beta", "scp is not validated; use a number, and leave `cv` out"),
        ]);
    }
    let path = matches!(s.beta, Some(Beta::Path(_)));
    let boxes = s.adversarial.is_some();
    let own = s.attack.iter().flatten().any(|a| matches!(a, Robustness::Eps(_)));
    let numbers = !data.classifies(loss) && data.outputs() > 1;
    ineffective.extend([
        (
            s.method == Some(Method::Exact) && s.max_steps.is_some(),
            "max_steps",
            "the interior point ends by itself; leave it out, or choose admm",
        ),
        (
            path && searches,
            "extra_pattern_searches",
            "a path of beta keeps its list of patterns; leave it out, or use a number",
        ),
        (
            s.cv.is_some() && matches!(s.beta, Some(Beta::Value(_))),
            "cv",
            "beta is a number already; leave one of them out, or set `beta` to auto",
        ),
        (s.multiclass.is_some() && data.outputs() == 1, "multiclass", "there is one output; leave it out"),
        (
            s.attack.is_some() && !boxes && !own,
            "attack",
            "it needs boxes; set `adversarial` to eps=E, or add eps=E to the attacks",
        ),
        (boxes && own, "attack", "its boxes are those of `adversarial`; leave its eps=E out"),
        (
            s.eps_mask.is_some() && !boxes && !own,
            "eps_mask",
            "there are no boxes; set `adversarial` to eps=E",
        ),
        (
            (s.attack.is_some() || boxes) && numbers,
            "attack",
            "several numbers have no attack; leave it and `adversarial` out, or give one target",
        ),
    ]);
    ineffective.push((
        searches && s.multiclass == Some(Multiclass::Shared),
        "extra_pattern_searches",
        "a program shared by several outputs keeps its list of patterns; leave it out, or set `multiclass` to ova",
    ));
    match ineffective.iter().find(|(given, ..)| *given) {
        Some((_, field, cause)) => bail!("`{field}` would have no effect: {cause}"),
        None => Ok(()),
    }
}
