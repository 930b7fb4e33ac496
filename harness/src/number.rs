//! Numbers as people read them. What is shown is rounded; what is compared never is.

use ledger::Bytes;

use crate::record::Reading;

/// MiB with one decimal and a comma at the thousands, without the unit: `2,712.4`.
pub fn mib(bytes: Bytes) -> String {
    grouped(bytes.as_mib(), 1)
}

/// What stands before a size: a mark where the true one may be larger.
pub fn at_least(is_lower_bound: bool) -> &'static str {
    if is_lower_bound { "≥ " } else { "" }
}

/// What stands before what is left below a limit: a mark where the true one may be smaller.
pub fn at_most(is_lower_bound: bool) -> &'static str {
    if is_lower_bound { "≤ " } else { "" }
}

/// [`mib`] with the mark of [`at_least`].
pub fn peak_mib(bytes: Bytes, is_lower_bound: bool) -> String {
    at_least(is_lower_bound).to_owned() + &mib(bytes)
}

/// Signed MiB with one decimal: `+120.2`, `−451.6`, `0.0`. A difference that is not nothing never shows as nothing:
/// below a twentieth of a MiB it is given in bytes.
pub fn signed_mib(bytes: i64) -> String {
    let mib = Bytes(bytes.unsigned_abs()).as_mib();
    let sign = if bytes < 0 { "−" } else { "+" };
    match bytes {
        0 => "0.0".to_owned(),
        _ if mib < 0.05 => format!("{sign}{} B", grouped(bytes.unsigned_abs() as f64, 0)),
        _ => format!("{sign}{}", grouped(mib, 1)),
    }
}

/// A number with `decimals` places and a comma at the thousands.
pub fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("−", digits));
    let (whole, fraction) =
        digits.split_once('.').map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
    let mut out = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A count with a comma at the thousands.
pub fn count(value: u64) -> String {
    grouped(value as f64, 0)
}

/// The value in words, or `n/a` with its reason.
pub fn cell<T>(reading: &Reading<T>, form: impl Fn(&T) -> String) -> Shown {
    match reading {
        Reading::Measured(value) => Shown { text: form(value), why: None },
        Reading::Unavailable(why) => Shown { text: "n/a".to_owned(), why: Some(why.clone()) },
    }
}

/// A table's field: what stands there, and why it is `n/a` where it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// The text.
    pub text: String,
    /// Why there is no value.
    pub why: Option<String>,
}

impl Shown {
    /// A plain text.
    pub fn plain(text: impl Into<String>) -> Shown {
        Shown { text: text.into(), why: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let shown = [0.0, 999.94, 999.96, 1_234_567.0, -1234.5].map(|value| grouped(value, 1));
        assert_eq!(shown, ["0.0", "999.9", "1,000.0", "1,234,567.0", "−1,234.5"]);
        assert_eq!(count(12_000), "12,000");
    }

    #[test]
    fn a_small_difference_is_not_shown_as_none() {
        assert_eq!(signed_mib(0), "0.0");
        assert_eq!(signed_mib(-1), "−1 B");
        assert_eq!(signed_mib(1 << 20), "+1.0");
    }
}
