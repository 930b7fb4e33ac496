//! Engine directories: built once from a checkpoint, mapped many times.
//!
//! - `format`: the manifest and how tensors are stored.
//! - `layout`: where each tensor will stand, from the configuration alone.
//! - `build`: reading, packing and writing, resumable; `pack`: one block of rows.
//! - `open`: a finished directory, checked.

mod build;
mod error;
mod format;
mod layout;
mod open;
mod pack;

pub(crate) use build::hexadecimal;
pub use build::{BuildFlow, BuildProgress, build, hash_file, source_files};
pub use error::EngineError;
pub use format::{
    FORMAT_VERSION, MANIFEST, Manifest, PART_ALIGNMENT, PartKind, PartRecord, SegmentRecord, SourceRecord,
    TensorFormat, TensorRecord, VocabularyRecord, WEIGHTS,
};
pub use layout::{BuildOptions, Linears, LmHead, OWN_GROUP_SIZE, layout};
pub use open::EngineDir;
