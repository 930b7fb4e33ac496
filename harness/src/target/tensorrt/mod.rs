//! The server of TensorRT Edge-LLM, 0.7.1 to 0.9.1, on an engine that `llm_build` made.
//!
//! It opens its port when the engine is loaded. It takes one request at a time: a second one, or the first after a client that hung
//! up, ends it, so that streams are read to their end. It takes texts only, and its streams do not say how many tokens they have.

use std::io;
use std::process::Command;
use std::sync::Arc;

use super::llama_server::free_address;
use super::{
    Abilities, AccountSource, Address, Interface, Launch, ProcessAbility, SettingAnswer, Start, Target,
};
use crate::engines::{TensorrtEngine, TextCounter};
use crate::import::LogKind;
use crate::scenario::{Cell, ModelForm, TensorrtOptions};

/// What is run in its Python.
const LAUNCHER: &str = include_str!("launcher.py");

/// TensorRT Edge-LLM.
#[derive(Debug, Clone)]
pub struct TensorrtEdgeLlm {
    options: TensorrtOptions,
}

impl TensorrtEdgeLlm {
    /// The server that a scenario names.
    pub fn new(options: TensorrtOptions) -> TensorrtEdgeLlm {
        TensorrtEdgeLlm { options }
    }
}

impl Target for TensorrtEdgeLlm {
    fn name(&self) -> &str {
        "tensorrt-edge-llm"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            can_wait: false,
            account: AccountSource::Log(LogKind::TensorRt),
            can_hang_up: false,
            takes_ids: false,
            process: ProcessAbility::Started,
        }
    }

    fn setting(&self, name: &str, value: &str) -> SettingAnswer {
        match name {
            "mtp" | "maxVerifyTreeSize" => SettingAnswer::Applied,
            // Whether they are those of the engine is asked before it starts.
            "maxInputLen" | "maxKVCacheCapacity" | "maxBatchSize" => SettingAnswer::Applied,
            "vocab" | "weightStreamingBudget" => {
                SettingAnswer::only_default(name, value, "it is decided when its engine is built")
            }
            _ => SettingAnswer::Unanswered("it is decided when its engine is built"),
        }
    }

    fn refusal(&self, cell: &Cell) -> Option<String> {
        let ModelForm::TensorrtEngine(folder) = &cell.form else {
            return Some(format!("it reads TensorRT engines, not {}", cell.form.describe()));
        };
        let places = self.options.python.program().and_then(|_| self.options.source.existing());
        let places = places.and_then(|_| match &self.options.plugin {
            Some(plugin) => plugin.existing(),
            None => Ok(Default::default()),
        });
        match places.and_then(|_| folder.existing()) {
            Err(error) => Some(error.to_string()),
            Ok(folder) => match TensorrtEngine::open(&folder) {
                Err(why) => Some(why),
                Ok(engine) => engine.refuses(&cell.settings),
            },
        }
    }

    fn start(&self, launch: &Launch<'_>) -> io::Result<Start> {
        let address = free_address()?;
        let (host, port) = address.split_once(':').unwrap_or((&address, "0"));
        let mut command = Command::new(self.options.python.program().map_err(io::Error::other)?);
        command.args(["-u", "-c", LAUNCHER]).arg("--engine-dir").arg(launch.engine);
        command.args(["--host", host, "--port", port]);
        if launch.settings.mtp {
            let size = launch.settings.max_verify_tree_size;
            command.args(["--draft-step", &(size - 1).to_string(), "--verify-tree-size", &size.to_string()]);
        }
        command.env("PYTHONPATH", self.options.source.resolve().map_err(io::Error::other)?);
        // A prompt of chance words may be answered with the end at once; 0.9.1 can be told to go on.
        command.env("EDGELLM_IGNORE_EOS", "1");
        if let Some(plugin) = &self.options.plugin {
            let plugin = plugin.resolve().map_err(io::Error::other)?;
            command.env("EDGELLM_PLUGIN_PATH", std::path::absolute(plugin)?);
        }
        let counter = TextCounter::open(launch.engine).ok().map(Arc::new);
        Ok(Start::Process { command, address: Address::Known(address), interface: Interface::Chat(counter) })
    }
}
