//! The largest buffers of a plan. Buffers that differ in their layer only are one line.

use ledger::{Backing, Bytes, ElementType, Lifetime, MemoryKind, MemoryPlan, PlannedBuffer, Role};
use serde::Serialize;

use crate::number::mib;
use crate::report::svg::draw::shortened;
use crate::report::svg::palette::Kind;

/// Lines that are shown.
const MOST: usize = 10;

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub(super) struct BufferRow {
    name: String,
    class: &'static str,
    swatch: String,
    role: &'static str,
    layers: String,
    shape: String,
    element: &'static str,
    lifetime: &'static str,
    backing: &'static str,
    each_mib: String,
    all_mib: String,
    formula: String,
}

/// The largest groups of buffers of `plan`, and how many more groups there are.
pub(super) fn largest(plan: &MemoryPlan) -> (Vec<BufferRow>, usize) {
    let mut groups: Vec<(Vec<&PlannedBuffer>, String)> = Vec::new();
    let mut place = std::collections::BTreeMap::new();
    for buffer in &plan.buffers {
        let name = without_layer(buffer);
        let key = (buffer.role, buffer.class, name.clone(), buffer.bytes, buffer.shape.clone());
        let index = *place.entry(key).or_insert_with(|| {
            groups.push((Vec::new(), name));
            groups.len() - 1
        });
        groups[index].0.push(buffer);
    }
    let total = |group: &[&PlannedBuffer]| group.iter().map(|buffer| buffer.bytes).sum::<Bytes>();
    // Groups of one size stay in plan order, for the sort is stable.
    groups.sort_by_key(|(group, _)| std::cmp::Reverse(total(group)));
    let rows =
        groups.iter().take(MOST).filter_map(|(group, name)| Some(row(group.first()?, group, name))).collect();
    (rows, groups.len().saturating_sub(MOST))
}

fn row(first: &PlannedBuffer, group: &[&PlannedBuffer], name: &str) -> BufferRow {
    let shape: Vec<String> = first.shape.iter().map(u64::to_string).collect();
    BufferRow {
        name: shortened(name, 80),
        class: first.class.name(),
        swatch: Kind::Class(first.class).swatch(),
        role: match first.role {
            Role::Target => "target",
            Role::Draft => "draft",
        },
        layers: if first.layer.is_some() { format!("× {}", group.len()) } else { String::new() },
        shape: shape.join(" × "),
        element: match first.element {
            ElementType::F32 => "f32",
            ElementType::F16 => "f16",
            ElementType::Bf16 => "bf16",
            ElementType::Int8 => "int8",
            ElementType::Int4 => "int4",
            ElementType::U8 => "u8",
        },
        lifetime: match first.lifetime {
            Lifetime::Resident => "resident",
            Lifetime::PerSequence => "per sequence",
            Lifetime::PerPrefillChunk => "per prefill chunk",
            Lifetime::PerStep => "per step",
        },
        backing: match (first.memory, first.backing) {
            (MemoryKind::Device, _) => "on the device",
            (MemoryKind::Host, Backing::Anonymous) => "anonymous",
            (MemoryKind::Host, Backing::MappedFile) => "mapped file",
        },
        each_mib: mib(first.bytes),
        all_mib: mib(group.iter().map(|buffer| buffer.bytes).sum()),
        formula: shortened(&first.formula, 160),
    }
}

/// The name with the layer's number replaced: `model.layers.*.mlp.gate_proj.weight`.
fn without_layer(buffer: &PlannedBuffer) -> String {
    let Some(layer) = buffer.layer else { return buffer.name.clone() };
    let number = layer.to_string();
    let parts = buffer.name.split('.').map(|part| if part == number { "*" } else { part });
    parts.collect::<Vec<&str>>().join(".")
}
