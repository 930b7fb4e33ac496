//! What several open sequences hold: each its own buffers, and a step as much as all of them need.

use ledger::plan::{Growth, PAGE};
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
        page: Bytes(PAGE),
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

#[test]
fn each_memory_counts_for_itself_and_commits_in_its_own_pages() {
    let page = Bytes::mib(2);
    let block = Some(Growth { tokens: Tokens(64), bytes: Bytes(8192) });
    let keys = buffer("keys", 0, Lifetime::PerSequence, 4 << 20, block);
    let plan = MemoryPlan {
        buffers: vec![
            buffer("table", 0, Lifetime::Resident, 8192, None),
            PlannedBuffer { memory: MemoryKind::Device, page, ..keys },
        ],
    };
    let held = |phase, tokens| plan.by_memory(phase, Tokens(tokens));
    assert_eq!(held(Phase::Load, 0), [(MemoryKind::Host, Bytes(8192))].into());
    assert_eq!(held(Phase::Decode, 1)[&MemoryKind::Device], page);
    assert_eq!(held(Phase::Decode, 256 * 64)[&MemoryKind::Device], page);
    assert_eq!(held(Phase::Decode, 256 * 64 + 1)[&MemoryKind::Device], Bytes::mib(4));
    let device = plan.in_memory(MemoryKind::Device);
    assert_eq!((device.buffers.len(), device.peak(Tokens(1))), (1, page));

    // What is as usual is not written, and a file without it is read as usual.
    let json = serde_json::to_value(&plan).unwrap();
    assert!(json["buffers"][0].get("memory").is_none() && json["buffers"][0].get("page").is_none());
    assert_eq!(
        (&json["buffers"][1]["memory"], &json["buffers"][1]["page"]),
        (&"device".into(), &page.0.into())
    );
    assert_eq!(serde_json::from_value::<MemoryPlan>(json).unwrap(), plan);
}
