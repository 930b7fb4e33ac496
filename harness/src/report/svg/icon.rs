//! A sign for each verdict. The word stands beside it; the sign is for a quick look.

use crate::verdict::Word;

/// The sign of `word`, in the colour of the text around it, `size` units wide.
pub fn icon(word: Word, size: u32) -> String {
    let path = match word {
        Word::Pass => "M2.5 6.4L5 8.9L9.6 3.4",
        Word::Expected => "M2.5 4.6H9.5M2.5 7.4H9.5",
        Word::Improved => "M6 10V2.5M2.8 5.6L6 2.4L9.2 5.6",
        Word::NoBudget | Word::Skipped => "M3 6H9",
        Word::Warn => "M6 2.2V6.9M6 9.5V9.6",
        Word::Inconclusive => "M4 4.3C4 3 5 2.3 6 2.3S8 3 8 4.2C8 5.8 6 5.7 6 7.3M6 9.6V9.7",
        Word::Incomparable => "M2.5 4.5H9.5M2.5 7.5H9.5M8 2L4 10",
        Word::Incomplete => "M2.4 6H2.5M6 6H6.1M9.5 6H9.6",
        Word::Interrupted => "M4.2 3V9M7.8 3V9",
        Word::Timeout => "M6 1.8A4.2 4.2 0 1 0 6.01 1.8ZM6 3.8V6.2L7.6 7.3",
        Word::Crash => "M6.9 1.6L3.4 6.7H6L5.1 10.4L8.6 5.3H6Z",
        Word::Fail | Word::Regression | Word::Failed | Word::Oom => "M3 3L9 9M9 3L3 9",
    };
    format!(
        "<svg class=\"icon\" viewBox=\"0 0 12 12\" width=\"{size}\" height=\"{size}\" aria-hidden=\"true\"><path d=\"{path}\"/></svg>"
    )
}
