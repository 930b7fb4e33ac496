//! An engine directory with the weights of a case, for each backend's own loader.

use std::path::Path;

use ledger::{BufferClass, Bytes, Role};

use super::matrix::Matrix;
use crate::config::ModelConfig;
use crate::engine_dir::{
    BuildOptions, EngineDir, FORMAT_VERSION, MANIFEST, Manifest, PART_ALIGNMENT, PartRecord, SegmentRecord,
    SourceRecord, TensorRecord, WEIGHTS,
};
use crate::memory::PAGE;

/// The name of the weight at `index`.
pub(super) fn name(index: usize) -> String {
    format!("weight {index}")
}

/// Writes `matrices` into `folder` as an engine of one segment.
pub(super) fn write(folder: &Path, matrices: &[Matrix]) -> EngineDir {
    let mut bytes = Vec::new();
    let mut tensors = Vec::new();
    for (index, matrix) in matrices.iter().enumerate() {
        let start = bytes.len();
        let mut parts = Vec::new();
        for (kind, part) in &matrix.parts {
            parts.push(PartRecord { kind: *kind, offset: bytes.len() as u64, bytes: part.len() as u64 });
            bytes.extend_from_slice(part);
            bytes.resize(bytes.len().next_multiple_of(PART_ALIGNMENT as usize), 0xa5);
        }
        tensors.push(TensorRecord {
            name: name(index),
            class: BufferClass::WeightsLinear,
            format: matrix.format,
            rows: matrix.rows,
            columns: matrix.columns,
            parts,
            bytes: Bytes((bytes.len() - start) as u64),
        });
    }
    let held = bytes.len();
    bytes.resize(held.next_multiple_of(PAGE as usize), 0xa5);
    let length = Bytes(bytes.len() as u64);
    let segment = SegmentRecord {
        name: "layers.0".to_owned(),
        layer: Some(0),
        role: Role::Target,
        offset: 0,
        bytes: length,
        alignment: Bytes((bytes.len() - held) as u64),
        tensors,
        sha256: String::new(),
    };
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        config: ModelConfig::published("Qwen3.5-0.8B").unwrap(),
        source: SourceRecord::Synthetic { recipe: "conformance".to_owned() },
        options: BuildOptions::default(),
        vocabulary: None,
        segments: vec![segment],
        weights_bytes: length,
        sha256: String::new(),
    };
    std::fs::write(folder.join(WEIGHTS), bytes).unwrap();
    std::fs::write(folder.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
    EngineDir::open(folder).unwrap()
}
