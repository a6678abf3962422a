//! Readers for the field's data formats, each seen through gzip, bzip2 and xz, and the embedded digits.
//!
//! [`load`] takes what a user names (`digits`, a file or a folder) and gives training and test
//! parts; every [`DataError`] names the file, the place in it and the remedy.
//!
//! ```
//! use thalweg_data::{Options, Source, load};
//!
//! let loaded = load("digits", &Options::default())?;
//! let Source::Examples { train, test } = loaded.source else { unreachable!("digits are images") };
//! assert_eq!((train.len(), test.len()), (1437, 360));
//! assert_eq!((train.shape.as_slice(), train.classes()), ([8, 8, 1].as_slice(), Some(10)));
//! # Ok::<(), thalweg_data::DataError>(())
//! ```
#![forbid(unsafe_code)]

mod archive;
mod arrays;
mod cells;
mod choice;
mod cifar;
mod cut;
mod dataset;
mod digits;
mod error;
mod examples;
mod file;
mod idx;
mod kind;
mod labels;
mod load;
mod market;
mod split;
mod svmlight;
mod table;
mod text;

pub use archive::{Layout, targets};
pub use arrays::{Array, Arrays, Element, Elements, npy, npz};
pub use cells::Separator;
pub use cut::Cut;
pub use dataset::{Dataset, Targets, Values};
pub use digits::digits;
pub use error::DataError;
pub use file::{read_bytes, read_text};
pub use labels::Task;
pub use load::{Loaded, Options, Origin, Source, load};
pub use market::{Market, read_market, vector_text};
pub use split::{Part, Split, read_split};
pub use svmlight::{Svmlight, read_svmlight};
pub use table::{Header, Table, TableOptions};
pub use text::Text;
