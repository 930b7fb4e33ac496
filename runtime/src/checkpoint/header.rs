//! The JSON header of a safetensors file, checked against the length of the data behind it.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use thiserror::Error;

/// Element types of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "the names of the format")]
pub(crate) enum Dtype {
    F4,
    F6_E2M3,
    F6_E3M2,
    BOOL,
    U8,
    I8,
    F8_E5M2,
    F8_E4M3,
    F8_E8M0,
    F8_E5M2FNUZ,
    F8_E4M3FNUZ,
    I16,
    U16,
    F16,
    BF16,
    I32,
    U32,
    F32,
    I64,
    U64,
    F64,
    C64,
}

impl Dtype {
    /// Every type, with its name and its bits.
    const ALL: [(Dtype, &str, u64); 22] = [
        (Dtype::F4, "F4", 4),
        (Dtype::F6_E2M3, "F6_E2M3", 6),
        (Dtype::F6_E3M2, "F6_E3M2", 6),
        (Dtype::BOOL, "BOOL", 8),
        (Dtype::U8, "U8", 8),
        (Dtype::I8, "I8", 8),
        (Dtype::F8_E5M2, "F8_E5M2", 8),
        (Dtype::F8_E4M3, "F8_E4M3", 8),
        (Dtype::F8_E8M0, "F8_E8M0", 8),
        (Dtype::F8_E5M2FNUZ, "F8_E5M2FNUZ", 8),
        (Dtype::F8_E4M3FNUZ, "F8_E4M3FNUZ", 8),
        (Dtype::I16, "I16", 16),
        (Dtype::U16, "U16", 16),
        (Dtype::F16, "F16", 16),
        (Dtype::BF16, "BF16", 16),
        (Dtype::I32, "I32", 32),
        (Dtype::U32, "U32", 32),
        (Dtype::F32, "F32", 32),
        (Dtype::I64, "I64", 64),
        (Dtype::U64, "U64", 64),
        (Dtype::F64, "F64", 64),
        (Dtype::C64, "C64", 64),
    ];

    fn entry(self) -> (Dtype, &'static str, u64) {
        // `ALL` lists the variants in their order of declaration.
        Dtype::ALL[self as usize]
    }

    fn bits(self) -> u64 {
        self.entry().2
    }

    fn from_name(name: &str) -> Option<Dtype> {
        Dtype::ALL.into_iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry().1)
    }
}

/// A tensor's type, shape and place in the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorRange {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// First byte, relative to the data.
    pub(super) begin: u64,
    /// One past the last byte, relative to the data.
    pub(super) end: u64,
}

/// Why a safetensors file is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HeaderProblem {
    /// Not even a length.
    #[error("the file has {file_bytes} bytes, too few for a safetensors header; download it again")]
    TooShort {
        /// Length of the file.
        file_bytes: u64,
    },
    /// A pointer that stands for a large file.
    #[error("the file is a Git LFS pointer, not the weights; run `git lfs pull` in the model directory")]
    GitLfsPointer,
    /// A header that no checkpoint needs.
    #[error(
        "the header claims {header_bytes} bytes, above the limit of {limit}; this is not a safetensors file, or it is damaged: download it again"
    )]
    HeaderTooLong {
        /// Length that the file gives.
        header_bytes: u64,
        /// Longest accepted.
        limit: u64,
    },
    /// The header alone is longer than the file.
    #[error(
        "the header claims {header_bytes} bytes, but the file has {file_bytes}; it is truncated: download it again"
    )]
    HeaderBeyondFile {
        /// Length that the file gives.
        header_bytes: u64,
        /// Length of the file.
        file_bytes: u64,
    },
    /// Not text.
    #[error(
        "the header is not UTF-8 text; this is not a safetensors file, or it is damaged: download it again"
    )]
    NotText,
    /// Not the JSON that the format asks for.
    #[error("the header is malformed: {0}; the file is damaged: download it again")]
    Json(serde_json::Error),
    /// Two tensors of one name.
    #[error("tensor `{tensor}` appears twice; export the checkpoint again")]
    Duplicate {
        /// The name.
        tensor: String,
    },
    /// An element type that the format does not know.
    #[error("tensor `{tensor}` has the unknown dtype `{dtype}`; export the checkpoint in bf16, f16 or f32")]
    UnknownDtype {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: String,
    },
    /// A range that ends before it begins.
    #[error("tensor `{tensor}` has the byte range {begin}..{end}; the file is damaged: download it again")]
    BackwardRange {
        /// The tensor.
        tensor: String,
        /// First byte.
        begin: u64,
        /// One past the last byte.
        end: u64,
    },
    /// A range beyond the end of the file.
    #[error(
        "tensor `{tensor}` ends at byte {end} of the data, but the file has {data_bytes}; it is truncated: download it again"
    )]
    Truncated {
        /// The tensor.
        tensor: String,
        /// One past its last byte.
        end: u64,
        /// Bytes of data that the file has.
        data_bytes: u64,
    },
    /// Shape and range disagree.
    #[error(
        "tensor `{tensor}` of type {dtype} and shape {shape:?} has a range of {found} bytes, which do not agree; the file is damaged: download it again"
    )]
    RangeLength {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: String,
        /// Its shape.
        shape: Vec<u64>,
        /// Length of its range.
        found: u64,
    },
    /// Two tensors share bytes.
    #[error("tensors `{first}` and `{second}` overlap; the file is damaged: download it again")]
    Overlap {
        /// The tensor that begins first.
        first: String,
        /// The tensor that begins inside it.
        second: String,
    },
    /// Bytes that belong to no tensor, which the format forbids.
    #[error(
        "{bytes} bytes at {begin} of the data belong to no tensor; the file is damaged: download it again"
    )]
    Hole {
        /// First byte of the hole.
        begin: u64,
        /// Its length.
        bytes: u64,
    },
}

/// Parses a header in front of `data_bytes` bytes of data.
pub(super) fn parse(header: &[u8], data_bytes: u64) -> Result<HashMap<String, TensorRange>, HeaderProblem> {
    let text = std::str::from_utf8(header).map_err(|_| HeaderProblem::NotText)?;
    let Entries(entries) = serde_json::from_str(text).map_err(HeaderProblem::Json)?;

    let mut tensors = HashMap::with_capacity(entries.len());
    for (name, entry) in entries {
        let range = check_entry(&name, entry, data_bytes)?;
        if tensors.contains_key(&name) {
            return Err(HeaderProblem::Duplicate { tensor: name });
        }
        tensors.insert(name, range);
    }
    check_cover(&tensors, data_bytes)?;
    Ok(tensors)
}

fn check_entry(name: &str, entry: RawTensor, data_bytes: u64) -> Result<TensorRange, HeaderProblem> {
    let tensor = || name.to_owned();
    let Some(dtype) = Dtype::from_name(&entry.dtype) else {
        return Err(HeaderProblem::UnknownDtype { tensor: tensor(), dtype: entry.dtype });
    };
    let [begin, end] = entry.data_offsets;
    if end < begin {
        return Err(HeaderProblem::BackwardRange { tensor: tensor(), begin, end });
    }
    if end > data_bytes {
        return Err(HeaderProblem::Truncated { tensor: tensor(), end, data_bytes });
    }
    let elements = entry.shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size));
    let bits = elements.and_then(|elements| elements.checked_mul(dtype.bits()));
    let shape: Option<Vec<usize>> = entry.shape.iter().map(|&size| usize::try_from(size).ok()).collect();
    match (bits, shape) {
        (Some(bits), Some(shape)) if bits % 8 == 0 && bits / 8 == end - begin => {
            Ok(TensorRange { dtype, shape, begin, end })
        }
        _ => Err(HeaderProblem::RangeLength {
            tensor: tensor(),
            dtype: entry.dtype,
            shape: entry.shape,
            found: end - begin,
        }),
    }
}

/// The tensors, in the order of their bytes, must follow each other from the first byte of data to the last.
fn check_cover(tensors: &HashMap<String, TensorRange>, data_bytes: u64) -> Result<(), HeaderProblem> {
    let mut order: Vec<(&String, &TensorRange)> = tensors.iter().collect();
    order.sort_by_key(|(name, range)| (range.begin, range.end, name.as_str()));
    let mut covered = 0;
    let mut previous = "";
    for (name, range) in order {
        if range.begin < covered {
            return Err(HeaderProblem::Overlap { first: previous.to_owned(), second: name.clone() });
        }
        if range.begin > covered {
            return Err(HeaderProblem::Hole { begin: covered, bytes: range.begin - covered });
        }
        (covered, previous) = (range.end, name);
    }
    if covered < data_bytes {
        return Err(HeaderProblem::Hole { begin: covered, bytes: data_bytes - covered });
    }
    Ok(())
}

#[derive(Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The header's map as a list, so that a name that appears twice is seen twice.
struct Entries(Vec<(String, RawTensor)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Entries, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from tensor names to dtype, shape and data_offsets")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        entries.push((name, map.next_value()?));
                    }
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}
