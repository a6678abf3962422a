//! Pictures as SVG and PNG, and the self-contained HTML report.
//!
//! A [`Figure`] is built by chaining and rendered on demand; a [`Report`] gathers figures,
//! [`Table`]s and text into one HTML file without external resources.
//!
//! ```
//! use thalweg_plot::Figure;
//! let loss: Vec<_> = (1..100).map(|t| (t as f64, 1.0 / t as f64)).collect();
//! let svg = Figure::new("Loss").x_label("step").log_y().line("sgd", &loss).svg();
//! assert!(svg.starts_with("<svg"));
//! ```
#![forbid(unsafe_code)]

mod bars;
mod draw;
mod field;
mod figure;
mod raster;
mod report;
mod scale;
mod scene;
mod table;
mod theme;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use figure::Figure;
pub use report::{Report, Section};
pub use scale::number;
pub use table::Table;
pub use theme::Theme;

/// Why a picture or a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The file name does not say what to write.
    #[error("{}: pictures are written as .svg or .png; give the file one of these extensions", .0.display())]
    Extension(PathBuf),
    /// The picture would be empty or huge.
    #[error("a scale of {0} gives no picture between 1 and 16384 pixels in each direction; use about 1 to 4")]
    Scale(f64),
    /// The SVG could not be rasterised.
    #[error("the picture could not be rasterised: {0}; save it as .svg instead")]
    Raster(String),
    /// The file could not be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes a file that appears whole or not at all: beside it first, then renamed.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> Result<(), PlotError> {
    let write = || {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666)); // less the umask
        }
        let mut file = builder.prefix(".plot").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_data()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| PlotError::Write { path: path.into(), source })
}
