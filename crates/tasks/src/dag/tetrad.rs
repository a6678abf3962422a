//! Knowledge as Tetrad and causal-learn write it.

use std::path::Path;

use thalweg_data::read_text;
use thalweg_topo::Knowledge;

use super::table::number;
use crate::error::bail;
use crate::{Context, Result};

/// What the lines of a part say.
#[derive(Clone, Copy)]
enum Part {
    Tiers,
    Forbidden,
    Required,
}

/// Reads a file of the parts `addtemporal` (a number, with `*` where the tier's own variables may not cause each
/// other, then the tier's variables), `forbiddirect` and `requiredirect` (two variables a line).
///
/// # Errors
/// No such file, a line of another form, a name that is none of `names`.
pub(super) fn read(file: &Path, names: &[String]) -> Result<Knowledge> {
    let text = read_text(file)?;
    let mut tiers: Vec<Option<usize>> = vec![None; names.len()];
    let mut known = Knowledge::default();
    let mut part = None;
    for (k, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let place = || format!("{}: line {}", file.display(), k + 1);
        match *words.as_slice() {
            [] | ["/knowledge"] => continue,
            ["addtemporal"] => part = Some(Part::Tiers),
            ["forbiddirect"] => part = Some(Part::Forbidden),
            ["requiredirect"] => part = Some(Part::Required),
            [one] if one.starts_with("forbid") || one.starts_with("require") => {
                bail!(
                    "{}: the part {one} is not known; use addtemporal, forbiddirect and requiredirect",
                    place()
                )
            }
            _ => line_of(part, &words, (names, file), &mut tiers, &mut known).with_context(place)?,
        }
    }
    match tiers.iter().copied().collect::<Option<Vec<usize>>>() {
        Some(all) => known.tiers = all,
        // Not all variables have a tier: what the others' tiers forbid, edge by edge.
        None => {
            let of = |v: usize| tiers[v];
            let pairs = (0..names.len()).flat_map(|u| (0..names.len()).map(move |v| (u, v)));
            let up = pairs.filter(|&(u, v)| of(u).zip(of(v)).is_some_and(|(u, v)| u > v));
            known.forbidden.extend(up);
        }
    }
    Ok(known)
}

/// A line of a part.
fn line_of(
    part: Option<Part>,
    words: &[&str],
    (names, file): (&[String], &Path),
    tiers: &mut [Option<usize>],
    known: &mut Knowledge,
) -> Result<()> {
    let list = match part {
        None => bail!("no addtemporal, forbiddirect or requiredirect above it"),
        Some(Part::Tiers) => return tier(words, names, file, tiers, known),
        Some(Part::Forbidden) => &mut known.forbidden,
        Some(Part::Required) => &mut known.required,
    };
    let [from, to] = *words else { bail!("{} words; use FROM TO", words.len()) };
    let edge = (number(from, names, file)?, number(to, names, file)?);
    if edge.0 == edge.1 {
        bail!("the edge {from} → {to} leads from a node to itself; take it out");
    }
    list.push(edge);
    Ok(())
}

/// A line of a tier.
fn tier(
    words: &[&str],
    names: &[String],
    file: &Path,
    tiers: &mut [Option<usize>],
    known: &mut Knowledge,
) -> Result<()> {
    let (first, rest) = words.split_first().context("an empty line")?;
    let (count, apart) = match first.strip_suffix('*') {
        Some(count) => (count, true),
        None => (*first, false),
    };
    let count: usize =
        count.parse().ok().with_context(|| format!("{first} is no number of a tier; use e.g. 1 or 1*"))?;
    let members = rest.iter().map(|word| number(word, names, file)).collect::<Result<Vec<_>>>()?;
    for &v in &members {
        if tiers[v].is_some_and(|other| other != count) {
            bail!("{} stands in two tiers; leave it in one", names[v]);
        }
        tiers[v] = Some(count);
    }
    if apart {
        let pairs = members.iter().flat_map(|u| members.iter().map(move |v| (*u, *v)));
        known.forbidden.extend(pairs.filter(|(u, v)| u != v));
    }
    Ok(())
}
