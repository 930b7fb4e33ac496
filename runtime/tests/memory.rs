//! Planned = allocated, to the byte, at every stage.

mod reference;

use ledger::{Bytes, MemoryPlan, Phase, Tokens};
use reference::{built, load, prefilled, reference};
use runtime::engine::Engine;
use runtime::engine_dir::BuildOptions;
use runtime::plan::{KvCacheType, WeightsMode};

fn committed(engine: &Engine) -> Bytes {
    engine.ledger().snapshot().total_now()
}

fn entries_match(engine: &Engine, plan: &MemoryPlan, phase: Phase, context: Tokens) {
    let snapshot = engine.ledger().snapshot();
    for buffer in &plan.buffers {
        let planned = buffer.bytes_in(phase, context);
        let held = snapshot
            .entries
            .iter()
            .find(|entry| entry.key == buffer.key())
            .map_or(Bytes::ZERO, |entry| entry.now);
        assert_eq!(held, planned, "{} in {phase}", buffer.key());
    }
    assert_eq!(snapshot.total_now(), plan.total_in(phase, context));
}

#[test]
fn planned_is_allocated_to_the_byte_in_every_phase() {
    for name in ["dense-awq", "hybrid-awq", "hybrid-bf16"] {
        let built = built(name, BuildOptions::default());
        for (weights, kv_cache_type) in
            [(WeightsMode::Mapped, KvCacheType::F16), (WeightsMode::Resident, KvCacheType::F32)]
        {
            let engine = load(&built, |options| {
                options.weights = weights;
                options.kv_cache_type = kv_cache_type;
            });
            let plan = Engine::plan_of(&built.directory, engine.options());
            assert_eq!(&plan, engine.plan());
            entries_match(&engine, &plan, Phase::Load, Tokens(0));

            let ids = &reference(name).prompts[1].ids;
            let mut sequence = prefilled(&engine, ids);
            let context = Tokens(ids.len() as u32);
            assert_eq!(engine.ledger().snapshot().peak_total, plan.total_in(Phase::Prefill, context));
            entries_match(&engine, &plan, Phase::Decode, context);

            while sequence.length() % 64 != 0 {
                engine.decode(&mut sequence, 7).unwrap();
            }
            engine.decode(&mut sequence, 7).unwrap();
            entries_match(&engine, &plan, Phase::Decode, Tokens(sequence.length() as u32));

            drop(sequence);
            entries_match(&engine, &plan, Phase::Settle, Tokens(0));
        }
    }
}

#[test]
fn the_longest_prompt_that_is_accepted_sizes_nothing() {
    let built = built("hybrid-awq", BuildOptions::default());
    let committed_with = |max_input_len: u32| {
        let engine = load(&built, |options| {
            options.max_input_len = Tokens(max_input_len);
            options.max_kv_cache_capacity = Tokens(8192);
        });
        let sequence = prefilled(&engine, &reference("hybrid-awq").prompts[1].ids);
        let held = (committed(&engine), engine.ledger().snapshot().peak_total);
        drop(sequence);
        held
    };
    assert_eq!(committed_with(512), committed_with(8192));
}
