//! A safetensors file: where each tensor's bytes are, checked before anything is read.
//!
//! Format: 8 bytes of little-endian header length `n`, `n` bytes of JSON
//! (`{"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {...}}`), then the data, to which the
//! offsets are relative and which the tensors cover without overlap, hole or remainder
//! (<https://github.com/huggingface/safetensors#format>).
//!
//! Nothing is mapped: tensors that nobody asks for, a vision tower's for example, are never read.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::CheckpointError;
use super::header::{self, HeaderProblem, TensorRange};

/// Longest header that is accepted, which is the limit of the format's own library.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// An open file and its table of tensors.
#[derive(Debug)]
pub(super) struct SafetensorsFile {
    path: PathBuf,
    file: File,
    /// Position of the first byte of data in the file.
    data_start: u64,
    tensors: HashMap<String, TensorRange>,
}

impl SafetensorsFile {
    /// Reads and checks the header of the file at `path`.
    pub(super) fn open(path: &Path) -> Result<SafetensorsFile, CheckpointError> {
        let io_error = |error| CheckpointError::Io { path: path.to_path_buf(), error };
        let refuse = |problem| CheckpointError::Safetensors { path: path.to_path_buf(), problem };

        let file = File::open(path).map_err(io_error)?;
        let file_bytes = file.metadata().map_err(io_error)?.len();
        if file_bytes < 8 {
            return Err(refuse(HeaderProblem::TooShort { file_bytes }));
        }
        let mut length = [0; 8];
        file.read_exact_at(&mut length, 0).map_err(io_error)?;
        let header_bytes = header_length(length, file_bytes).map_err(refuse)?;
        let data_start = 8 + header_bytes;
        // At most `MAX_HEADER_BYTES`, and no more than the file has.
        let mut text = vec![0; header_bytes as usize];
        file.read_exact_at(&mut text, 8).map_err(io_error)?;
        let tensors = header::parse(&text, file_bytes - data_start).map_err(refuse)?;
        Ok(SafetensorsFile { path: path.to_path_buf(), file, data_start, tensors })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all tensors, in no order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor `name`.
    pub(super) fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        let (name, range) = self.tensors.get_key_value(name)?;
        Some(Tensor { name, range, file: self })
    }
}

/// The length of the header of a file of `file_bytes` that begins with `length`, checked.
fn header_length(length: [u8; 8], file_bytes: u64) -> Result<u64, HeaderProblem> {
    // What `git clone` leaves where the large file itself was not fetched begins so.
    if &length == b"version " {
        return Err(HeaderProblem::GitLfsPointer);
    }
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > MAX_HEADER_BYTES {
        return Err(HeaderProblem::HeaderTooLong { header_bytes, limit: MAX_HEADER_BYTES });
    }
    if 8 + header_bytes > file_bytes {
        return Err(HeaderProblem::HeaderBeyondFile { header_bytes, file_bytes });
    }
    Ok(header_bytes)
}

/// A tensor of a file that is in memory.
#[derive(Debug)]
pub(crate) struct TensorInMemory {
    /// Element type.
    pub(crate) dtype: header::Dtype,
    /// Shape, outermost dimension first.
    pub(crate) shape: Vec<usize>,
    /// Where its bytes are in the file.
    pub(crate) bytes: Range<usize>,
}

/// The tensor `name` of a file whose contents are `file`; `None` where the file has no such tensor.
pub(crate) fn tensor_in(file: &[u8], name: &str) -> Result<Option<TensorInMemory>, HeaderProblem> {
    let file_bytes = file.len() as u64;
    let Some(length) = file.first_chunk::<8>() else {
        return Err(HeaderProblem::TooShort { file_bytes });
    };
    let data_start = 8 + header_length(*length, file_bytes)? as usize;
    let mut tensors = header::parse(&file[8..data_start], file_bytes - data_start as u64)?;
    Ok(tensors.remove(name).map(|tensor| TensorInMemory {
        dtype: tensor.dtype,
        shape: tensor.shape,
        bytes: data_start + tensor.begin as usize..data_start + tensor.end as usize,
    }))
}

/// One tensor of an open file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tensor<'a> {
    name: &'a str,
    range: &'a TensorRange,
    file: &'a SafetensorsFile,
}

impl<'a> Tensor<'a> {
    /// Its name in the file.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// The file that holds it.
    pub(super) fn path(&self) -> &'a Path {
        &self.file.path
    }

    /// Element type.
    pub(super) fn dtype(&self) -> header::Dtype {
        self.range.dtype
    }

    /// Shape, outermost dimension first.
    pub(super) fn shape(&self) -> &'a [usize] {
        &self.range.shape
    }

    /// Fills `out` from byte `offset` of the tensor on.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), CheckpointError> {
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > self.range.end - self.range.begin) {
            return Err(self.io_error(io::Error::from(io::ErrorKind::UnexpectedEof)));
        }
        let position = self.file.data_start + self.range.begin + offset;
        self.file.file.read_exact_at(out, position).map_err(|error| self.io_error(error))
    }

    /// Fills `out` with the bytes `columns` of each of `rows`, where a row is `row_bytes` long.
    pub(super) fn read_block(
        &self,
        rows: std::ops::Range<usize>,
        row_bytes: usize,
        columns: std::ops::Range<usize>,
        out: &mut [u8],
    ) -> Result<(), CheckpointError> {
        let at = |row: usize| row as u64 * row_bytes as u64 + columns.start as u64;
        if columns.len() == row_bytes {
            return self.read(at(rows.start), out);
        }
        if columns.is_empty() {
            return Ok(());
        }
        rows.zip(out.chunks_exact_mut(columns.len())).try_for_each(|(row, out)| self.read(at(row), out))
    }

    fn io_error(&self, error: io::Error) -> CheckpointError {
        CheckpointError::Io { path: self.file.path.clone(), error }
    }
}
