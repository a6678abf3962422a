//! Writers of small files in each format.
use std::io::{Cursor, Write};

use bzip2::write::BzEncoder;
use flate2::{Compression, write::GzEncoder};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// IDX of unsigned bytes.
pub fn idx(shape: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
    bytes.extend(data);
    bytes
}

/// npy version 1.
pub fn npy(descr: &str, fortran: bool, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let shape: String = shape.iter().map(|d| format!("{d},")).collect();
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({shape}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// npy of doubles in C order.
pub fn doubles(shape: &[usize], data: &[f64]) -> Vec<u8> {
    npy("<f8", false, shape, &data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

/// npy of 64-bit integers.
pub fn longs(data: &[i64]) -> Vec<u8> {
    npy("<i8", false, &[data.len()], &data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

/// npz, packed as `numpy.savez_compressed` does.
pub fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, npy) in arrays {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        zip.start_file(format!("{name}.npy"), options).unwrap();
        zip.write_all(npy).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

pub fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut bzip2 = BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(bytes).unwrap();
    bzip2.finish().unwrap()
}

/// `n` CIFAR-10 images of class 3 in all pixels `pixel`.
pub fn cifar(n: usize, pixel: u8) -> Vec<u8> {
    let mut image = vec![pixel; 3073];
    image[0] = 3;
    image.repeat(n)
}
