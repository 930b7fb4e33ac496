//! What logs of other programs say: the account of a run that was imported.

use ledger::{BufferClass, Bytes, Reading, Role};
use serde::Serialize;

use crate::import::{Account, Part};
use crate::number::{grouped, mib, signed_mib};
use crate::report::svg::palette::Kind;
use crate::report::svg::waterfall::{Fall, Step, waterfall};

/// Everything that the template shows of an account.
#[derive(Debug, Clone, Serialize)]
pub(super) struct AccountPage {
    svg: String,
    rows: Vec<PartRow>,
    notes: Vec<String>,
    /// Each log, and of what it has lines.
    logs: Vec<(String, String)>,
}

#[derive(Debug, Clone, Serialize)]
struct PartRow {
    swatch: String,
    name: String,
    what: String,
    mib: String,
    share: String,
    place: String,
    strong: bool,
}

impl AccountPage {
    pub(super) fn of(account: &Account) -> AccountPage {
        let used = account.used.measured().map(|used| used.used_bytes);
        let share = |bytes: i64| match used {
            Some(used) if used > Bytes::ZERO => {
                format!("{} %", grouped(100.0 * bytes as f64 / used.0 as f64, 1))
            }
            _ => "n/a".to_owned(),
        };
        let mut rows: Vec<PartRow> = account
            .parts
            .iter()
            .map(|part| PartRow {
                swatch: Kind::Class(part.class).swatch(),
                name: name(part),
                what: part.what.clone(),
                mib: mib(part.bytes),
                share: if part.mapped { "mapped".to_owned() } else { share(part.bytes.0 as i64) },
                place: part.place.to_string(),
                strong: false,
            })
            .collect();
        if let Reading::Measured(unexplained) = account.unexplained_bytes {
            rows.push(PartRow {
                swatch: Kind::Class(BufferClass::Unaccounted).swatch(),
                name: UNEXPLAINED.to_owned(),
                what: "in no log".to_owned(),
                mib: signed_mib(unexplained),
                share: share(unexplained),
                place: String::new(),
                strong: true,
            });
        }
        if let Reading::Measured(used) = &account.used {
            rows.push(PartRow {
                swatch: String::new(),
                name: "used by the whole machine".to_owned(),
                what: String::new(),
                mib: mib(used.used_bytes),
                share: share(used.used_bytes.0 as i64),
                place: used.place.to_string(),
                strong: true,
            });
        }
        AccountPage {
            svg: waterfall(&[fall(account)], &account.finding()),
            rows,
            notes: account.notes(),
            logs: account
                .logs
                .iter()
                .filter(|(_, kinds)| !kinds.is_empty())
                .map(|(path, kinds)| {
                    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                    (path.display().to_string(), kinds.join(", "))
                })
                .collect(),
        }
    }
}

const UNEXPLAINED: &str = "unexplained";

/// Parts that are in what the machine uses, then what nobody owns.
fn fall(account: &Account) -> Fall {
    let step = |part: &Part| Step {
        name: name(part),
        kind: Kind::Class(part.class),
        bytes: part.bytes.signed_difference(Bytes::ZERO),
    };
    let mut steps: Vec<Step> = account.parts.iter().filter(|part| !part.mapped).map(step).collect();
    if let Reading::Measured(bytes) = account.unexplained_bytes {
        let kind = Kind::Class(BufferClass::Unaccounted);
        steps.push(Step { name: UNEXPLAINED.to_owned(), kind, bytes });
    }
    let (peak, peak_name) = match &account.used {
        Reading::Measured(used) => (used.used_bytes, "used by the machine"),
        Reading::Unavailable(_) => (account.named_bytes, "named by the logs"),
    };
    Fall { steps, peak, peak_name, ..Fall::default() }
}

fn name(part: &Part) -> String {
    let of_draft = part.role == Role::Draft && part.class != BufferClass::WeightsDraft;
    if of_draft { format!("{}, draft", part.class) } else { part.class.to_string() }
}
