//! A server that runs already, wherever it is: nothing is started, and nothing is ended.

use std::io;

use super::{Abilities, AccountSource, Interface, Launch, ProcessAbility, SettingAnswer, Start, Target};
use crate::scenario::{Cell, OpenaiOptions, PromptForm};

/// A server at a URL.
#[derive(Debug, Clone)]
pub struct Openai {
    options: OpenaiOptions,
}

impl Openai {
    /// The server that a scenario names.
    pub fn new(options: OpenaiOptions) -> Openai {
        Openai { options }
    }
}

impl Target for Openai {
    fn name(&self) -> &str {
        "openai"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            can_wait: false,
            account: AccountSource::Nowhere,
            can_hang_up: true,
            takes_ids: self.options.prompts == PromptForm::Ids,
            process: match self.options.pid {
                Some(_) => ProcessAbility::Known,
                None => ProcessAbility::Unknown,
            },
        }
    }

    fn setting(&self, name: &str, _: &str) -> SettingAnswer {
        match name {
            // No prompt is longer, whatever the server would take.
            "maxInputLen" => SettingAnswer::Applied,
            _ => SettingAnswer::Unanswered("whoever started it has set it"),
        }
    }

    fn refusal(&self, _: &Cell) -> Option<String> {
        let pid = self.options.pid?;
        let is_there = std::path::Path::new("/proc").join(pid.to_string()).exists();
        (!is_there).then(|| format!("no process of this machine has the number {pid}"))
    }

    fn start(&self, _: &Launch<'_>) -> io::Result<Start> {
        let url = self.options.url.trim_end_matches('/').trim_end_matches("/v1").to_owned();
        let interface = match self.options.prompts {
            PromptForm::Ids => Interface::Completions,
            PromptForm::Text => Interface::Chat(None),
        };
        Ok(Start::Attach { url, pid: self.options.pid, interface })
    }
}
