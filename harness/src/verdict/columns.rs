//! Rows of text under aligned titles.

/// A column: its title, and whether it holds numbers, which are aligned to the right.
pub(super) type Column<'a> = (&'a str, bool);

/// `rows` under the titles of `columns`, two spaces between.
pub(super) fn aligned(columns: &[Column<'_>], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let fields = rows.iter().filter_map(|row| row.get(at)).map(|field| field.chars().count());
        fields.chain([columns[at].0.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let titles: Vec<String> = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let mut text = String::new();
    for row in [&titles].into_iter().chain(rows) {
        let mut line = String::new();
        for (at, field) in row.iter().enumerate() {
            let pad = " ".repeat(widths[at].saturating_sub(field.chars().count()));
            let (before, after) = if columns[at].1 { (pad.as_str(), "") } else { ("", pad.as_str()) };
            line.push_str(&format!("{}{before}{field}{after}", if at == 0 { "" } else { "  " }));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
