//! Models: each has a form, and at most one for the built-in runtime.

use runtime::config::PUBLISHED;

use super::super::diagnostic::Diagnostic;
use super::super::file::ScenarioFile;
use super::super::model::ModelForm;
use super::super::{ModelSource, TargetKind};
use super::Mistakes;

/// Every model and the forms of it.
pub(super) fn models_of(file: &ScenarioFile, mistakes: &mut Mistakes) -> Vec<(String, Vec<ModelForm>)> {
    if file.models.0.is_empty() {
        mistakes.push(Diagnostic::new("there is no model to run", file.models.span.clone()));
    }
    let mut models = Vec::new();
    for (name, written) in &file.models.0 {
        let forms = written.forms();
        let is_named = |form: &ModelForm| match form {
            ModelForm::Builtin(
                ModelSource::Synthetic { architecture: text, .. }
                | ModelSource::Checkpoint(text)
                | ModelSource::Engine(text)
                | ModelSource::Locked(text),
            )
            | ModelForm::Served(text) => !text.trim().is_empty(),
            ModelForm::Gguf(place) | ModelForm::TensorrtEngine(place) => !place.text().trim().is_empty(),
        };
        if forms.is_empty() || !forms.iter().all(is_named) {
            mistakes.push(
                Diagnostic::new(format!("the model `{}` has no source", name.value), name.span.clone()).hint(
                    "add `synthetic`, `checkpoint`, `engine` or `locked`, or the form that its target reads",
                ),
            );
        }
        let own = TargetKind::Builtin.reads();
        let own: Vec<&str> = forms.iter().map(ModelForm::name).filter(|form| own.contains(form)).collect();
        if let [first, second, ..] = own.as_slice() {
            let message = format!("the model `{}` has both `{first}` and `{second}`", name.value);
            mistakes.push(Diagnostic::new(message, written.span.clone()).hint("keep one of them"));
        }
        if let Some(synthetic) = &written.synthetic
            && !synthetic.architecture.trim().is_empty()
            && !PUBLISHED.contains(&synthetic.architecture.value.as_str())
        {
            let architecture = &synthetic.architecture.value;
            mistakes.push(
                Diagnostic::new(
                    format!("the model `{}` asks for `{architecture}`, which is no architecture", name.value),
                    name.span.clone(),
                )
                .suggest(architecture, PUBLISHED.iter().copied()),
            );
        }
        models.push((name.value.clone(), forms));
    }
    models
}
