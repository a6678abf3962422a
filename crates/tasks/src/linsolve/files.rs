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
            if b.len() != rows {
                bail!("{} has {} entries where the matrix has {rows} rows", file.display(), b.len());
            }
            Ok(b)
        }
    }
}

/// The systems of a folder. Files named b… or rhs… are right-hand sides, all other `.mtx`, perhaps
/// packed, are matrices; both are taken in the order of the numbers in their names. One matrix may
/// serve all right-hand sides, and without any the right-hand sides are ones.
pub fn systems(folder: &Path, contexts: Option<&Path>) -> Result<Systems> {
    let name = |p: &PathBuf| p.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let packed = [".mtx", ".mtx.gz", ".mtx.bz2", ".mtx.xz"];
    let is_market = |p: &PathBuf| packed.iter().any(|end| name(p).ends_with(end));
    let mut files: Vec<PathBuf> = list(folder)?.into_iter().filter(is_market).collect();
    files.sort_by_key(|p| natural(&name(p)));
    let right = |p: &PathBuf| name(p).starts_with('b') || name(p).starts_with("rhs");
    let (right, matrices): (Vec<_>, Vec<_>) = files.into_iter().partition(right);
    let count = matrices.len().max(right.len());
    if matrices.is_empty() {
        bail!("{} holds no matrix; put .mtx files there, right-hand sides as b*.mtx", folder.display());
    }
    if (matrices.len() != count && matrices.len() != 1) || (right.len() != count && !right.is_empty()) {
        bail!(
            "{} holds {} matrices and {} right-hand sides (b*.mtx); give as many of both, one matrix for all, or no \
             right-hand side",
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
    let matrices = matrices.iter().map(|f| Ok(Arc::new(matrix(f)?))).collect::<Result<Vec<_>>>()?;
    let system = |(t, context): (usize, f64)| {
        let a = matrices[t.min(matrices.len() - 1)].clone();
        let b = right_hand_side(right.get(t).map(PathBuf::as_path), a.rows())?;
        Ok((a, b, context))
    };
    Ok(Systems::new(contexts.into_iter().enumerate().map(system).collect::<Result<_>>()?)?)
}

/// The column `context` of a table, or its last one.
fn read_contexts(file: &Path) -> Result<Vec<f64>> {
    let table = Table::read(file, &TableOptions::default())?;
    let last = table.columns().len().saturating_sub(1);
    Ok(table.numbers(table.column(&["context"]).unwrap_or(last))?)
}
