//! What is read: data, graphs, orders, knowledge.

use std::path::{Path, PathBuf};

use thalweg_data::{Arrays, Table, TableOptions, read_text};
use thalweg_topo::graph::edges;
use thalweg_topo::{Knowledge, Mat, Sample, sachs};

use super::Settings;
use crate::error::bail;
use crate::{Context, Host, Result};

/// Reads data: `sachs` (embedded), CSV in any dialect, npy, or npz (array `x` or `X`, or its only one).
/// `drop_missing` leaves out the rows with missing cells.
///
/// # Errors
/// No such file, cells that are no numbers, columns that nothing can be learned about.
pub fn data(name: &str, drop_missing: bool, host: &Host) -> Result<Sample> {
    if name == "sachs" {
        return Ok(sachs::data());
    }
    let file = Path::new(name);
    if name.ends_with(".npy") || name.ends_with(".npz") {
        let array = Arrays::open(file)?.take_any_or_only(&["x", "X"])?;
        let [n, d] = array.axes("samples × variables")?;
        let values = array.into_f64()?;
        let x = Mat::from_fn(n, d, |i, j| values[i * d + j]);
        return Sample::unnamed(x).context(name);
    }
    let table = Table::read(file, &TableOptions { drop_missing, ..TableOptions::default() })?;
    for note in table.notes() {
        host.note(format!("{name}: {note}"));
    }
    let (n, d, values) = (table.rows(), table.columns().len(), table.matrix()?);
    let x = Mat::from_fn(n, d, |i, j| values[i * d + j]);
    Sample::new(table.columns().to_vec(), x).context(name)
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
///
/// # Errors
/// No such file, or neither form.
pub fn graph(name: &str) -> Result<Graph> {
    if name == "sachs" {
        return Ok(Graph { names: sachs::data().names().to_vec(), w: sachs::truth() });
    }
    let table = Table::read(Path::new(name), &TableOptions::default())?;
    match (table.column(&["from", "parent"]), table.column(&["to", "node"])) {
        (Some(from), Some(to)) => list(&table, from, to),
        _ => matrix(&table, name),
    }
}

/// A list of edges.
fn list(table: &Table, from: usize, to: usize) -> Result<Graph> {
    let weight = table.column(&["weight", "coefficient"]);
    let mut names: Vec<String> = Vec::new();
    let mut edges = Vec::new();
    let mut number = |cell: &str| {
        names.iter().position(|n| n == cell).unwrap_or_else(|| {
            names.push(cell.into());
            names.len() - 1
        })
    };
    for row in 0..table.rows() {
        let to = number(table.cell(row, to));
        // A node without parents stands alone.
        if !table.cell(row, from).is_empty() {
            let w = weight.map_or(Ok(1.0), |column| table.number(row, column))?;
            edges.push((number(table.cell(row, from)), to, w));
        }
    }
    let mut w = Mat::zeros(names.len(), names.len());
    edges.into_iter().for_each(|(u, v, x)| w[(u, v)] = x);
    Ok(Graph { names, w })
}

/// A square matrix.
fn matrix(table: &Table, name: &str) -> Result<Graph> {
    let (d, columns) = (table.rows(), table.columns().len());
    // Names before the rows may have a name of their own.
    let skip = usize::from(columns == d + 1);
    if columns != d + skip {
        bail!(
            "{name}: {d} rows of {columns} columns are no square matrix, and the header has no from and to; use either form"
        );
    }
    let mut w = Mat::zeros(d, d);
    for u in 0..d {
        for v in 0..d {
            w[(u, v)] = table.number(u, v + skip)?;
        }
    }
    Ok(Graph { names: table.columns()[skip..].to_vec(), w })
}

impl Graph {
    /// The weights in the order of `names`; nodes that are not in the graph have no edges.
    ///
    /// # Errors
    /// A node that is not among the names; `what` names the graph.
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
///
/// # Errors
/// No such file, a name that is none of `names`.
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
pub(super) fn knowledge(settings: &Settings, names: &[String]) -> Result<Knowledge> {
    let pairs = |file: &Option<PathBuf>| -> Result<Vec<(usize, usize)>> {
        let Some(file) = file.as_ref().map(|f| f.display().to_string()) else { return Ok(Vec::new()) };
        let w = graph(&file)?.among(names, &file)?;
        Ok(edges(&w).into_iter().map(|e| (e.0, e.1)).collect())
    };
    Ok(Knowledge {
        forbidden: pairs(&settings.forbid)?,
        required: pairs(&settings.require)?,
        tiers: settings.tiers.as_deref().map_or(Ok(Vec::new()), |file| tiers(file, names))?,
    })
}

fn tiers(file: &Path, names: &[String]) -> Result<Vec<usize>> {
    let table = Table::read(file, &TableOptions::default())?;
    if table.columns().len() != 2 {
        bail!("{}: {} columns; use node,tier", file.display(), table.columns().len());
    }
    let mut tiers = vec![None; names.len()];
    for row in 0..table.rows() {
        tiers[number(table.cell(row, 0), names, file)?] = Some(table.count(row, 1)?);
    }
    let all = tiers.iter().zip(names).map(|(t, name)| {
        t.with_context(|| format!("{}: {name} has no tier; give each variable one", file.display()))
    });
    all.collect()
}
