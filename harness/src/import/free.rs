//! Output of `free`, one snapshot or many.

use ledger::Bytes;

use super::evidence::{Evidence, Line, MachineUse, size};

/// Numbers without a unit are MiB (`free -m`) up to here, and KiB (plain `free`) above: no machine has 4 TiB, none has 4 GiB in KiB
/// that are fewer.
const MOST_MIB: f64 = (1_u64 << 22) as f64;

/// Lines `Mem: total used free shared buff/cache available`.
pub(super) fn read(lines: &[Line]) -> Evidence {
    let machine = lines.iter().filter_map(|line| {
        let mut fields = line.text.trim_start().strip_prefix("Mem:")?.split_ascii_whitespace();
        let (total, used) = (fields.next()?, fields.next()?);
        let bare_total = total.parse().ok();
        let amount = |text| amount(text, bare_total);
        let (total_bytes, used_bytes) = (amount(total)?, amount(used)?);
        (used_bytes <= total_bytes).then(|| MachineUse { used_bytes, total_bytes, place: line.place() })
    });
    Evidence { machine: machine.collect(), ..Evidence::default() }
}

/// `12947`, in the unit that `total` shows, or `12Gi` as `free -h` writes it.
fn amount(text: &str, total: Option<f64>) -> Option<Bytes> {
    if let Ok(number) = text.parse::<f64>() {
        let unit = if total? <= MOST_MIB { 1 << 20 } else { 1 << 10 };
        return size(number, unit);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "B" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    size(digits.parse().ok()?, unit)
}
