use std::path::{Path, PathBuf};

use crate::dataset::numbered;
use crate::{DataError, Dataset, Targets, Values, file};

const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
const PLANE: usize = 32 * 32;

/// Files of one kind, one after the other; at least one.
pub(crate) fn read(files: &[PathBuf]) -> Result<Dataset, DataError> {
    let mut all = read_file(&files[0])?;
    for file in &files[1..] {
        let unlike = |e| DataError::Parts { file: file.clone(), cause: Box::new(e) };
        all = all.concat(&read_file(file)?).map_err(unlike)?;
    }
    Ok(all)
}

/// A CIFAR binary file: per image the label, then the red, green and blue plane, row-major.
/// CIFAR-100 has two label bytes (coarse, fine), which shows in the size; the fine one is taken.
fn read_file(file: &Path) -> Result<Dataset, DataError> {
    let bytes = file::bytes(file)?;
    let size = bytes.len();
    let (ahead, names, format) = if size.is_multiple_of(3 * PLANE + 1) {
        (1, CLASSES.map(String::from).to_vec(), "CIFAR-10 binary")
    } else if size.is_multiple_of(3 * PLANE + 2) {
        (2, numbered(100), "CIFAR-100 binary")
    } else {
        let left = size % (3 * PLANE + 1);
        return Err(DataError::CifarSize { file: file.into(), size, left, offset: size - left });
    };
    let record = ahead + 3 * PLANE;
    let (mut x, mut labels) = (Vec::with_capacity(size), Vec::with_capacity(size / record));
    for (i, image) in bytes.chunks_exact(record).enumerate() {
        let (label, planes) = (image[ahead - 1], &image[ahead..]);
        if usize::from(label) >= names.len() {
            let (offset, most) = (i * record + ahead - 1, names.len() as u8 - 1);
            return Err(DataError::Label { file: file.into(), offset, found: label, most, format });
        }
        labels.push(u32::from(label));
        x.extend((0..PLANE).flat_map(|p| [planes[p], planes[PLANE + p], planes[2 * PLANE + p]]));
    }
    Ok(Dataset { x: Values::Bytes(x), shape: vec![32, 32, 3], targets: Targets::Classes { labels, names } })
}
