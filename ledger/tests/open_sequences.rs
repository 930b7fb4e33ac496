//! What several open sequences hold: each its own buffers, and a step as much as all of them need.

use ledger::plan::Growth;
use ledger::{
    Backing, BufferClass, Bytes, ElementType, Lifetime, MemoryKind, MemoryPlan, Phase, PlannedBuffer, Role,
    Tokens,
};

fn buffer(
    name: &str,
    sequence: u32,
    lifetime: Lifetime,
    bytes: u64,
    growth: Option<Growth>,
) -> PlannedBuffer {
    PlannedBuffer {
        role: Role::Target,
        class: BufferClass::KvCache,
        layer: None,
        sequence,
        name: name.to_owned(),
        element: ElementType::U8,
        shape: vec![bytes],
        bytes: Bytes(bytes),
        lifetime,
        backing: Backing::Anonymous,
        memory: MemoryKind::Host,
        growth,
        formula: String::new(),
    }
}

#[test]
fn each_open_sequence_counts_once_and_a_step_grows_with_them() {
    let block = Some(Growth { tokens: Tokens(64), bytes: Bytes(8192) });
    let step = Some(Growth { tokens: Tokens(1), bytes: Bytes(4096) });
    let plan = MemoryPlan {
        buffers: vec![
            buffer("weights", 0, Lifetime::Resident, 40960, None),
            buffer("keys", 0, Lifetime::PerSequence, 32768, block),
            buffer("keys", 1, Lifetime::PerSequence, 32768, block),
            buffer("keys", 2, Lifetime::PerSequence, 32768, block),
            buffer("rows", 0, Lifetime::PerStep, 12288, step),
        ],
    };
    let held = |phase, open| plan.by_class_with(phase, Tokens(65), open).values().copied().sum::<Bytes>();
    assert_eq!(held(Phase::Load, 3), Bytes(40960), "no sequence is open before prefill");
    assert_eq!(held(Phase::Decode, 1), Bytes(40960 + 16384 + 4096));
    assert_eq!(held(Phase::Decode, 2), Bytes(40960 + 2 * (16384 + 4096)));
    assert_eq!(held(Phase::Decode, 3), Bytes(40960 + 3 * (16384 + 4096)));
    assert_eq!(held(Phase::Decode, 9), held(Phase::Decode, 3), "there are no more than planned");
    assert_eq!(held(Phase::Decode, 1), plan.total_in(Phase::Decode, Tokens(65)));
}
