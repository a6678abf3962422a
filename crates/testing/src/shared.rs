use std::io::Write;
use std::path::{Path, PathBuf};

/// A file or folder of the shared data: in the folder THALWEG_DATA, by default `../shared/data` beside the
/// workspace. `None`, and a word about it on standard error, where there are none.
///
/// # Panics
/// The data are there, or named by THALWEG_DATA, and this file is not among them: a test that is skipped
/// then would be one that nobody misses.
pub fn shared_data(path: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    find(std::env::var_os("THALWEG_DATA").map(PathBuf::from), &beside, path)
}

fn find(named: Option<PathBuf>, beside: &Path, path: &str) -> Option<PathBuf> {
    if named.is_none() && !beside.exists() {
        // Not by `eprintln!`, which is captured while a test passes.
        let _ = writeln!(std::io::stderr(), "skipped: no shared data ({path}); set THALWEG_DATA");
        return None;
    }
    let file = named.unwrap_or_else(|| beside.into()).join(path);
    assert!(
        file.exists(),
        "{} is not among the shared data; THALWEG_DATA names their folder",
        file.display()
    );
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn data_are_found_missed_or_absent() {
        let folder = tempfile::tempdir().unwrap();
        let (here, absent) = (folder.path(), folder.path().join("absent"));
        std::fs::write(here.join("a.csv"), "").unwrap();
        assert_eq!(find(None, &absent, "a.csv"), None);
        assert_eq!(find(None, here, "a.csv"), Some(here.join("a.csv")));
        assert_eq!(find(Some(here.into()), &absent, "a.csv"), Some(here.join("a.csv")));
    }

    #[test]
    #[should_panic(expected = "b.csv is not among the shared data")]
    fn a_missing_file_of_a_named_folder_fails() {
        let folder = tempfile::tempdir().unwrap();
        find(Some(folder.path().into()), folder.path(), "b.csv");
    }

    #[test]
    #[should_panic(expected = "b.csv is not among the shared data")]
    fn a_missing_file_of_the_default_folder_fails() {
        let folder = tempfile::tempdir().unwrap();
        find(None, folder.path(), "b.csv");
    }
}
