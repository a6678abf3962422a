//! Images as features.

use anyhow::{Result, bail};
use thalweg::convex_relu::Samples;
use thalweg::convex_relu::scaling::Scaling;
use thalweg::data::{self, Source, Targets, Values};

use crate::sources::shared_file;

/// Digits 3 and 8, the middle 24 × 24 pixels pooled to 8 × 8; labels −1 and +1.
pub fn threes_and_eights(limit: usize) -> Result<(Samples, Vec<f64>)> {
    let (x, labels) = images("vision/mnist-train-images-idx3-ubyte.gz", 28, 1)?;
    let mut features = Vec::new();
    let mut y = Vec::new();
    for (image, label) in x.iter().zip(&labels).filter(|(_, l)| **l == 3 || **l == 8).take(limit) {
        features.extend(pool(image, 28, 1, 2, 3, 8));
        y.push(if *label == 8 { 1.0 } else { -1.0 });
    }
    let raw = Samples::new(features, 64)?;
    Ok((Scaling::of(&raw).apply(&raw)?, y))
}

/// Images as rows of bytes with their labels.
pub fn images(file: &str, side: usize, channels: usize) -> Result<(Vec<Vec<f64>>, Vec<u32>)> {
    let file = shared_file(file)?;
    let loaded = data::load(&file.display().to_string(), &data::Options::default())?;
    let Source::Examples { train, test } = loaded.source else { bail!("{} holds no images", file.display()) };
    let (mut x, mut labels) = (Vec::new(), Vec::new());
    for part in [train, test] {
        let (Values::Bytes(bytes), Targets::Classes { labels: l, .. }) = (part.x, part.targets) else {
            bail!("{} holds no labelled images", file.display())
        };
        let image = |b: &[u8]| b.iter().map(|b| f64::from(*b) / 255.0).collect();
        x.extend(bytes.chunks(side * side * channels).map(image).collect::<Vec<Vec<f64>>>());
        labels.extend(l);
    }
    Ok((x, labels))
}

/// Averages of `size` × `size` cells from the offset on, `cells` × `cells` of them.
pub fn pool(
    image: &[f64],
    side: usize,
    channels: usize,
    offset: usize,
    size: usize,
    cells: usize,
) -> Vec<f64> {
    let mut out = vec![0.0; cells * cells * channels];
    for i in 0..cells * size {
        for j in 0..cells * size {
            for c in 0..channels {
                let pixel = image[((offset + i) * side + offset + j) * channels + c];
                out[(i / size * cells + j / size) * channels + c] += pixel / (size * size) as f64;
            }
        }
    }
    out
}
