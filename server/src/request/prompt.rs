//! The prompt of a completion: text, or token ids.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::fields::Fields;
use super::{Served, limits};
use crate::error::ApiError;

/// What `prompt` can be. Ids are read straight into numbers, since a prompt can have thousands of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    Text(String),
    Ids(Vec<u32>),
}

impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Prompt, D::Error> {
        deserializer.deserialize_any(PromptVisitor)
    }
}

struct PromptVisitor;

impl<'de> Visitor<'de> for PromptVisitor {
    type Value = Prompt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a list of token ids, or a list of one text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Prompt, E> {
        Ok(Prompt::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Prompt, A::Error> {
        let mut ids = Vec::new();
        while let Some(item) = items.next_element()? {
            match item {
                Item::Id(id) => ids.push(id),
                Item::Text(text) if ids.is_empty() => {
                    return match items.next_element::<Item>()? {
                        None => Ok(Prompt::Text(text)),
                        Some(_) => Err(A::Error::custom("several prompts in one request are not supported")),
                    };
                }
                Item::Text(_) => return Err(A::Error::custom("texts and token ids in one list")),
            }
        }
        Ok(Prompt::Ids(ids))
    }
}

/// An element of a list of prompts.
enum Item {
    Id(u32),
    Text(String),
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Item, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl Visitor<'_> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token id or a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
        Ok(Item::Text(text.to_owned()))
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<Item, E> {
        u32::try_from(id).map(Item::Id).map_err(|_| E::custom(format!("{id} is not a token id")))
    }
}

/// The ids of the prompt.
pub(super) fn read(fields: &Fields<'_>, served: &Served) -> Result<Vec<u32>, ApiError> {
    match fields.require("prompt")? {
        Prompt::Text(text) => limits::encode("prompt", &text, served),
        Prompt::Ids(ids) => {
            if let Some((at, id)) = ids.iter().enumerate().find(|(_, id)| **id >= served.vocabulary_size) {
                let message = format!(
                    "token id {id} at position {at} is out of the vocabulary: ids are below {}",
                    served.vocabulary_size
                );
                return Err(ApiError::invalid("prompt", message));
            }
            Ok(ids)
        }
    }
}
