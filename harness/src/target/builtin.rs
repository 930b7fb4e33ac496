//! This program's own runtime, started like any other.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::{Abilities, AccountSource, Address, Interface, Launch, ProcessAbility, ScoreJob, Start, Target};
use crate::scenario::{Cell, Settings};

/// `sweep serve`.
#[derive(Debug, Clone)]
pub struct Builtin {
    program: PathBuf,
}

impl Builtin {
    /// The runtime in this very program file.
    pub fn new() -> io::Result<Builtin> {
        Ok(Builtin { program: std::env::current_exe()? })
    }

    /// The runtime in another program file of this kind.
    pub fn of(program: PathBuf) -> Builtin {
        Builtin { program }
    }
}

impl Target for Builtin {
    fn name(&self) -> &str {
        "builtin"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            can_wait: true,
            account: AccountSource::Interface,
            can_hang_up: true,
            takes_ids: true,
            process: ProcessAbility::Started,
        }
    }

    fn refusal(&self, cell: &Cell) -> Option<String> {
        runtime::backend::resolve(cell.settings.device).err().map(|refusal| refusal.to_string())
    }

    fn score(&self, job: &ScoreJob<'_>) -> Option<Command> {
        let mut command = Command::new(&self.program);
        command.arg("score").arg("--engine").arg(job.engine).arg("--reference").arg(job.reference);
        command.arg("--text").arg(&job.quality.text);
        command.arg("--tokens").arg(job.quality.tokens.0.to_string());
        command.arg("--continuations").arg(job.quality.continuations.to_string());
        add_settings(&mut command, job.settings);
        command.arg("--json");
        Some(command)
    }

    fn start(&self, launch: &Launch<'_>) -> io::Result<Start> {
        let command = self.command(launch);
        Ok(Start::Process { command, address: Address::PortFile, interface: Interface::Completions })
    }
}

impl Builtin {
    fn command(&self, launch: &Launch<'_>) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--engine").arg(launch.engine);
        command.args(["--port", "0"]).arg("--port-file").arg(launch.port_file);
        command.args(["--model-id", launch.model]);
        add_settings(&mut command, launch.settings);
        if launch.waits_for_go {
            command.arg("--load-on-stdin");
        }
        command
    }
}

/// Every setting, as the command line spells it.
fn add_settings(command: &mut Command, settings: &Settings) {
    let settings = settings.to_map();
    for (flag, setting) in [
        ("--device", "device"),
        ("--max-input-len", "maxInputLen"),
        ("--max-kv-cache-capacity", "maxKVCacheCapacity"),
        ("--gdn-prefill-max-seq", "gdnPrefillMaxSeq"),
        ("--threads", "threads"),
        ("--kv-cache-type", "kvCacheType"),
        ("--weights", "weights"),
        ("--mtp", "mtp"),
        ("--max-verify-tree-size", "maxVerifyTreeSize"),
        ("--draft-vocab", "draftVocab"),
        ("--weight-streaming-budget", "weightStreamingBudget"),
        ("--max-batch-size", "maxBatchSize"),
        ("--precision", "precision"),
    ] {
        command.arg(flag).arg(&settings[setting]);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::SettingsDraft;

    #[test]
    fn every_setting_reaches_the_command_line() {
        let settings = SettingsDraft::default().resolve(ledger::Tokens(32));
        let launch = Launch {
            engine: Path::new("engines/a"),
            settings: &settings,
            model: "a",
            port_file: Path::new("port"),
            waits_for_go: true,
        };
        let command = Builtin { program: PathBuf::from("sweep") }.command(&launch);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        assert_eq!(
            words.join(" "),
            "serve --engine engines/a --port 0 --port-file port --model-id a --device cpu --max-input-len 4096 \
             --max-kv-cache-capacity 4160 --gdn-prefill-max-seq 256 --threads auto --kv-cache-type f16 \
             --weights mapped --mtp false --max-verify-tree-size 4 --draft-vocab 32k \
             --weight-streaming-budget unset --max-batch-size 1 --precision fast --load-on-stdin"
        );
        assert_eq!(settings.to_map().len(), 13, "a new setting needs its flag");
    }
}
