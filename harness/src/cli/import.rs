//! `sweep import`.

use std::path::PathBuf;
use std::str::FromStr;

use ledger::{BufferClass, Bytes, MemoryKind, Reading, Role};

use super::arguments::ImportArguments;
use super::print::table;
use super::{CliError, Printer, judge};
use crate::import::{Account, Evidence, GIVEN, Part, Place, keep, read_log};
use crate::number::{mib, signed_mib};
use crate::verdict::ExitCode;

/// A part whose size is known from elsewhere, `CLASS=SIZE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GivenPart {
    class: BufferClass,
    bytes: Bytes,
}

impl FromStr for GivenPart {
    type Err = String;

    fn from_str(text: &str) -> Result<GivenPart, String> {
        let (class, size) = text.split_once('=').ok_or("a part is CLASS=SIZE, for example kv_cache=64MiB")?;
        let class = BufferClass::ALL
            .iter()
            .find(|known| known.name() == class && **known != BufferClass::Unaccounted);
        let class = *class.ok_or_else(|| {
            let names: Vec<&str> = BufferClass::ALL.iter().map(|class| class.name()).collect();
            format!("there is no such class; there are {}", names.join(", "))
        })?;
        let bytes: Bytes = size.parse().map_err(|error: ledger::units::ParseBytesError| error.to_string())?;
        Ok(GivenPart { class, bytes })
    }
}

/// Reads logs and prints the account.
pub(super) fn import(arguments: &ImportArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let mut logs = Vec::new();
    for path in &arguments.logs {
        let (kinds, evidence) = read_log(path)?;
        logs.push((path.clone(), kinds, evidence));
    }
    if !arguments.parts.is_empty() {
        logs.push((PathBuf::from(GIVEN), Vec::new(), given(&arguments.parts)));
    }
    let account = Account::of(logs);
    let mut text = text(&account);
    if arguments.run {
        let written = |source| CliError::Environment { what: "write the run folder", source };
        let folder = keep(&account, command(arguments), &arguments.output).map_err(written)?;
        let html = judge::write_outputs(folder.path())?.html;
        text.push_str(&format!("\nreport: {}\n", html.display()));
    }
    if arguments.json {
        printer.json(&account)?;
    } else {
        printer.text(&text)?;
    }
    Ok(ExitCode::Pass)
}

/// The command that reads these logs.
fn command(arguments: &ImportArguments) -> String {
    let logs = arguments.logs.iter().map(|log| format!(" {}", log.display()));
    let parts = arguments.parts.iter().map(|part| match part.bytes {
        Bytes(bytes) if bytes % (1 << 20) == 0 => format!(" --part {}={}MiB", part.class, bytes >> 20),
        Bytes(bytes) => format!(" --part {}={bytes}B", part.class),
    });
    format!("sweep import{}{}", logs.collect::<String>(), parts.collect::<String>())
}

fn given(parts: &[GivenPart]) -> Evidence {
    let part = |(at, part): (usize, &GivenPart)| Part {
        class: part.class,
        role: Role::Target,
        what: "given".to_owned(),
        memory: MemoryKind::Host,
        mapped: false,
        bytes: part.bytes,
        place: Place { file: PathBuf::from(GIVEN), line: at + 1 },
    };
    Evidence { parts: parts.iter().enumerate().map(part).collect(), ..Evidence::default() }
}

fn text(account: &Account) -> String {
    let mut rows = vec![row("", "MiB", "of used", "where")];
    let share = |bytes: i64| match &account.used {
        Reading::Measured(used) if used.used_bytes.0 > 0 => {
            format!("{:.1} %", 100.0 * bytes as f64 / used.used_bytes.0 as f64)
        }
        _ => "n/a".to_owned(),
    };
    if let Reading::Measured(used) = &account.used {
        let name = "used by the whole machine";
        rows.push(row(name, &mib(used.used_bytes), "100.0 %", &used.place.to_string()));
    }
    for part in &account.parts {
        let draft = if part.role == Role::Draft { " (draft)" } else { "" };
        let name = format!("  {}{draft}: {}", part.class, part.what);
        let share = if part.mapped { "mapped".to_owned() } else { share(part.bytes.0 as i64) };
        rows.push(row(&name, &mib(part.bytes), &share, &part.place.to_string()));
    }
    if let Reading::Measured(unexplained) = &account.unexplained_bytes {
        rows.push(row("  unexplained", &signed_mib(*unexplained), &share(*unexplained), ""));
    }
    let mut text = table(&rows);
    text.push('\n');
    account.notes().iter().for_each(|note| text.push_str(&format!("{note}\n")));
    text
}

fn row(name: &str, size: &str, share: &str, place: &str) -> Vec<String> {
    [name, size, share, place].map(str::to_owned).to_vec()
}
