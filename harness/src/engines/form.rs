//! Models that other runtimes read: nothing is built, their files must be there.

use std::path::PathBuf;

use super::{Engine, EngineError, EngineErrorKind, Forecast, TensorrtEngine};
use crate::scenario::{ModelForm, Place};

/// The engine that `form` stands for. `None` for one that the built-in runtime has to build.
///
/// # Errors
/// When its files are not there, or cannot be understood.
pub fn engine_of(form: &ModelForm) -> Option<Result<Engine, EngineError>> {
    let at = |folder: PathBuf, vocab_size| Engine { folder, vocab_size, kept: None };
    match form {
        ModelForm::Builtin(_) => None,
        // Every vocabulary that is used has more ids than prompts are made of.
        ModelForm::Gguf(file) => Some(existing(file).map(|path| at(path, u32::MAX))),
        ModelForm::Served(_) => Some(Ok(at(PathBuf::new(), u32::MAX))),
        ModelForm::TensorrtEngine(place) => Some(tensorrt(place).map(|(folder, engine)| {
            let vocab_size = engine.vocab_size();
            at(folder, vocab_size)
        })),
    }
}

/// What a runtime of `form` will need, or why that cannot be said. `None` for the built-in one.
///
/// # Errors
/// When its files are not there, or cannot be understood.
pub fn forecast_of(form: &ModelForm) -> Option<Result<Result<Forecast, &'static str>, EngineError>> {
    match form {
        ModelForm::Builtin(_) => None,
        ModelForm::Gguf(_) => Some(Ok(Err("llama-server says what it has allocated, not what it will"))),
        ModelForm::Served(_) => Some(Ok(Err("a server that runs already is not asked"))),
        ModelForm::TensorrtEngine(place) => Some(
            tensorrt(place).map(|(_, engine)| {
                let left_out = Some(
                    "execution context, CUDA context and program: its log tells the first, once the engine is loaded",
                );
                Ok(Forecast { plan: engine.plan(), left_out, ..Forecast::default() })
            }),
        ),
    }
}

fn tensorrt(place: &Place) -> Result<(PathBuf, TensorrtEngine), EngineError> {
    let folder = existing(place)?;
    let engine = TensorrtEngine::open(&folder).map_err(missing)?;
    Ok((folder, engine))
}

fn existing(place: &Place) -> Result<PathBuf, EngineError> {
    place.existing().map_err(|error| missing(error.to_string()))
}

fn missing(what: String) -> EngineError {
    EngineError { what, hint: None, kind: EngineErrorKind::Environment }
}
