//! What runs beside the target: one program each, with a name, a reason and a rule for when it is ready.

use std::time::Duration;

use ledger::Bytes;

use super::{Mistakes, check_name, check_why};
use crate::scenario::co_resident::{CoResident, CoResidentProgram, HOLDS, Ready, StandIn};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::file::{CoResidentFile, ReadyFile, ScenarioFile, StandInFile};
use crate::scenario::located::Located;

/// More than any board has room for.
const MOST: usize = 16;

/// How long a co-resident may take to get ready where the scenario does not say.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reading less than this again and again is done by caches, and takes nothing of the memory's bandwidth.
const LEAST_READ: Bytes = Bytes::mib(256);

/// The meaning of `co_residents`.
pub(super) fn co_residents_of(file: &ScenarioFile, mistakes: &mut Mistakes) -> Vec<CoResident> {
    let mut checked: Vec<CoResident> = Vec::new();
    for written in &file.co_residents {
        check_name(&written.name, "a co-resident's name becomes part of file names", mistakes);
        check_why(&written.why, "a co-resident", &written.name.span, mistakes);
        if checked.iter().any(|earlier| earlier.name == written.name.value) {
            let message = format!("the co-resident `{}` stands here for the second time", written.name.value);
            mistakes.push(Diagnostic::new(message, written.name.span.clone()));
        }
        let Some((program, ready)) = program_of(written, mistakes) else { continue };
        checked.push(CoResident {
            name: written.name.value.clone(),
            program,
            ready,
            timeout: written.timeout.map_or(PATIENCE, |timeout| timeout.0),
            why: written.why.clone(),
        });
    }
    if let Some(beyond) = file.co_residents.get(MOST) {
        let message = format!("a scenario can have {MOST} co-residents");
        mistakes.push(Diagnostic::new(message, beyond.name.span.clone()));
    }
    checked
}

fn program_of(
    written: &Located<CoResidentFile>,
    mistakes: &mut Mistakes,
) -> Option<(CoResidentProgram, Ready)> {
    let name = &written.name;
    let mut mistake = |message: String, span: &std::ops::Range<usize>, hint: &str| {
        mistakes.push(Diagnostic::new(message, span.clone()).hint(hint));
        None
    };
    match (&written.command, &written.stand_in) {
        (Some(command), None) if command.first().is_none_or(|program| program.trim().is_empty()) => mistake(
            format!("`{}` has no program", name.value),
            &command.span,
            "write it as a list: the program, and then its arguments",
        ),
        (Some(command), None) => match &written.ready {
            Some(ready) => match &ready.value {
                ReadyFile::Says(text) if text.is_empty() => {
                    mistake("it says this at once".to_owned(), &ready.span, "give the words that it writes")
                }
                ReadyFile::Says(text) => {
                    Some((CoResidentProgram::Command(command.value.clone()), Ready::Says(text.clone())))
                }
                ReadyFile::After(time) => {
                    Some((CoResidentProgram::Command(command.value.clone()), Ready::After(time.0)))
                }
            },
            None => mistake(
                format!("nothing says when `{}` is ready", name.value),
                &name.span,
                "add `ready: {says: WORDS}`, which it writes then, or `ready: {after: 2 s}`",
            ),
        },
        (None, Some(written_stand_in)) => {
            let stand_in = stand_in_of(written_stand_in.value);
            match &written.ready {
                Some(ready) => mistake(
                    "a stand-in knows itself when it is ready".to_owned(),
                    &ready.span,
                    "leave `ready` out",
                ),
                None if stand_in.host + stand_in.device == Bytes::ZERO => mistake(
                    "a stand-in holds something".to_owned(),
                    &written_stand_in.span,
                    "for example `standIn: {host: 512 MiB}`",
                ),
                None if stand_in.reads > Bytes::ZERO && stand_in.host < LEAST_READ => mistake(
                    format!("reading less than {LEAST_READ} again and again is done by caches"),
                    &written_stand_in.span,
                    "let it hold more of `host`, or leave `reads` out",
                ),
                None => Some((CoResidentProgram::StandIn(stand_in), Ready::Says(HOLDS.to_owned()))),
            }
        }
        (None, None) | (Some(_), Some(_)) => mistake(
            format!("`{}` needs one program", name.value),
            &name.span,
            "give it `command` or `standIn`, and not both",
        ),
    }
}

fn stand_in_of(file: StandInFile) -> StandIn {
    let size = |written: Option<crate::scenario::units::Size>| written.map_or(Bytes::ZERO, |size| size.0);
    StandIn {
        host: size(file.host),
        device: size(file.device),
        reads: file.reads.map_or(Bytes::ZERO, |rate| rate.0),
    }
}
