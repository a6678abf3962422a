//! What is read: data, graphs, orders, knowledge.

use std::path::{Path, PathBuf};

use thalweg_data::{Arrays, DataError, Table, TableOptions, read_text};
use thalweg_topo::graph::edges;
use thalweg_topo::{Knowledge, Mat, Sample, sachs};

use super::{Settings, tetrad};
use crate::error::bail;
use crate::{Context, Host, Result};

/// How data are read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Dialect of a table, its marks of missing values, and whether rows that have one are left out (of arrays:
    /// rows with NaN).
    pub table: TableOptions,
    /// Columns to leave out.
    pub drop: Vec<String>,
}

/// Reads data: `sachs` (embedded), CSV in any dialect, npy, or npz (array `x` or `X`, or its only one).
///
/// # Errors
/// No such file, cells that are no numbers, columns that nothing can be learned about, an option that does not
/// apply.
pub fn data(name: &str, reading: &Reading, host: &Host) -> Result<Sample> {
    let TableOptions { separator, header, missing, drop_missing } = &reading.table;
    let file = Path::new(name);
    let array = name.ends_with(".npy") || name.ends_with(".npz");
    if array || name == "sachs" {
        let given = [
            ("separator", separator.is_some()),
            ("header", *header != Default::default()),
            ("missing", !missing.is_empty()),
            ("drop_missing", *drop_missing && !array),
        ];
        if let Some((field, _)) = given.iter().find(|field| field.1) {
            bail!("`{field}` says how a table is read, and {name} is none; leave it out");
        }
    }
    let (names, n, cells) = match name {
        "sachs" => {
            let sample = sachs::data();
            let all = (0..sample.n()).flat_map(|i| (0..sample.d()).map(move |j| (i, j)));
            let cells = all.map(|at| sample.x()[at]).collect();
            (sample.names().to_vec(), sample.n(), cells)
        }
        _ if array => numbers(file, *drop_missing, host, name)?,
        _ => {
            let options = TableOptions { drop_missing: false, ..reading.table.clone() };
            let table = Table::read(file, &options)?;
            for note in table.notes() {
                host.note(format!("{name}: {note}"));
            }
            return columns(&table, reading, host).with_context(|| name.to_owned());
        }
    };
    let kept = kept(&names, &reading.drop, name)?;
    let d = names.len();
    let x = Mat::from_fn(n, kept.len(), |i, j| cells[i * d + kept[j]]);
    Sample::new(kept.iter().map(|j| names[*j].clone()).collect(), x).context(name)
}

/// Names, number of rows and cells of an array.
fn numbers(
    file: &Path,
    drop_missing: bool,
    host: &Host,
    name: &str,
) -> Result<(Vec<String>, usize, Vec<f64>)> {
    let array = Arrays::open(file)?.take_any_or_only(&["x", "X"])?;
    let [n, d] = array.axes("samples × variables")?;
    let names = (0..d).map(|j| format!("X{j}")).collect();
    if !drop_missing {
        return Ok((names, n, array.into_f64()?));
    }
    let cells = array.into_f64_or_nan()?;
    let whole: Vec<f64> =
        cells.chunks(d.max(1)).filter(|row| row.iter().all(|x| !x.is_nan())).flatten().copied().collect();
    let kept = whole.len() / d.max(1);
    if kept < n {
        host.note(format!("{name}: {} of {n} rows lack a value and are left out", n - kept));
    }
    Ok((names, kept, whole))
}

/// Which columns stay.
fn kept(names: &[String], drop: &[String], file: &str) -> Result<Vec<usize>> {
    if let Some(none) = drop.iter().find(|name| !names.contains(name)) {
        bail!("{file} has no column {none} to `drop` (it has {})", names.join(", "));
    }
    Ok((0..names.len()).filter(|j| !drop.contains(&names[*j])).collect())
}

/// The columns of a table that stay, and of its rows those that lack none of them.
fn columns(table: &Table, reading: &Reading, host: &Host) -> Result<Sample> {
    let kept = kept(table.columns(), &reading.drop, "it")?;
    let lacking = |row: &usize| kept.iter().any(|column| table.is_missing(*row, *column));
    let rows: Vec<usize> = match reading.table.drop_missing {
        true => (0..table.rows()).filter(|row| !lacking(row)).collect(),
        false => (0..table.rows()).collect(),
    };
    if rows.len() < table.rows() {
        let left_out = table.rows() - rows.len();
        host.note(format!("{left_out} of {} rows lack a value and are left out", table.rows()));
    }
    let mut x = Mat::zeros(rows.len(), kept.len());
    for (j, column) in kept.iter().enumerate() {
        for (i, row) in rows.iter().enumerate() {
            x[(i, j)] = match table.number(*row, *column) {
                Ok(x) => x,
                // A column of words or dates may not belong to the variables.
                Err(e @ DataError::Cell { .. }) => bail!("{e}, or name the column in `drop`"),
                Err(e) => return Err(e.into()),
            };
        }
    }
    Ok(Sample::new(kept.iter().map(|j| table.columns()[*j].clone()).collect(), x)?)
}

/// File of the graph in a run folder.
pub(super) const GRAPH: &str = "graph.csv";

/// A graph as it stands in a file.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Names of the nodes.
    pub names: Vec<String>,
    /// Weights `[(from, to)]`.
    pub w: Mat<f64>,
    /// The file has no names: the nodes are its columns, in turn.
    pub unnamed: bool,
    /// Edges that the file lists with a weight of 0.
    pub zeros: Vec<(usize, usize)>,
}

/// Reads a graph: a list of edges (`from,to` with or without `weight`; also `node,parent,coefficient`),
/// or a square matrix with the names above, with or without the names before each row, or without any names, as
/// NOTEARS writes it; or the run folder that holds one. `sachs` is the embedded consensus network.
///
/// # Errors
/// No such file, or neither form; an edge from a node to itself.
pub fn graph(name: &str) -> Result<Graph> {
    if name == "sachs" {
        let (names, w) = (sachs::data().names().to_vec(), sachs::truth());
        return Ok(Graph { names, w, unnamed: false, zeros: Vec::new() });
    }
    let file = Path::new(name);
    // Of a run folder its graph.
    let file = if file.is_dir() { file.join(GRAPH) } else { file.to_owned() };
    let table = Table::read(&file, &TableOptions::default())?;
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
        // A node without parents stands alone; so do two of which only resamples have an edge.
        let cell = table.cell(row, from);
        let from = if cell.is_empty() { None } else { Some(number(cell)) };
        let to = number(table.cell(row, to));
        let none = weight.is_some_and(|column| table.cell(row, column).is_empty());
        if let Some(from) = from.filter(|_| !none) {
            edges.push((from, to, weight.map_or(Ok(1.0), |column| table.number(row, column))?));
        }
    }
    if let Some((u, ..)) = edges.iter().find(|(u, v, _)| u == v) {
        bail!(
            "{}: the edge {1} → {1} leads from a node to itself; take it out",
            table.file().display(),
            names[*u]
        );
    }
    let zeros = edges.iter().filter(|e| e.2 == 0.0).map(|e| (e.0, e.1)).collect();
    let mut w = Mat::zeros(names.len(), names.len());
    edges.into_iter().for_each(|(u, v, x)| w[(u, v)] = x);
    Ok(Graph { names, w, unnamed: false, zeros })
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
    let names = table.columns()[skip..].to_vec();
    if let Some(v) = (0..d).find(|v| w[(*v, *v)] != 0.0) {
        bail!("{name}: the weight of {0} → {0} on the diagonal is {1}; it must be 0", names[v], w[(v, v)]);
    }
    Ok(Graph { names, w, unnamed: !table.has_header(), zeros: Vec::new() })
}

impl Graph {
    /// The weights in the order of `names`; nodes that are not in the graph have no edges. A graph without names
    /// has as many nodes, in the same order.
    ///
    /// # Errors
    /// A node that is not among the names, another number of nodes; `what` names the graph.
    pub fn among(&self, names: &[String], what: &str) -> Result<Mat<f64>> {
        if self.unnamed && self.names != names {
            let (found, needed) = (self.names.len(), names.len());
            if found != needed {
                bail!(
                    "{what} has no names and {found} columns where the data have {needed}; write the names above"
                );
            }
            return Ok(self.w.clone());
        }
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

/// The variables named in a file: one a line, which may stand in quotes, or all in one line between commas.
///
/// # Errors
/// No such file, a name that is none of `names`.
pub fn order(file: &Path, names: &[String]) -> Result<Vec<usize>> {
    let text = read_text(file)?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // A name of one line may hold a comma.
    let known = |word: &&str| names.iter().any(|n| n == unquoted(word));
    let words: Vec<&str> = match lines.iter().all(known) {
        true => lines,
        false => {
            lines.iter().flat_map(|line| line.split(',')).map(str::trim).filter(|w| !w.is_empty()).collect()
        }
    };
    words.into_iter().map(|w| number(unquoted(w), names, file)).collect()
}

fn unquoted(word: &str) -> &str {
    word.strip_prefix('"').and_then(|w| w.strip_suffix('"')).unwrap_or(word)
}

pub(super) fn number(word: &str, names: &[String], file: &Path) -> Result<usize> {
    let found = names.iter().position(|n| n == word);
    found.with_context(|| format!("{}: the data have no column {word}", file.display()))
}

/// Knowledge from files: edges `from,to`, tiers `node,tier`, and all of them in Tetrad's form.
pub(super) fn knowledge(settings: &Settings, names: &[String], host: &Host) -> Result<Knowledge> {
    let pairs = |file: &Option<PathBuf>| -> Result<Vec<(usize, usize)>> {
        let Some(file) = file.as_ref().map(|f| f.display().to_string()) else { return Ok(Vec::new()) };
        let graph = graph(&file)?;
        let mut w = graph.among(names, &file)?;
        // Whoever lists an edge means it, whatever its weight.
        if !graph.zeros.is_empty() {
            host.note(format!("{file}: {} edges of weight 0 count as listed", graph.zeros.len()));
        }
        for (u, v) in &graph.zeros {
            let at = |node: usize| names.iter().position(|n| *n == graph.names[node]);
            if let (Some(u), Some(v)) = (at(*u), at(*v)) {
                w[(u, v)] = 1.0;
            }
        }
        Ok(edges(&w).into_iter().map(|e| (e.0, e.1)).collect())
    };
    let mut known = Knowledge {
        forbidden: pairs(&settings.forbid)?,
        required: pairs(&settings.require)?,
        tiers: settings.tiers.as_deref().map_or(Ok(Vec::new()), |file| tiers(file, names))?,
    };
    if let Some(file) = &settings.knowledge {
        let theirs = tetrad::read(file, names)?;
        if !known.tiers.is_empty() && !theirs.tiers.is_empty() {
            bail!("`tiers` and {} both give tiers; leave one of them out", file.display());
        }
        known.forbidden.extend(theirs.forbidden);
        known.required.extend(theirs.required);
        known.tiers = if known.tiers.is_empty() { theirs.tiers } else { known.tiers };
    }
    Ok(known)
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
