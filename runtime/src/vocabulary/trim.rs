//! A checkpoint, trimmed as a build asks for.

use std::collections::BTreeSet;

use super::{Vocab, VocabError, always_kept};
use crate::checkpoint::{CheckpointSource, SourceIdentity, TrimmedCheckpoint};
use crate::generate::compiled_tokenizer;

/// `source` with the vocabulary that `vocab` asks for: `source` itself where every row stays.
///
/// # Errors
/// When a file of ids, or the checkpoint's tokenizer, cannot be used.
pub fn trim(
    source: Box<dyn CheckpointSource>,
    vocab: &Vocab,
) -> Result<Box<dyn CheckpointSource>, VocabError> {
    if *vocab == Vocab::Full {
        return Ok(source);
    }
    let always = indispensable(source.as_ref())?;
    trim_keeping(source, vocab, &always)
}

/// The ids that every engine of `source` keeps, its tokenizer's among them.
///
/// # Errors
/// When the checkpoint's tokenizer cannot be used.
pub fn indispensable(source: &dyn CheckpointSource) -> Result<BTreeSet<u32>, VocabError> {
    let tokenizer = match source.identity() {
        SourceIdentity::Directory { path, .. } => compiled_tokenizer(&path)?,
        SourceIdentity::Synthetic { .. } => None,
    };
    Ok(always_kept(source.config(), tokenizer.as_ref()))
}

/// As [`trim`], for many vocabularies of one checkpoint: `always` is what [`indispensable`] says of it.
///
/// # Errors
/// When a file of ids cannot be used.
pub fn trim_keeping(
    source: Box<dyn CheckpointSource>,
    vocab: &Vocab,
    always: &BTreeSet<u32>,
) -> Result<Box<dyn CheckpointSource>, VocabError> {
    Ok(match vocab.kept(always, source.config().vocab_size)? {
        Some(ids) => Box::new(TrimmedCheckpoint::new(source, ids)),
        None => source,
    })
}
