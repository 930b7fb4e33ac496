//! The command line that serves a configuration.

use std::collections::BTreeMap;

use runtime::plan::DeviceChoice;

use crate::engines::CACHE;
use crate::fit::Configuration;
use crate::scenario::{BuildOptions, ModelSource, SettingsDraft};

/// A line for a shell: the model, and every option that is not at its default.
pub(super) fn serve(source: &ModelSource, configuration: &Configuration) -> String {
    let mut words = vec!["sweep serve".to_owned()];
    match source {
        ModelSource::Synthetic { architecture, seed } => {
            words.push(format!("--synthetic {}", quoted(architecture)));
            if *seed != 1 {
                words.push(format!("--seed {seed}"));
            }
        }
        ModelSource::Checkpoint(path) => words.push(format!("--checkpoint {}", quoted(path))),
        ModelSource::Locked(name) => words.push(format!("--engine {}", quoted(&format!("{CACHE}/{name}")))),
        ModelSource::Engine(path) => words.push(format!("--engine {}", quoted(path))),
    }
    let mut usual: BTreeMap<String, String> = BuildOptions::default().to_map();
    usual.extend(SettingsDraft::default().resolve(crate::fit::search::OUTPUT_ROOM).to_map());
    // By itself the server makes more room for output than was planned for.
    usual.remove("maxKVCacheCapacity");
    // And it takes a GPU where there is one.
    usual.insert("device".to_owned(), DeviceChoice::Auto.to_string());
    if !configuration.settings.mtp {
        usual.retain(|name, _| name != "maxVerifyTreeSize" && name != "draftVocab");
    }
    let mut chosen = configuration.build.to_map();
    chosen.extend(configuration.settings.to_map());
    for (name, value) in chosen {
        let idle = !configuration.settings.mtp && matches!(name.as_str(), "maxVerifyTreeSize" | "draftVocab");
        if !idle && usual.get(&name) != Some(&value) {
            words.push(format!("{} {}", flag(&name), quoted(&value)));
        }
    }
    words.join(" ")
}

/// The flag of a knob: `maxKVCacheCapacity` is `--max-kv-cache-capacity`.
fn flag(knob: &str) -> String {
    let letters: Vec<char> = knob.chars().collect();
    let mut flag = "--".to_owned();
    for (at, letter) in letters.iter().enumerate() {
        let begins_word = at > 0
            && letter.is_ascii_uppercase()
            && (letters[at - 1].is_ascii_lowercase()
                || letters.get(at + 1).is_some_and(char::is_ascii_lowercase));
        if begins_word {
            flag.push('-');
        }
        flag.push(letter.to_ascii_lowercase());
    }
    flag
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::super::arguments::Arguments;
    use super::*;

    #[test]
    fn every_knob_has_its_flag() {
        let command = Arguments::command();
        let serve = command.find_subcommand("serve").expect("a verb");
        for knob in SettingsDraft::NAMES.iter().chain(&BuildOptions::NAMES) {
            let flag = flag(knob);
            assert!(serve.get_arguments().any(|it| it.get_long() == flag.strip_prefix("--")), "{flag}");
        }
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("engines/a-1"), "engines/a-1");
        assert_eq!(quoted("my model's"), r"'my model'\''s'");
    }
}
