//! A checkpoint's `tokenizer.json` and `tokenizer_config.json`, as far as they matter here.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

/// Text that is borrowed from the file wherever it has no escapes, which keeps a build small.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// The first look at `tokenizer.json`: which model it is for.
#[derive(Deserialize)]
pub(super) struct ModelKind {
    pub(super) model: ModelType,
}

#[derive(Deserialize)]
pub(super) struct ModelType {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
}

/// `tokenizer.json`.
#[derive(Deserialize)]
pub(super) struct TokenizerFile<'a> {
    #[serde(default)]
    pub(super) added_tokens: Vec<AddedToken>,
    pub(super) normalizer: Option<serde_json::Value>,
    pub(super) pre_tokenizer: Option<serde_json::Value>,
    pub(super) post_processor: Option<serde_json::Value>,
    pub(super) decoder: Option<serde_json::Value>,
    #[serde(borrow)]
    pub(super) model: Model<'a>,
}

/// An added token, as `tokenizer.json` and `tokenizer_config.json` both write it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct AddedToken {
    /// Absent in `tokenizer_config.json`, where the id is the key.
    #[serde(default)]
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    #[serde(default)]
    pub(super) normalized: bool,
    #[serde(default)]
    pub(super) special: bool,
}

/// The BPE model.
#[derive(Deserialize)]
pub(super) struct Model<'a> {
    pub(super) dropout: Option<f64>,
    pub(super) continuing_subword_prefix: Option<String>,
    pub(super) end_of_word_suffix: Option<String>,
    #[serde(default)]
    pub(super) byte_fallback: bool,
    #[serde(default)]
    pub(super) ignore_merges: bool,
    #[serde(borrow)]
    pub(super) vocab: HashMap<Text<'a>, u32>,
    #[serde(borrow)]
    pub(super) merges: Vec<MergePair<'a>>,
}

/// One merge, written `"left right"` in older files and `["left", "right"]` in newer ones.
pub(super) struct MergePair<'a> {
    pub(super) left: Cow<'a, str>,
    pub(super) right: Cow<'a, str>,
}

impl<'de: 'a, 'a> Deserialize<'de> for MergePair<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MergePairVisitor)
    }
}

struct MergePairVisitor;

impl<'de> Visitor<'de> for MergePairVisitor {
    type Value = MergePair<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a merge, \"left right\" or [\"left\", \"right\"]")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        let (left, right) = two_parts(text)?;
        Ok(MergePair { left: left.into(), right: right.into() })
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let (left, right) = two_parts(text)?;
        Ok(MergePair { left: left.to_owned().into(), right: right.to_owned().into() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let part = |part: Option<Text<'de>>| part.ok_or_else(|| A::Error::custom("a merge has two parts"));
        let (left, right) = (part(parts.next_element()?)?, part(parts.next_element()?)?);
        match parts.next_element::<Text<'de>>()? {
            None => Ok(MergePair { left: left.0, right: right.0 }),
            Some(_) => Err(A::Error::custom("a merge has two parts")),
        }
    }
}

fn two_parts<E: serde::de::Error>(text: &str) -> Result<(&str, &str), E> {
    text.split_once(' ').ok_or_else(|| E::custom("a merge has two parts with a space between them"))
}

/// `tokenizer_config.json`.
#[derive(Default, Deserialize)]
pub(super) struct TokenizerConfig {
    #[serde(default)]
    pub(super) added_tokens_decoder: BTreeMap<u32, AddedToken>,
    pub(super) add_bos_token: Option<bool>,
    pub(super) add_eos_token: Option<bool>,
    pub(super) add_prefix_space: Option<bool>,
    pub(super) split_special_tokens: Option<bool>,
}
