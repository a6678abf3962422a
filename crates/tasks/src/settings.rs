//! Settings of a job: from a file, overridden one by one.

use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::bail;
use crate::folder::read_table;
use crate::{Context, Result};

/// A time such as `30s`, `5m`, `1.5h`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(pub Duration);

impl std::str::FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = || format!("{text:?} is no time; use e.g. 30s, 5m or 1.5h");
        let split = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let unit = match unit {
            "s" | "" => 1.0,
            "ms" => 1e-3,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(legal()),
        };
        let number: f64 = number.trim().parse().map_err(|_| legal())?;
        Duration::try_from_secs_f64(number * unit).map(Self).map_err(|_| legal())
    }
}

impl TryFrom<String> for Time {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        format!("{}s", time.0.as_secs_f64())
    }
}

/// Settings of which a job has one: one that is given replaces the other in the file.
const EITHER: &[[&str; 2]] = &[
    ["epochs", "steps"],
    ["method", "compare"],
    ["model", "from"],
    ["function", "command"],
    ["function", "process"],
    ["command", "process"],
    // A field and its older name.
    ["train", "data"],
    ["max-steps", "max-iters"],
    ["extra-pattern-searches", "grow"],
    ["linear-part", "skip"],
    ["minimal-network", "prune"],
    // Two names of one setting.
    ["max-evaluations", "max-evals"],
    ["boundary", "walls"],
];

/// The first of these fields that is given: what is to be refused by name.
pub(crate) fn first_given(fields: impl IntoIterator<Item = (&'static str, bool)>) -> Option<&'static str> {
    fields.into_iter().find(|(_, given)| *given).map(|(field, _)| field)
}

/// The first that stands in a list twice.
pub(crate) fn named_twice<T: PartialEq>(list: &[T]) -> Option<&T> {
    list.iter().enumerate().find(|(i, one)| list[..*i].contains(one)).map(|(_, one)| one)
}

/// The settings of a file, overridden by those `given`.
///
/// # Errors
/// No such file, an unknown field, a value that does not fit.
pub fn merged<T: DeserializeOwned>(given: toml::Table, file: Option<&Path>) -> Result<T> {
    let mut settings = match file {
        None => toml::Table::new(),
        Some(path) => read_table(path)?,
    };
    settings.remove("time"); // bounds a run, decides nothing: it is the host's
    for [one, other] in EITHER.iter().filter(|keys| keys.iter().any(|k| given.contains_key(*k))) {
        settings.remove(*one);
        settings.remove(*other);
    }
    settings.extend(given);
    let read = settings.try_into();
    match file {
        None => Ok(read?),
        Some(path) => read.with_context(|| path.display().to_string()),
    }
}

/// Field and value of `FIELD=VALUE`.
///
/// # Errors
/// No such pair.
pub fn field_value(entry: &str) -> Result<(&str, &str)> {
    entry.split_once('=').with_context(|| format!("`set` {entry} is no FIELD=VALUE pair"))
}

/// A number, a truth value or a list where it reads as one, else text.
pub fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// `FIELD=VALUE` pairs; a value is JSON, or else a word. `memory.beta=2` is the field `beta` of `memory`.
///
/// # Errors
/// An entry that is no pair, a field inside of one that is no group, one that is given twice.
pub fn fields(pairs: &[String]) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    for pair in pairs {
        let (key, written) = field_value(pair)?;
        let (groups, name) = key.rsplit_once('.').map_or((None, key), |(groups, name)| (Some(groups), name));
        let mut at = &mut all;
        for group in groups.into_iter().flat_map(|groups| groups.split('.')) {
            let inner = at.entry(group).or_insert_with(|| Map::new().into());
            at = inner.as_object_mut().with_context(|| format!("`set` {pair}: {group} has no fields"))?;
        }
        if at.insert(name.into(), value(written)).is_some() {
            bail!("`set` gives {key} twice");
        }
    }
    Ok(all)
}
