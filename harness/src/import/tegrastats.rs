//! Output of `tegrastats`, with or without the times that a trial puts in front.

use super::evidence::{Evidence, Line, MachineUse};
use crate::probe::tegrastats::TegraLine;

/// Lines with a memory field. A log of TensorRT has none.
pub(super) fn read(lines: &[Line]) -> Evidence {
    let machine = lines.iter().filter_map(|line| {
        let (used_bytes, total_bytes) = TegraLine::parse(line.text)?.ram?;
        (used_bytes <= total_bytes).then(|| MachineUse { used_bytes, total_bytes, place: line.place() })
    });
    Evidence { machine: machine.collect(), ..Evidence::default() }
}
