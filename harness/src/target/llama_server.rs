//! llama.cpp's server. It loads as it starts, answers `/health` with 503 until it has, and names its buffers in its log.

use std::io;
use std::net::TcpListener;
use std::process::Command;

use super::{
    Abilities, AccountSource, Address, Interface, Launch, ProcessAbility, SettingAnswer, Start, Target,
};
use crate::import::LogKind;
use crate::scenario::{Cell, KvCacheType, LlamaServerOptions, ModelForm, Settings, Threads, WeightPlacement};

/// `llama-server`.
#[derive(Debug, Clone)]
pub struct LlamaServer {
    options: LlamaServerOptions,
}

impl LlamaServer {
    /// The server that a scenario names.
    pub fn new(options: LlamaServerOptions) -> LlamaServer {
        LlamaServer { options }
    }
}

impl Target for LlamaServer {
    fn name(&self) -> &str {
        "llama-server"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            can_wait: false,
            account: AccountSource::Log(LogKind::LlamaCpp),
            can_hang_up: true,
            takes_ids: true,
            process: ProcessAbility::Started,
        }
    }

    fn setting(&self, name: &str, value: &str) -> SettingAnswer {
        match name {
            "lmHead" | "linears" => SettingAnswer::Unanswered("its file says how weights are stored"),
            "vocab" => SettingAnswer::only_default(name, value, "its file says which rows there are"),
            "mtp" => SettingAnswer::only_default(name, value, "an MTP head of a gguf is not asked to draft"),
            "maxVerifyTreeSize" | "draftVocab" => SettingAnswer::Unanswered("nothing is drafted"),
            "weightStreamingBudget" => {
                SettingAnswer::only_default(name, value, "it has no weights that come and go")
            }
            _ => SettingAnswer::Applied,
        }
    }

    fn refusal(&self, cell: &Cell) -> Option<String> {
        let ModelForm::Gguf(file) = &cell.form else {
            return Some(format!("it reads gguf files, not {}", cell.form.describe()));
        };
        self.options.program.program().and_then(|_| file.existing()).err().map(|error| error.to_string())
    }

    fn start(&self, launch: &Launch<'_>) -> io::Result<Start> {
        let address = free_address()?;
        let (host, port) = address.split_once(':').unwrap_or((&address, "0"));
        let program = self.options.program.program().map_err(io::Error::other)?;
        let mut command = Command::new(program);
        command.arg("--model").arg(launch.engine).args(["--host", host, "--port", port]);
        command.args(["--alias", launch.model]);
        // At its usual verbosity it does not name its buffers.
        command.args(["--log-verbosity", "4"]);
        command.args(of_settings(launch.settings));
        command.args(&self.options.arguments);
        let interface = Interface::Completions;
        Ok(Start::Process { command, address: Address::Known(address), interface })
    }
}

/// The words for `settings`: its context is that of all its sequences together.
fn of_settings(settings: &Settings) -> Vec<String> {
    let sequences = settings.max_batch_size;
    let context = settings.max_kv_cache_capacity.0.saturating_mul(sequences);
    let chunk = settings.gdn_prefill_max_seq.0.to_string();
    let element = match settings.kv_cache_type {
        KvCacheType::F16 => "f16",
        KvCacheType::Int8 => "q8_0",
        KvCacheType::F32 => "f32",
    };
    let mut words: Vec<String> = [
        ("--ctx-size", context.to_string()),
        ("--parallel", sequences.to_string()),
        ("--batch-size", chunk.clone()),
        ("--ubatch-size", chunk),
        ("--cache-type-k", element.to_owned()),
        ("--cache-type-v", element.to_owned()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect();
    if let Threads::Count(count) = settings.threads {
        words.extend([
            "--threads".to_owned(),
            count.to_string(),
            "--threads-batch".to_owned(),
            count.to_string(),
        ]);
    }
    if settings.weights == WeightPlacement::Resident {
        words.push("--no-mmap".to_owned());
    }
    let device: &[&str] = match settings.device.to_string().as_str() {
        "cpu" => &["--device", "none"],
        "auto" => &[],
        name => {
            let number = name.strip_prefix("cuda").map_or("0", |rest| rest.trim_start_matches(':'));
            let number = if number.is_empty() { "0" } else { number };
            words.extend(["--device".to_owned(), format!("CUDA{number}")]);
            &["--n-gpu-layers", "999"]
        }
    };
    words.extend(device.iter().map(|word| (*word).to_owned()));
    words
}

/// An address of this machine that nobody listens at now.
pub(super) fn free_address() -> io::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SettingsDraft;

    #[test]
    fn settings_become_its_words() {
        let words = |set: &[(&str, &str)]| {
            let mut draft = SettingsDraft::default();
            for (name, value) in set {
                draft.set(name, value).expect("known").expect("valid");
            }
            of_settings(&draft.resolve(ledger::Tokens(64))).join(" ")
        };
        assert_eq!(
            words(&[]),
            "--ctx-size 4160 --parallel 1 --batch-size 256 --ubatch-size 256 --cache-type-k f16 --cache-type-v f16 \
             --device none"
        );
        let other = [("maxBatchSize", "2"), ("threads", "3"), ("weights", "resident"), ("device", "cuda:1")];
        assert_eq!(
            words(&other),
            "--ctx-size 8320 --parallel 2 --batch-size 256 --ubatch-size 256 --cache-type-k f16 --cache-type-v f16 \
             --threads 3 --threads-batch 3 --no-mmap --device CUDA1 --n-gpu-layers 999"
        );
        assert!(words(&[("kvCacheType", "int8")]).contains("--cache-type-k q8_0"));
        assert!(words(&[("device", "cuda")]).contains("--device CUDA0"));
    }
}
