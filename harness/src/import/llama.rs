//! Logs of llama.cpp: lines `function: device kind buffer size = N MiB`, one for each device and kind.

use ledger::{BufferClass, MemoryKind, Role};

use super::evidence::{Evidence, Line, Part, size};

/// Reads every buffer. The second model that a log loads is the draft's.
pub(super) fn read(lines: &[Line]) -> Evidence {
    let mut models = 0;
    let mut parts = Vec::new();
    for line in lines {
        if line.text.contains("loaded meta data with") {
            models += 1;
        }
        let role = if models > 1 { Role::Draft } else { Role::Target };
        parts.extend(buffer(line, role));
    }
    Evidence { parts, ..Evidence::default() }
}

fn buffer(line: &Line, role: Role) -> Option<Part> {
    let (left, right) = line.text.split_once(" buffer size = ")?;
    let mib: f64 = right.trim().strip_suffix("MiB")?.trim().parse().ok()?;
    let (_, words) = left.rsplit_once(": ").unwrap_or(("", left));
    let what = words.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let class = match (what.rsplit(' ').next()?, role) {
        ("model", Role::Target) => BufferClass::WeightsLinear,
        ("model", Role::Draft) => BufferClass::WeightsDraft,
        ("KV", _) => BufferClass::KvCache,
        ("RS", _) => BufferClass::RecurrentState,
        ("compute", _) => BufferClass::PrefillWorkspace,
        ("output", _) => BufferClass::Logits,
        _ => return None,
    };
    let mapped = what.contains("_Mapped ");
    // By the name of the buffer's kind: CPU, CPU_Mapped, CPU_REPACK; CUDA_Host is pinned memory of the host, CUDA0 the device's.
    let kind = what.split(' ').next().unwrap_or_default();
    let is_host = kind.starts_with("CPU") || kind.ends_with("_Host") || mapped;
    let memory = if is_host { MemoryKind::Host } else { MemoryKind::Device };
    Some(Part { class, role, what, memory, mapped, bytes: size(mib, 1 << 20)?, place: line.place() })
}
