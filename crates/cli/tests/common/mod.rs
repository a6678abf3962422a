//! What the tests of the program share: starting it, and making small files for it to read.
#![allow(dead_code)] // no test uses all of it

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
#[allow(unused_imports)] // no test uses all of it
pub use thalweg_testing::shared_data;

/// The program, about to be started in `folder` with the arguments of `line`, split at blanks.
pub fn command(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.current_dir(folder).args(line.split_whitespace()).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub fn run(folder: &Path, line: &str) -> Output {
    command(folder, line).output().expect("the program starts")
}

/// Standard output of a run that must succeed.
pub fn succeed(folder: &Path, line: &str) -> String {
    let output = run(folder, line);
    assert!(output.status.success(), "thalweg {line}\n{}", errors(&output));
    String::from_utf8(output.stdout).expect("standard output is UTF-8")
}

/// The one JSON value on standard output of a run that must succeed.
pub fn json(folder: &Path, line: &str) -> Value {
    let out = succeed(folder, line);
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("thalweg {line}: {e} in {out:?}"))
}

/// Standard error.
pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A fresh folder with these files.
pub fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders can be made");
        fs::write(path, content).expect("files can be written");
    }
    folder
}

/// An IDX file of unsigned bytes.
pub fn idx(shape: &[u32], content: &[u8]) -> Vec<u8> {
    let head = [0, 0, 8, shape.len() as u8].into_iter();
    head.chain(shape.iter().flat_map(|d| d.to_be_bytes())).chain(content.iter().copied()).collect()
}

/// An npy file of little-endian `f4` or `i8`.
pub fn npy(kind: &str, shape: &str, content: Vec<u8>) -> Vec<u8> {
    let mut head = format!("{{'descr': '<{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    head += &" ".repeat((64 - (10 + head.len() + 1) % 64) % 64);
    head.push('\n');
    let length = (head.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], head.as_bytes(), &content].concat()
}

/// Rows of two inputs and a target computed from them, under a header.
pub fn csv(rows: usize, target: impl Fn(f64, f64) -> String) -> String {
    let row = |i: usize| {
        let (a, b) = ((i as f64 * 0.7).sin(), (i as f64 * 1.3).cos());
        format!("{a},{b},{}\n", target(a, b))
    };
    std::iter::once("a,b,label\n".to_string()).chain((0..rows).map(row)).collect()
}
