//! The forward pass against what `transformers` computed in f32 from the same checkpoints.

mod reference;

use reference::{argmax, built, load, prefilled, reference, relative_rms};
use runtime::engine_dir::{BuildOptions, LmHead};
use runtime::plan::{KvCacheType, Precision};

/// Every fixture: both families, every quantisation.
const CHECKPOINTS: [&str; 7] =
    ["dense-bf16", "dense-awq", "dense-gptq", "hybrid-bf16", "hybrid-awq", "hybrid-ct", "hybrid-ct-asym"];

/// The checkpoint's own numbers, nothing requantised.
fn as_stored() -> BuildOptions {
    BuildOptions { lm_head: LmHead::F16, ..BuildOptions::default() }
}

/// The exact path computes the same function in f32, in another order of additions.
const EXACT_TOLERANCE: f64 = 1e-3;

#[test]
fn exact_logits_and_every_greedy_id_agree() {
    for name in CHECKPOINTS {
        let reference = reference(name);
        let built = built(name, as_stored());
        let engine = load(&built, |options| {
            options.precision = Precision::Exact;
            options.kv_cache_type = KvCacheType::F32;
        });
        for prompt in &reference.prompts {
            let mut sequence = prefilled(&engine, &prompt.ids);
            let mut logits = engine.logits(&sequence).into_owned();
            let error = relative_rms(&logits, reference.prompt_logits(&prompt.name));
            assert!(error < EXACT_TOLERANCE, "{name}, {}: prompt differs by {error:.2e}", prompt.name);
            for (step, greedy) in prompt.greedy.iter().enumerate() {
                assert_eq!(argmax(&logits), *greedy, "{name}, {}: id {step}", prompt.name);
                engine.decode(&mut sequence, *greedy).unwrap();
                logits = engine.logits(&sequence).into_owned();
                let error = relative_rms(&logits, reference.step(&prompt.name, step));
                assert!(
                    error < EXACT_TOLERANCE,
                    "{name}, {}: step {step} differs by {error:.2e}",
                    prompt.name
                );
            }
        }
    }
}

/// Activations in 8 bits, the table in 8 bits, keys and values in half precision: what `sweep serve` runs.
const FAST_TOLERANCE: f64 = 5e-2;

#[test]
fn fast_logits_are_close_and_nearly_every_id_agrees() {
    for name in CHECKPOINTS {
        let reference = reference(name);
        let built = built(name, BuildOptions::default());
        let engine = load(&built, |_| {});
        for prompt in &reference.prompts {
            let mut sequence = prefilled(&engine, &prompt.ids);
            let mut logits = engine.logits(&sequence).into_owned();
            let mut agreed = 0;
            let mut worst = relative_rms(&logits, reference.prompt_logits(&prompt.name));
            for (step, greedy) in prompt.greedy.iter().enumerate() {
                agreed += usize::from(argmax(&logits) == *greedy);
                engine.decode(&mut sequence, *greedy).unwrap();
                logits = engine.logits(&sequence).into_owned();
                worst = worst.max(relative_rms(&logits, reference.step(&prompt.name, step)));
            }
            assert!(worst < FAST_TOLERANCE, "{name}, {}: differs by {worst:.2e}", prompt.name);
            assert!(agreed >= 14, "{name}, {}: {agreed} of {} ids agree", prompt.name, prompt.greedy.len());
        }
    }
}

/// What is left between two orders of the same f32 additions.
const CHUNKING_TOLERANCE: f64 = 1e-4;

#[test]
fn logits_do_not_depend_on_how_a_prompt_is_cut() {
    for name in ["dense-awq", "hybrid-awq"] {
        let reference = reference(name);
        let prompt = reference.prompts.iter().find(|prompt| prompt.name == "long").unwrap();
        let built = built(name, as_stored());
        let logits_with = |chunk: u32| {
            let engine = load(&built, |options| {
                options.precision = Precision::Exact;
                options.kv_cache_type = KvCacheType::F32;
                options.gdn_prefill_max_seq.0 = chunk;
            });
            let sequence = prefilled(&engine, &prompt.ids);
            engine.logits(&sequence).into_owned()
        };
        let whole = logits_with(512);
        for chunk in [1, 3, 63, 64, 65, 200] {
            let error = relative_rms(&logits_with(chunk), &whole);
            assert!(error < CHUNKING_TOLERANCE, "{name}: chunks of {chunk} differ by {error:.2e}");
        }
    }
}

#[test]
fn requantised_modules_stay_close() {
    use runtime::engine_dir::Linears;
    let reference = reference("hybrid-bf16");
    let options =
        BuildOptions { lm_head: LmHead::Int4, linears: Linears::Int8, drop_draft: false };
    let built = built("hybrid-bf16", options);
    let engine = load(&built, |_| {});
    let prompt = &reference.prompts[0];
    let sequence = prefilled(&engine, &prompt.ids);
    let error = relative_rms(&engine.logits(&sequence), reference.prompt_logits(&prompt.name));
    // Four bits of a random table cost some 10 % of the spread; a wrong layout would cost all of it.
    assert!(error < 0.25, "differs by {error:.2e}");
}
