//! A checkpoint, trimmed as a build asks for.

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
    let tokenizer = match source.identity() {
        SourceIdentity::Directory { path, .. } => compiled_tokenizer(&path)?,
        SourceIdentity::Synthetic { .. } => None,
    };
    let always = always_kept(source.config(), tokenizer.as_ref());
    Ok(match vocab.kept(&always, source.config().vocab_size)? {
        Some(ids) => Box::new(TrimmedCheckpoint::new(source, ids)),
        None => source,
    })
}
