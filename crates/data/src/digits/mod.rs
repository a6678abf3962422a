use crate::dataset::numbered;
use crate::{Dataset, Targets, Values};

/// 1,797 rows of 64 grey values and the label, in the order described in README.md.
const ROWS: &[u8] = include_bytes!("digits.bin");
const TRAIN: usize = 1437;

/// The embedded handwritten digits: 1,437 training and 360 test images of 8×8×1 pixels with grey
/// values 0..=16 and ten classes. Source: "Optical Recognition of Handwritten Digits"
/// (E. Alpaydin, C. Kaynak; UCI, test part), CC BY 4.0; the order is a fixed permutation.
pub fn digits() -> (Dataset, Dataset) {
    let (mut x, mut labels) = (Vec::with_capacity(ROWS.len()), Vec::with_capacity(ROWS.len() / 65));
    for row in ROWS.chunks_exact(65) {
        x.extend_from_slice(&row[..64]);
        labels.push(u32::from(row[64]));
    }
    let targets = Targets::Classes { labels, names: numbered(10) };
    let all = Dataset { x: Values::Bytes(x), shape: vec![8, 8, 1], targets };
    (all.slice(0..TRAIN), all.slice(TRAIN..all.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(part: &Dataset) -> &[u32] {
        let Targets::Classes { labels, .. } = &part.targets else { panic!("digits have classes") };
        labels
    }

    #[test]
    fn the_embedded_rows_are_the_documented_ones() {
        let (train, test) = digits();
        assert_eq!((train.len(), test.len()), (1437, 360));
        assert_eq!(labels(&train)[..10], [2, 8, 8, 0, 3, 2, 9, 5, 6, 9]);
        assert_eq!(labels(&test)[..10], [9, 8, 2, 0, 2, 7, 4, 7, 2, 5]);
        let per_class = |part| {
            let mut counts = [0; 10];
            labels(part).iter().for_each(|&l| counts[l as usize] += 1);
            counts
        };
        assert_eq!(per_class(&train), [142, 154, 149, 141, 142, 140, 142, 146, 139, 142]);
        assert_eq!(per_class(&test), [36, 28, 28, 42, 39, 42, 39, 33, 35, 38]);
        let (Values::Bytes(a), Values::Bytes(b)) = (&train.x, &test.x) else { panic!("digits are bytes") };
        assert_eq!(a.iter().chain(b).max(), Some(&16));
        // FNV-1a over all pixels: any slip of a byte shows.
        let hash = (a.iter().chain(b))
            .fold(0xcbf2_9ce4_8422_2325u64, |h, &p| (h ^ u64::from(p)).wrapping_mul(0x100_0000_01b3));
        assert_eq!(hash, 300_707_388_279_666_925);
    }
}
