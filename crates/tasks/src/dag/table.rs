//! What the verb reads: data, graphs, knowledge.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use csv::{ReaderBuilder, StringRecord, Trim};
use thalweg::data::read_text;
use thalweg::topo::{Knowledge, Mat, Sample, sachs};

use crate::fit::arrays;

/// Number of a line and its cells.
type Line = (u64, Vec<String>);

/// Header and rows with their line numbers.
fn rows(file: &Path) -> Result<(Vec<String>, Vec<Line>)> {
    let text = read_text(file)?;
    let named = || file.display().to_string();
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text.as_bytes());
    let header: Vec<String> = reader.headers().with_context(named)?.iter().map(str::to_owned).collect();
    let mut rows = Vec::new();
    let mut row = StringRecord::new();
    while reader.read_record(&mut row).with_context(named)? {
        let line = row.position().map_or(0, |p| p.line());
        rows.push((line, row.iter().map(str::to_owned).collect()));
    }
    if header.is_empty() || header.iter().all(|c| c.parse::<f64>().is_ok()) {
        bail!("{}: the first line names no columns; put the names there", file.display());
    }
    Ok((header, rows))
}

/// Cells that say "nothing was measured".
fn missing(cell: &str) -> bool {
    matches!(cell.to_ascii_lowercase().as_str(), "" | "na" | "nan" | "null" | "none" | "?")
}

/// Reads data: `sachs` (embedded), CSV with a header (also gzipped), npy, or npz (array `x` or `X`, or
/// its only one). `drop_missing` leaves out the rows with missing cells.
pub fn data(name: &str, drop_missing: bool) -> Result<(Sample, usize)> {
    if name == "sachs" {
        return Ok((sachs(), 0));
    }
    let file = Path::new(name);
    if name.ends_with(".npy") || name.ends_with(".npz") {
        let mut found = arrays::read(file)?;
        let key = ["x", "X", ""].into_iter().find(|k| found.contains_key(*k)).map(str::to_owned);
        let key = key.or_else(|| found.keys().next().filter(|_| found.len() == 1).cloned());
        let array = key.and_then(|k| found.remove(&k));
        let array =
            array.with_context(|| format!("{name} has no array x; save the samples under this name"))?;
        let [n, d] = array.shape[..] else {
            bail!("{name}: shape {:?}; save samples × variables", array.shape);
        };
        let x = Mat::from_fn(n, d, |i, j| array.values[i * d + j]);
        return Ok((Sample::unnamed(x).with_context(|| name.to_owned())?, 0));
    }
    let (names, rows) = rows(file)?;
    let mut values = Vec::new();
    let mut dropped = 0;
    for (line, row) in &rows {
        let empty = row.iter().position(|c| missing(c));
        if empty.is_some() && drop_missing {
            dropped += 1;
            continue;
        }
        for (cell, column) in row.iter().zip(&names) {
            let place = || format!("{name}, line {line}, column {column}");
            if missing(cell) {
                bail!("{}: a value is missing; --drop-missing leaves such rows out, or impute it", place());
            }
            match cell.parse::<f64>() {
                Ok(v) if v.is_finite() => values.push(v),
                _ => bail!("{}: {cell:?} is no finite number; correct it, or drop the column", place()),
            }
        }
    }
    let d = names.len();
    let x = Mat::from_fn(values.len() / d, d, |i, j| values[i * d + j]);
    Ok((Sample::new(names, x).with_context(|| name.to_owned())?, dropped))
}

/// A graph as it stands in a file.
pub struct Graph {
    /// Names of the nodes.
    pub names: Vec<String>,
    /// Weights `[(from, to)]`.
    pub w: Mat<f64>,
}

/// Reads a graph: a list of edges (`from,to` with or without `weight`; also `node,parent,coefficient`),
/// or a square matrix with the names above, with or without the names before each row. `sachs` is the
/// embedded consensus network.
pub fn graph(name: &str) -> Result<Graph> {
    if name == "sachs" {
        return Ok(Graph { names: sachs().names().to_vec(), w: thalweg::topo::sachs_truth() });
    }
    let file = Path::new(name);
    let (header, rows) = rows(file)?;
    let column = |names: &[&str]| header.iter().position(|h| names.contains(&h.as_str()));
    if let (Some(from), Some(to)) = (column(&["from", "parent"]), column(&["to", "node"])) {
        let weight = column(&["weight", "coefficient"]);
        let mut names: Vec<String> = Vec::new();
        let mut edges = Vec::new();
        for (line, row) in &rows {
            let mut number = |cell: &String| {
                names.iter().position(|n| n == cell).unwrap_or_else(|| {
                    names.push(cell.clone());
                    names.len() - 1
                })
            };
            let to = number(&row[to]);
            if row[from].is_empty() {
                continue; // a node without parents
            }
            let from = number(&row[from]);
            let w = match weight {
                None => 1.0,
                Some(k) => row[k].parse().ok().filter(|w: &f64| w.is_finite()).with_context(|| {
                    format!("{name}, line {line}: {:?} is no weight; use a finite number", row[k])
                })?,
            };
            edges.push((from, to, w));
        }
        let mut w = Mat::zeros(names.len(), names.len());
        edges.into_iter().for_each(|(u, v, x)| w[(u, v)] = x);
        return Ok(Graph { names, w });
    }
    let d = rows.len();
    let named = header.len() == d + 1;
    if !named && header.len() != d {
        bail!(
            "{name}: {d} rows of {} columns are no square matrix, and the header has no from and to; use either form",
            header.len()
        );
    }
    let skip = usize::from(named);
    let mut w = Mat::zeros(d, d);
    for (u, (line, row)) in rows.iter().enumerate() {
        for v in 0..d {
            let cell = &row[v + skip];
            w[(u, v)] = cell.parse().ok().filter(|w: &f64| w.is_finite()).with_context(|| {
                format!("{name}, line {line}, column {}: {cell:?} is no finite number", header[v + skip])
            })?;
        }
    }
    Ok(Graph { names: header[skip..].to_vec(), w })
}

impl Graph {
    /// The weights in the order of `names`; nodes that are not in the graph have no edges.
    pub fn among(&self, names: &[String], what: &str) -> Result<Mat<f64>> {
        let place = |n: &String| {
            names.iter().position(|m| m == n).with_context(|| {
                format!("{what} has a node {n} that the data do not have (they have {})", names.join(", "))
            })
        };
        let at = self.names.iter().map(place).collect::<Result<Vec<_>>>()?;
        let mut w = Mat::zeros(names.len(), names.len());
        for (i, u) in at.iter().enumerate() {
            for (j, v) in at.iter().enumerate() {
                w[(*u, *v)] = self.w[(i, j)];
            }
        }
        Ok(w)
    }
}

/// The variables named in a file, one a line (also after commas).
pub fn order(file: &Path, names: &[String]) -> Result<Vec<usize>> {
    let text = read_text(file)?;
    let words = text.split(['\n', ',']).map(str::trim).filter(|w| !w.is_empty());
    words.map(|w| number(w, names, file)).collect()
}

fn number(word: &str, names: &[String], file: &Path) -> Result<usize> {
    let found = names.iter().position(|n| n == word);
    found.with_context(|| format!("{}: the data have no column {word}", file.display()))
}

/// Knowledge from files: edges `from,to`, and tiers `node,tier`.
pub fn knowledge(
    forbid: Option<&PathBuf>,
    require: Option<&PathBuf>,
    tiers: Option<&PathBuf>,
    names: &[String],
) -> Result<Knowledge> {
    let edges = |file: Option<&PathBuf>| -> Result<Vec<(usize, usize)>> {
        let Some(file) = file else { return Ok(Vec::new()) };
        let graph = graph(&file.display().to_string())?;
        let w = graph.among(names, &file.display().to_string())?;
        Ok(thalweg::topo::edges(&w).into_iter().map(|e| (e.0, e.1)).collect())
    };
    let tiers = match tiers {
        None => Vec::new(),
        Some(file) => {
            let (header, rows) = rows(file)?;
            if header.len() != 2 {
                bail!("{}: {} columns; use node,tier", file.display(), header.len());
            }
            let mut tiers = vec![None; names.len()];
            for (line, row) in rows {
                let tier = row[1].parse::<usize>();
                let tier = tier.with_context(|| {
                    format!("{}, line {line}: {:?} is no tier; use 0, 1, 2, …", file.display(), row[1])
                })?;
                tiers[number(&row[0], names, file)?] = Some(tier);
            }
            let all = tiers.iter().zip(names).map(|(t, name)| {
                t.with_context(|| format!("{}: {name} has no tier; give each variable one", file.display()))
            });
            all.collect::<Result<_>>()?
        }
    };
    Ok(Knowledge { forbidden: edges(forbid)?, required: edges(require)?, tiers })
}
