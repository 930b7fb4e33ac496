//! The runtimes that a scenario can measure, as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::place::Place;

/// The runtime that is measured.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// This program's own runtime, started as `sweep serve`. It reads `synthetic`, `checkpoint` and `engine` models.
    Builtin,
    /// The server of llama.cpp. It reads `gguf` models.
    LlamaServer(LlamaServerOptions),
    /// A server that runs already: nothing is started, and nothing is ended. It reads `served` models.
    Openai(OpenaiOptions),
    /// The server of TensorRT Edge-LLM, 0.7.1 to 0.9.1. It reads `tensorrtEngine` models.
    TensorrtEdgeLlm(TensorrtOptions),
}

/// How `llama-server` is started.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LlamaServerOptions {
    /// The program; `${NAME}` stands for an environment variable.
    pub program: Place,
    /// Words for its command line, beside those that follow from the settings.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// Where a server is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenaiOptions {
    /// Where it answers, up to `/v1`, for example `http://127.0.0.1:8000`.
    pub url: String,
    /// Its process on this machine. Left out: memory of the process is not measured.
    pub pid: Option<u32>,
    /// How prompts are sent. Default: ids.
    #[serde(default)]
    pub prompts: PromptForm,
}

/// How prompts are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PromptForm {
    /// As token ids, to `/v1/completions`: a prompt has exactly the tokens that are asked for.
    #[default]
    Ids,
    /// As a text, to `/v1/chat/completions`: a word for each token.
    Text,
}

/// How the server of TensorRT Edge-LLM is started.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TensorrtOptions {
    /// The Python that has its modules; `${NAME}` stands for an environment variable.
    pub python: Place,
    /// The folder of its sources, which holds `experimental`.
    pub source: Place,
    /// `libNvInfer_edgellm_plugin.so`. Left out: it looks for the library itself.
    pub plugin: Option<Place>,
}

impl TargetKind {
    /// The word in scenario files.
    pub const fn name(&self) -> &'static str {
        match self {
            TargetKind::Builtin => "builtin",
            TargetKind::LlamaServer(_) => "llama-server",
            TargetKind::Openai(_) => "openai",
            TargetKind::TensorrtEdgeLlm(_) => "tensorrt-edge-llm",
        }
    }

    /// The forms of a model that it reads, by their words in scenario files; the first is what to add where there is none.
    pub const fn reads(&self) -> &'static [&'static str] {
        match self {
            TargetKind::Builtin => &["synthetic", "checkpoint", "engine", "locked"],
            TargetKind::LlamaServer(_) => &["gguf"],
            TargetKind::Openai(_) => &["served"],
            TargetKind::TensorrtEdgeLlm(_) => &["tensorrtEngine"],
        }
    }

    /// What tells one program from another one in its place: lengths and moments of change of its files.
    pub fn contents(&self) -> String {
        match self {
            TargetKind::Builtin | TargetKind::Openai(_) => String::new(),
            TargetKind::LlamaServer(options) => options.program.contents(),
            TargetKind::TensorrtEdgeLlm(options) => options.python.contents(),
        }
    }
}
