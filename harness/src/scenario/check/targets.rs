//! The runtimes of a scenario: one without a name, or several with names.

use super::super::TargetKind;
use super::super::diagnostic::Diagnostic;
use super::super::file::ScenarioFile;
use super::super::located::Located;
use super::{Mistakes, check_name};

/// Words of `llama-server`'s command line that follow from settings, and the setting or what else decides them.
const LLAMA_SERVER_FLAGS: [(&[&str], &str); 10] = [
    (&["-m", "--model"], "the model's `gguf`"),
    (&["--host", "--port"], "the harness"),
    (&["-a", "--alias"], "the model's name"),
    (&["-c", "--ctx-size"], "`maxKVCacheCapacity`"),
    (&["-ub", "--ubatch-size", "-b", "--batch-size"], "`gdnPrefillMaxSeq`"),
    (&["-t", "--threads", "-tb", "--threads-batch"], "`threads`"),
    (&["-ctk", "--cache-type-k", "-ctv", "--cache-type-v"], "`kvCacheType`"),
    (&["-np", "--parallel"], "`maxBatchSize`"),
    (&["-dev", "--device"], "`device`"),
    (&["-lv", "--verbosity", "--log-verbosity"], "the harness, which reads its log"),
];

/// Every runtime by its name.
pub(super) fn targets_of(file: &ScenarioFile, mistakes: &mut Mistakes) -> Vec<(String, TargetKind)> {
    let targets: Vec<(String, &Located<TargetKind>)> = match (&file.target, &file.targets) {
        (Some(target), None) => vec![(target.name().to_owned(), target)],
        (None, Some(targets)) => {
            if targets.0.is_empty() {
                mistakes.push(Diagnostic::new("there is no target to measure", targets.span.clone()));
            }
            for (name, _) in &targets.0 {
                check_name(name, "a target's name is typed in axes and budgets", mistakes);
            }
            targets.0.iter().map(|(name, target)| (name.value.clone(), target)).collect()
        }
        (Some(target), Some(_)) => {
            mistakes.push(
                Diagnostic::new("`target` and `targets` cannot stand together", target.span.clone())
                    .hint("name this one in `targets`, too"),
            );
            Vec::new()
        }
        (None, None) => {
            mistakes.push(
                Diagnostic::new("the field `target` is missing", file.name.span.clone())
                    .hint("add `target: builtin`, or several in `targets`"),
            );
            Vec::new()
        }
    };
    for (_, target) in &targets {
        match &target.value {
            TargetKind::LlamaServer(options) => check_arguments(&options.arguments, target, mistakes),
            TargetKind::Openai(options) => {
                let is_http = ["http://", "https://"].iter().any(|scheme| options.url.starts_with(scheme));
                if !is_http {
                    mistakes.push(
                        Diagnostic::new(format!("`{}` is no address", options.url), target.span.clone())
                            .hint("for example `http://127.0.0.1:8000`"),
                    );
                }
            }
            TargetKind::Builtin | TargetKind::TensorrtEdgeLlm(_) => {}
        }
    }
    targets.into_iter().map(|(name, target)| (name, target.value.clone())).collect()
}

/// What a setting decides must not be said a second time.
fn check_arguments(arguments: &[String], target: &Located<TargetKind>, mistakes: &mut Mistakes) {
    for argument in arguments {
        let flag = argument.split('=').next().unwrap_or_default();
        let decided = LLAMA_SERVER_FLAGS.iter().find(|(flags, _)| flags.contains(&flag));
        if let Some((_, by)) = decided {
            let message = format!("the argument `{argument}` is decided by {by}");
            mistakes.push(Diagnostic::new(message, target.span.clone()).hint("leave it out"));
        }
    }
}
