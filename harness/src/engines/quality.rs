//! `quality.json`, beside an engine: what the values of a knob cost in quality, as `sweep explain` measured it.
//!
//! Whoever ranks by it must do without it, too: a file that is missing, cannot be read or is of a newer version, and records of
//! another engine or another version of the program, are as if nothing had been measured.

use std::io;
use std::path::Path;

use ledger::Tokens;
use runtime::engine_dir::EngineDir;
use serde::{Deserialize, Serialize};

use super::BuiltinEngines;
use crate::record::write_atomically;
use crate::scenario::{BuildOptions, LmHead, ModelSource};

/// The file's name in an engine directory.
pub const QUALITY: &str = "quality.json";

/// Version of the file. A reader passes over newer files.
const FORMAT_VERSION: u32 = 1;

/// One value of one knob, held against the exact path: f32 arithmetic, the head as the checkpoint stores it, the KV cache in f32, but
/// for the knob itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QualityRecord {
    /// The knob, as scenario files spell it: `lmHead` or `kvCacheType`.
    pub knob: String,
    /// Its value.
    pub value: String,
    /// `sha256` of the manifest of the engine that was measured.
    pub engine_sha256: String,
    /// `sha256` of the manifest of the engine that it was held against.
    pub reference_sha256: String,
    /// Version of the program that measured.
    pub program_version: String,
    /// Decides the ids that were fed.
    pub seed: u64,
    /// How many ids were fed; so many positions were compared.
    pub tokens: Tokens,
    /// Mean KL divergence over the positions, in nats.
    pub mean_kl_nats: f64,
    /// The largest of the positions, in nats.
    pub largest_kl_nats: f64,
    /// Part of the positions whose likeliest token is the same, 0 to 1.
    pub top1_agreement: f64,
    /// True where the weights were made from a seed: the numbers say nothing about a trained model then.
    pub synthetic_weights: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct QualityFile {
    format_version: u32,
    records: Vec<QualityRecord>,
}

impl QualityRecord {
    /// Keeps the record in the engine directory `folder`, in place of an older one of the same knob and value.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(self, folder: &Path) -> io::Result<()> {
        let mut records = read(folder);
        records.retain(|record| (&record.knob, &record.value) != (&self.knob, &self.value));
        records.push(self);
        records.sort_by(|a, b| (&a.knob, &a.value).cmp(&(&b.knob, &b.value)));
        write_atomically(&folder.join(QUALITY), &QualityFile { format_version: FORMAT_VERSION, records })
    }

    /// The records of the engine in `folder` that this version of the program measured.
    pub fn load(folder: &Path) -> Vec<QualityRecord> {
        let Ok(engine) = EngineDir::open(folder) else { return Vec::new() };
        let sha256 = &engine.manifest().sha256;
        let mut records = read(folder);
        records.retain(|record| record.is_of(sha256, env!("CARGO_PKG_VERSION")));
        records
    }

    fn is_of(&self, engine_sha256: &str, program_version: &str) -> bool {
        self.engine_sha256 == engine_sha256 && self.program_version == program_version
    }
}

impl BuiltinEngines {
    /// What `value` of `knob` costs for an engine of `source` under `build`, where it has been measured.
    pub fn quality(
        &self,
        source: &ModelSource,
        build: &BuildOptions,
        knob: &str,
        value: &str,
    ) -> Option<QualityRecord> {
        let with_head = |lm_head| self.directory(source, &BuildOptions { lm_head, ..build.clone() });
        let folders = match (knob, value.parse()) {
            ("lmHead", Ok(lm_head)) => vec![with_head(lm_head)],
            ("lmHead", Err(_)) => Vec::new(),
            // Measured on the very engine if somebody asked for that, else on the one that keeps the head as it is.
            _ => vec![self.directory(source, build), with_head(LmHead::F16)],
        };
        let records = folders.iter().flat_map(|folder| QualityRecord::load(folder));
        records.into_iter().find(|record| record.knob == knob && record.value == value)
    }
}

/// The records of a file; none where it cannot be understood.
fn read(folder: &Path) -> Vec<QualityRecord> {
    let bytes = std::fs::read(folder.join(QUALITY)).unwrap_or_default();
    match serde_json::from_slice::<QualityFile>(&bytes) {
        Ok(file) if file.format_version <= FORMAT_VERSION => file.records,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(knob: &str, value: &str, mean_kl_nats: f64) -> QualityRecord {
        QualityRecord {
            knob: knob.to_owned(),
            value: value.to_owned(),
            engine_sha256: "a".to_owned(),
            reference_sha256: "b".to_owned(),
            program_version: "1".to_owned(),
            seed: 1,
            tokens: Tokens(256),
            mean_kl_nats,
            largest_kl_nats: 2.0 * mean_kl_nats,
            top1_agreement: 0.5,
            synthetic_weights: false,
        }
    }

    #[test]
    fn a_record_replaces_the_older_one_of_its_knob_and_value() {
        let folder = tempfile::tempdir().unwrap();
        for (knob, value, mean) in
            [("lmHead", "int8", 1.0), ("kvCacheType", "int8", 2.0), ("lmHead", "int8", 0.1 + 0.2)]
        {
            record(knob, value, mean).save(folder.path()).unwrap();
        }
        let expected = [record("kvCacheType", "int8", 2.0), record("lmHead", "int8", 0.1 + 0.2)];
        assert_eq!(read(folder.path()), expected);
    }

    #[test]
    fn what_cannot_be_understood_is_as_if_it_were_not_there() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), []);
        for text in ["", "{", r#"{"format_version": 2, "records": []}"#, r#"{"records": 7}"#] {
            std::fs::write(folder.path().join(QUALITY), text).unwrap();
            assert_eq!(read(folder.path()), [], "{text}");
        }
        // Without an engine beside it there is nothing that the records could be of.
        record("lmHead", "int4", 1.0).save(folder.path()).unwrap();
        assert_eq!(read(folder.path()).len(), 1);
        assert_eq!(QualityRecord::load(folder.path()), []);
    }

    #[test]
    fn records_belong_to_an_engine_and_a_program() {
        let record = record("lmHead", "int4", 1.0);
        assert!(record.is_of("a", "1"));
        assert!(!record.is_of("b", "1") && !record.is_of("a", "2"));
    }
}
