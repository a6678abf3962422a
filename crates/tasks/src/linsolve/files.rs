//! Systems from files: MatrixMarket matrices and right-hand sides, contexts from a CSV table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thalweg_data::{Table, TableOptions, read_market};
use thalweg_relax::sequence::Systems;
use thalweg_relax::{Csr, Matrix};

use super::natural::natural;
use crate::error::bail;
use crate::folder::list;
use crate::{Context, Result};

/// The matrix of a MatrixMarket file.
pub fn matrix(file: &Path) -> Result<Csr> {
    let read = read_market(file)?;
    Csr::from_triplets(read.rows, read.columns, read.triplets).with_context(|| file.display().to_string())
}

/// The vector of a MatrixMarket file.
pub fn vector(file: &Path) -> Result<Vec<f64>> {
    Ok(read_market(file)?.into_vector(file)?)
}

/// The right-hand side of a file, or ones.
pub fn right_hand_side(file: Option<&Path>, rows: usize) -> Result<Vec<f64>> {
    match file {
        None => Ok(vec![1.0; rows]),
        Some(file) => {
            let b = vector(file)?;
            check_rows(file, b.len(), rows)?;
            Ok(b)
        }
    }
}

/// The systems of a folder, and what each is called.
pub struct Given {
    /// Matrices, right-hand sides, contexts.
    pub systems: Systems,
    /// The name of each system's file, without its ending: of the right-hand side where every system has one, else of
    /// the matrix.
    pub names: Vec<String>,
}

/// What a MatrixMarket file of a folder holds.
enum Content {
    Matrix(Arc<Csr>),
    Right(Vec<f64>),
}

impl Content {
    /// Told by the shape: one column is a right-hand side. A single number is a right-hand side if the file's name
    /// begins with b or rhs.
    fn read(file: &Path) -> Result<Self> {
        let read = read_market(file)?;
        let named = || name(file).starts_with('b') || name(file).starts_with("rhs");
        if read.columns == 1 && (read.rows > 1 || named()) {
            return Ok(Self::Right(read.into_vector(file)?));
        }
        let matrix = Csr::from_triplets(read.rows, read.columns, read.triplets);
        Ok(Self::Matrix(Arc::new(matrix.with_context(|| file.display().to_string())?)))
    }
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// The systems of a folder: of all its `.mtx`, perhaps packed, those with one column are right-hand sides, the others
/// matrices; both are taken in the order of the numbers in their names. One matrix may serve all right-hand sides,
/// and without any the right-hand sides are ones.
pub fn systems(folder: &Path, contexts: Option<&Path>) -> Result<Given> {
    let packed = [".mtx", ".mtx.gz", ".mtx.bz2", ".mtx.xz"];
    let is_market = |p: &PathBuf| packed.iter().any(|end| name(p).ends_with(end));
    let mut files: Vec<PathBuf> = list(folder)?.into_iter().filter(is_market).collect();
    files.sort_by_key(|p| natural(&name(p)));
    let (mut matrices, mut right) = (Vec::new(), Vec::new());
    for file in files {
        match Content::read(&file)? {
            Content::Matrix(a) => matrices.push((file, a)),
            Content::Right(b) => right.push((file, b)),
        }
    }
    let count = matrices.len().max(right.len());
    if matrices.is_empty() {
        bail!(
            "{} holds no matrix but {} right-hand sides; put .mtx files with matrices there",
            folder.display(),
            right.len()
        );
    }
    if (matrices.len() != count && matrices.len() != 1) || (right.len() != count && !right.is_empty()) {
        bail!(
            "{} holds {} matrices and {} right-hand sides (.mtx with one column); give as many of both, one matrix for \
             all, or no right-hand side",
            folder.display(),
            matrices.len(),
            right.len()
        );
    }
    let contexts = match contexts {
        None => (0..count).map(|t| t as f64).collect(),
        Some(file) => read_contexts(file)?,
    };
    if contexts.len() != count {
        bail!("{} contexts where {} holds {count} systems", contexts.len(), folder.display());
    }
    let mut systems = Vec::with_capacity(count);
    let mut names = Vec::with_capacity(count);
    for (t, context) in contexts.into_iter().enumerate() {
        let (matrix, a) = &matrices[t.min(matrices.len() - 1)];
        let (file, b) =
            right.get(t).map_or_else(|| (matrix, vec![1.0; a.rows()]), |(file, b)| (file, b.clone()));
        check_rows(file, b.len(), a.rows())?;
        systems.push((a.clone(), b, context));
        let whole = file.file_name().unwrap_or_default().to_string_lossy();
        names.push(whole[..name(file).find(".mtx").unwrap_or(whole.len())].to_owned());
    }
    Ok(Given { systems: Systems::new(systems)?, names })
}

fn check_rows(file: &Path, found: usize, rows: usize) -> Result<()> {
    if found != rows {
        bail!("{} has {found} entries where the matrix has {rows} rows", file.display());
    }
    Ok(())
}

/// The column `context` of a table, or its only one.
fn read_contexts(file: &Path) -> Result<Vec<f64>> {
    let table = Table::read(file, &TableOptions::default())?;
    let column = if table.columns().len() == 1 { 0 } else { table.need(&["context"])? };
    Ok(table.numbers(column)?)
}
