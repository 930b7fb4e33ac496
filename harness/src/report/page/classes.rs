//! What a cell holds by class, and within each class by buffer: expected, measured, and how it grows.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ledger::{Backing, BufferClass, Bytes, ElementType, Lifetime, MemoryKind, Role};
use serde::Serialize;

use super::attribution::Attribution;
use super::baseline::{blamed, changes};
use super::overview::{anchor, needs_a_look};
use crate::number::{count, mib, signed_mib};
use crate::record::RecordedTrial;
use crate::report::svg::palette::Kind;
use crate::verdict::{BufferGroup, CellVerdict, buffer_groups};

/// Buffers that are shown of a class: of one that is behind an overage, of others of that cell, and of cells that pass.
const MOST_OF_BLAMED: usize = 12;
const MOST: usize = 3;
const MOST_OF_PASSED: usize = 1;

/// One class with its largest buffers.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ClassRow {
    name: &'static str,
    swatch: String,
    anchor: String,
    /// True for the class behind an overage.
    blamed: bool,
    expected: String,
    measured: String,
    over: String,
    is_over: bool,
    /// By how much its buffers changed against the baseline.
    change: String,
    grew: bool,
    slope: String,
    buffers: Vec<BufferRow>,
    /// How many buffers more there are, and what they hold together.
    more: Option<(usize, String)>,
}

#[derive(Debug, Clone, Serialize)]
struct BufferRow {
    name: String,
    drafts: bool,
    count: usize,
    expected: String,
    measured: String,
    over: String,
    is_over: bool,
    change: String,
    grew: bool,
    slope: String,
    formula: String,
    /// Shape, element type, and where and how long it is held.
    kind: String,
}

/// A name for the class of a cell that can stand in a link.
pub(super) fn class_anchor(cell: &CellVerdict, class: BufferClass) -> String {
    format!("{}--{}", anchor(cell), Kind::Class(class).slug())
}

/// Where a class stands: whether it is behind the overage, bytes over the plan, bytes.
type Order = Reverse<(bool, i64, i64)>;

/// Every class of `trial`: that behind an overage first, then by what is over the plan, then by size.
pub(super) fn classes(cell: &CellVerdict, trial: &RecordedTrial) -> Vec<ClassRow> {
    let groups = buffer_groups(&trial.record);
    let blamed = blamed(cell);
    let changes = changes(cell);
    let peak = Attribution::of(trial, MemoryKind::Host);
    let mut found: Vec<(Order, ClassRow)> = Vec::new();
    for class in BufferClass::ALL.iter().copied() {
        let mut own: Vec<&BufferGroup<'_>> = groups.iter().filter(|group| group.class == class).collect();
        let measured = peak.as_ref().and_then(|peak| peak.of_class(class));
        if own.is_empty() && measured.is_none() && blamed != Some(class) {
            continue;
        }
        let is_blamed = blamed == Some(class);
        let over: Option<i64> =
            own.iter().map(|group| group.over_plan()).sum::<Option<i64>>().filter(|_| !own.is_empty());
        let size: Bytes = own.iter().map(|group| group.bytes()).sum();
        let most = match (is_blamed, needs_a_look(cell.word)) {
            (true, _) => MOST_OF_BLAMED,
            (false, true) => MOST,
            (false, false) => MOST_OF_PASSED,
        };
        // Those over their plan first, then those that grew, for a long list hides them.
        own.sort_by_key(|group| {
            let grown = change_of(&changes, group).max(0);
            Reverse((group.over_plan().unwrap_or_default().max(0), grown, group.bytes()))
        });
        let of_class = changes.iter().filter(|((other, _), _)| *other == class);
        let change: i64 = of_class.map(|(_, change)| *change).sum();
        let rest: Bytes = own.iter().skip(most).map(|group| group.bytes()).sum();
        let row = ClassRow {
            name: class.name(),
            swatch: Kind::Class(class).swatch(),
            anchor: class_anchor(cell, class),
            blamed: is_blamed,
            expected: match own.is_empty() {
                true => "–".to_owned(),
                false => mib(own.iter().map(|group| group.expected).sum()),
            },
            measured: match (own.is_empty(), over, measured) {
                (false, Some(_), _) => mib(size),
                (true, _, Some(bytes)) => unsigned_or_signed(bytes),
                _ => "n/a".to_owned(),
            },
            over: over.map_or_else(|| "–".to_owned(), signed_mib),
            is_over: over.is_some_and(|over| over > 0),
            change: signed_mib(change),
            grew: change > 0,
            slope: slope_of_all(&own),
            buffers: own
                .iter()
                .take(most)
                .map(|group| buffer_row(group, change_of(&changes, group)))
                .collect(),
            more: (own.len() > most).then(|| (own.len() - most, mib(rest))),
        };
        let bytes =
            if own.is_empty() { measured.unwrap_or_default() } else { size.signed_difference(Bytes::ZERO) };
        found.push((Reverse((is_blamed, over.unwrap_or_default().max(0), bytes)), row));
    }
    found.sort_by_key(|(order, _)| *order);
    found.into_iter().map(|(_, row)| row).collect()
}

fn unsigned_or_signed(bytes: i64) -> String {
    if bytes < 0 { signed_mib(bytes) } else { mib(Bytes(bytes.unsigned_abs())) }
}

/// The slope of a class. Buffers that follow different things have none together.
fn slope_of_all(own: &[&BufferGroup<'_>]) -> String {
    let slopes: Vec<(Bytes, &'static str)> = own.iter().filter_map(|group| group.slope()).collect();
    match slopes.first() {
        None => slope_words(None),
        Some((_, of)) if slopes.iter().all(|(_, other)| other == of) => {
            slope_words(Some((slopes.iter().map(|(bytes, _)| *bytes).sum(), *of)))
        }
        Some(_) => "by buffer".to_owned(),
    }
}

fn slope_words(slope: Option<(Bytes, &'static str)>) -> String {
    slope.map_or_else(|| "–".to_owned(), |(bytes, of)| format!("{} B a {of}", count(bytes.0)))
}

fn change_of(changes: &BTreeMap<(BufferClass, String), i64>, group: &BufferGroup<'_>) -> i64 {
    changes.get(&(group.class, group.name.clone())).copied().unwrap_or_default()
}

fn buffer_row(group: &BufferGroup<'_>, change: i64) -> BufferRow {
    let kind = group.planned.map_or_else(
        || "not in the plan".to_owned(),
        |planned| {
            let shape: Vec<String> = planned.shape.iter().map(u64::to_string).collect();
            let element = match planned.element {
                ElementType::F32 => "f32",
                ElementType::F16 => "f16",
                ElementType::Bf16 => "bf16",
                ElementType::Int8 => "int8",
                ElementType::Int4 => "int4",
                ElementType::U8 => "u8",
            };
            let lifetime = match planned.lifetime {
                Lifetime::Resident => "resident",
                Lifetime::PerSequence => "per sequence",
                Lifetime::PerPrefillChunk => "per prefill chunk",
                Lifetime::PerStep => "per step",
            };
            let backing = match (planned.memory, planned.backing) {
                (MemoryKind::Device, _) => "on the device",
                (MemoryKind::Host, Backing::Anonymous) => "anonymous",
                (MemoryKind::Host, Backing::MappedFile) => "mapped file",
            };
            format!("{} {element}, {lifetime}, {backing}", shape.join(" × "))
        },
    );
    BufferRow {
        name: group.name.clone(),
        drafts: group.role == Role::Draft,
        count: group.count,
        expected: if group.planned.is_some() { mib(group.expected) } else { "–".to_owned() },
        measured: group.measured.map_or_else(|| "n/a".to_owned(), mib),
        over: group.over_plan().map_or_else(|| "–".to_owned(), signed_mib),
        is_over: group.over_plan().is_some_and(|over| over > 0),
        change: signed_mib(change),
        grew: change > 0,
        slope: slope_words(group.slope()),
        formula: group.planned.map(|planned| planned.formula.clone()).unwrap_or_default(),
        kind,
    }
}
