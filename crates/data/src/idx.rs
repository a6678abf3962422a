use std::path::{Path, PathBuf};

use crate::dataset::number_classes;
use crate::{DataError, Dataset, Values, file};

/// An IDX file of images (n, height, width) with the file of labels beside it.
pub(crate) fn read(images: &Path) -> Result<Dataset, DataError> {
    let (shape, x) = array(images, 3, "the file of images (n, height, width)")?;
    let name = images.file_name().unwrap_or_default().to_string_lossy();
    let wanted = name.replace("images", "labels").replace("idx3", "idx1");
    let missing = || DataError::NoLabels { images: images.into(), labels: wanted.clone() };
    let labels = beside(images, &wanted).filter(|l| l != images).ok_or_else(missing)?;
    let (count, y) = array(&labels, 1, "the file of labels (n)")?;
    if count[0] != shape[0] {
        return Err(DataError::Count { file: labels, labels: count[0], examples: shape[0] });
    }
    if x.is_empty() {
        return Err(DataError::Empty { file: images.into() });
    }
    let targets = number_classes(y.into_iter().map(u32::from).collect());
    Ok(Dataset { x: Values::Bytes(x), shape: vec![shape[1], shape[2], 1], targets })
}

/// The test images beside a file of training images, under MNIST's names.
pub(crate) fn test_beside(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_string_lossy();
    ["t10k-images", "test-images"]
        .iter()
        .filter(|_| name.contains("train-images"))
        .find_map(|test| beside(images, &name.replace("train-images", test)))
}

/// The file `name` in the folder of `file`, packed or not.
fn beside(file: &Path, name: &str) -> Option<PathBuf> {
    let plain = file::PACKED.iter().find_map(|p| name.strip_suffix(p)?.strip_suffix('.')).unwrap_or(name);
    let packed = file::PACKED.iter().map(|p| format!("{plain}.{p}"));
    [name.to_owned(), plain.to_owned()]
        .into_iter()
        .chain(packed)
        .map(|n| file.with_file_name(n))
        .find(|f| f.is_file())
}

/// Dimensions and bytes of an IDX file of unsigned bytes.
fn array(file: &Path, rank: u8, remedy: &'static str) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    let mut bytes = file::bytes(file)?;
    if !bytes.starts_with(&[0, 0, 8]) {
        let found = bytes.iter().copied().take(4).collect();
        let expected = "00 00 08, IDX of unsigned bytes";
        return Err(DataError::Magic { file: file.into(), found, expected });
    }
    let offset = 4 + 4 * usize::from(rank);
    let length = |offset, expected, found| DataError::Length { file: file.into(), offset, expected, found };
    match bytes.get(3) {
        Some(&found) if found != rank => {
            return Err(DataError::Dimensions { file: file.into(), found, expected: rank, remedy });
        }
        _ if bytes.len() < offset => return Err(length(0, offset as u128, bytes.len())),
        _ => {}
    }
    let big_endian = |b: &[u8]| b.iter().fold(0, |n, &b| n << 8 | usize::from(b));
    let shape: Vec<usize> = bytes[4..offset].chunks_exact(4).map(big_endian).collect();
    let expected = shape.iter().map(|&d| d as u128).product();
    let found = bytes.len() - offset;
    if expected != found as u128 {
        return Err(length(offset, expected, found));
    }
    Ok((shape, bytes.split_off(offset)))
}
