//! Tables of whole numbers with a header, as series are kept.

use std::path::Path;

use super::{Series, SeriesError};

/// The rows of the table `path`, each as wide as `names`; a missing value is `None`. Columns are found by name, so that
/// others may stand beside them. Those from `required` on may be missing; a last line that was cut short is left out.
/// The first column is time: it is in every row, and does not fall.
pub(super) fn read<const N: usize>(
    path: &Path,
    names: [&'static str; N],
    required: usize,
) -> Result<Vec<[Option<u64>; N]>, SeriesError> {
    let unreadable = |source| SeriesError::Unreadable { path: path.to_owned(), source };
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path).map_err(unreadable)?;
    let header = reader.headers().map_err(unreadable)?.clone();
    let at = names.map(|name| header.iter().position(|own| own == name));
    if let Some(missing) = at.iter().take(required).position(Option::is_none) {
        return Err(SeriesError::ColumnMissing { path: path.to_owned(), column: names[missing] });
    }
    let mut rows: Vec<[Option<u64>; N]> = Vec::new();
    for row in reader.records() {
        let row = row.map_err(unreadable)?;
        let line = row.position().map_or(0, csv::Position::line);
        if row.len() < header.len() {
            break;
        }
        let mut numbers = [None; N];
        for (number, column) in numbers.iter_mut().zip(at) {
            let text = column.and_then(|column| row.get(column)).map(str::trim).unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            *number =
                Some(text.parse().ok().filter(|number| *number <= Series::LARGEST).ok_or_else(|| {
                    SeriesError::NotANumber {
                        path: path.to_owned(),
                        line,
                        text: text.chars().take(40).collect(),
                    }
                })?);
        }
        if numbers[0].is_none() {
            continue;
        }
        if rows.last().is_some_and(|last| last[0] > numbers[0]) {
            return Err(SeriesError::OutOfOrder { path: path.to_owned(), line });
        }
        rows.push(numbers);
    }
    Ok(rows)
}
