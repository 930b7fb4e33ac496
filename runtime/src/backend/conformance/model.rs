//! A whole tiny model: a synthetic checkpoint, built, loaded, and run against the CPU's exact arithmetic.

use ledger::Tokens;

use super::report::Report;
use super::streamed::Streamed;
use super::subject::{Subject, THREADS};
use crate::backend::Backend;
use crate::backend::cpu::CpuDevice;
use crate::checkpoint::{SyntheticCheckpoint, SyntheticOptions, SyntheticQuantization};
use crate::config::{LayerKind, LinearAttentionConfig, ModelConfig};
use crate::engine::{Drafts, Engine, Flow, Sequence, Turn};
use crate::engine_dir::{BuildFlow, BuildOptions, EngineDir, LmHead, build};
use crate::generate::sample::{Sampler, Sampling};
use crate::ops::linear::Precision;
use crate::ops::testing::wide;
use crate::plan::{DraftVocab, KvCacheType, RuntimeOptions};

/// An engine in a folder of its own.
pub(super) struct Built {
    pub(super) directory: EngineDir,
    _folder: tempfile::TempDir,
}

const VOCABULARY: usize = 640;

/// Three Gated DeltaNet layers with heads of `linear_dim`, and one of attention.
fn built(linear_dim: usize, head_dim: usize, quantization: SyntheticQuantization, lm_head: LmHead) -> Built {
    let mut config = ModelConfig::published("Qwen3.5-0.8B").unwrap();
    (config.hidden_size, config.intermediate_size, config.vocab_size) = (128, 320, VOCABULARY);
    let linear = LayerKind::LinearAttention;
    config.layers = vec![linear, linear, linear, LayerKind::FullAttention];
    (config.attention.query_heads, config.attention.kv_heads) = (4, 2);
    (config.attention.head_dim, config.attention.rotary_dims) = (head_dim, head_dim / 4);
    config.linear_attention = Some(LinearAttentionConfig {
        key_heads: 2,
        value_heads: 4,
        key_dim: linear_dim,
        value_dim: linear_dim,
        conv_kernel: 4,
    });
    config.mtp_layers = 1;
    let source = SyntheticOptions { seed: 5, quantization, mtp: true };
    let source = SyntheticCheckpoint::new("conformance", config, source).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine");
    let options = BuildOptions { lm_head, ..BuildOptions::default() };
    build(&source, &options, &path, THREADS, &mut |_| BuildFlow::Continue).unwrap();
    Built { directory: EngineDir::open(&path).unwrap(), _folder: folder }
}

/// The models: what of the delta rule, of attention and of the table differs between kernels.
pub(super) fn models() -> [(&'static str, Built); 3] {
    let int4 = |group_size, zero_points| SyntheticQuantization::Int4 { group_size, zero_points };
    [
        ("128 int4", built(128, 64, int4(32, true), LmHead::Int8)),
        ("64 int4 symmetric", built(64, 128, int4(64, false), LmHead::Int4)),
        ("128 dense", built(128, 256, SyntheticQuantization::Dense, LmHead::F16)),
    ]
}

pub(super) fn options(kv_cache_type: KvCacheType) -> RuntimeOptions {
    let mut options = RuntimeOptions::new(Tokens(512), THREADS);
    (options.precision, options.kv_cache_type) = (Precision::Exact, kv_cache_type);
    options
}

pub(super) fn load<B: Backend>(built: &Built, options: &RuntimeOptions) -> Engine<B> {
    Engine::load(&built.directory, options).unwrap()
}

pub(super) fn prompt(seed: usize, length: usize) -> Vec<u32> {
    (0..length).map(|place| ((place * 131 + seed * 977 + place * place * 7) % VOCABULARY) as u32).collect()
}

pub(super) fn prefilled<B: Backend>(engine: &Engine<B>, ids: &[u32]) -> Sequence<B> {
    let mut sequence = engine.open_sequence().unwrap();
    assert_eq!(engine.prefill(&mut sequence, ids, &mut || Flow::Continue).unwrap(), ids.len());
    sequence
}

/// Scores behind a prompt, and behind each of the tokens that follow it.
pub(super) fn scores<B: Backend>(engine: &Engine<B>, ids: &[u32], then: &[u32]) -> Vec<Vec<f32>> {
    let mut sequence = prefilled(engine, ids);
    let mut all = vec![engine.logits(&sequence)];
    for token in then {
        engine.decode(&mut sequence, *token).unwrap();
        all.push(engine.logits(&sequence));
    }
    all
}

fn likeliest(scores: &[f32]) -> usize {
    (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap()
}

/// Whether the likeliest token stays the same when every score is off by as much as it may be.
fn is_clear(scores: &[f32], limit: f64) -> bool {
    let best = likeliest(scores);
    let second = (0..scores.len()).filter(|place| *place != best).map(|place| scores[place]);
    let margin = scores[best] - second.fold(f32::NEG_INFINITY, f32::max);
    let squares: f64 = scores.iter().map(|score| f64::from(*score).powi(2)).sum();
    f64::from(margin) > 8.0 * limit * (squares / scores.len() as f64).sqrt()
}

pub(super) fn compare(report: &mut Report, limit: f64, found: &[Vec<f32>], expected: &[Vec<f32>]) {
    let mut clear = 0;
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        report.within(&format!("scores {place}"), limit, found, &wide(expected));
        if is_clear(expected, limit) {
            clear += 1;
            let (token, wanted) = (likeliest(found), likeliest(expected));
            if token != wanted {
                report.fail(format!("token {place} is {token} instead of {wanted}"));
            }
        }
    }
    if clear == 0 {
        report.fail("no token of this model is clear, so that none was compared");
    }
}

/// Every chunking of a prompt, and decoding behind it, with keys and values of each type.
pub(super) fn model<S: Subject>(report: &mut Report) {
    let (ids, then) = (prompt(1, 150), prompt(2, 6));
    for (name, built) in models() {
        let expected = scores(&load::<CpuDevice>(&built, &options(KvCacheType::F32)), &ids, &then);
        for kv_cache_type in [KvCacheType::F16, KvCacheType::F32, KvCacheType::Int8] {
            for chunk in [256, 100, 64, 33, 17, 8, 1] {
                let mut options = options(kv_cache_type);
                options.device = S::DEVICE;
                options.gdn_prefill_max_seq = Tokens(chunk);
                let found = scores(&load::<S>(&built, &options), &ids, &then);
                report.at(format!("model {name} {kv_cache_type:?} in chunks of {chunk}"));
                // Bytes cost what they cost on any device.
                let cost = if kv_cache_type == KvCacheType::Int8 { 2e-2 } else { 0.0 };
                compare(report, report.limits.model + cost, &found, &expected);
            }
        }
    }
}

/// The tokens that greedy decoding gives, as far as they are clear, one by one.
fn greedy(engine: &Engine<CpuDevice>, ids: &[u32], count: usize, limit: f64) -> Vec<u32> {
    let mut sequence = prefilled(engine, ids);
    let mut tokens = Vec::new();
    loop {
        let scores = engine.logits(&sequence);
        if !is_clear(&scores, limit) || tokens.len() == count {
            return tokens;
        }
        tokens.push(likeliest(&scores) as u32);
        engine.decode(&mut sequence, tokens[tokens.len() - 1]).unwrap();
    }
}

/// Rounds of three sequences at once, with drafts of the head, with right ones and with wrong ones.
pub(super) fn model_in_rounds<S: Subject>(report: &mut Report) {
    let kinds = [(4, "the head's"), (8, "the head's"), (4, "right"), (8, "right"), (5, "wrong")];
    in_rounds::<S>(report, &kinds, None);
}

/// Rounds with trees and drafts of several `kinds`, where some weights may be `streamed`.
pub(super) fn in_rounds<S: Subject>(report: &mut Report, kinds: &[(u32, &str)], streamed: Option<Streamed>) {
    const TOKENS: usize = 24;
    let prompts = [prompt(1, 70), prompt(4, 5), prompt(6, 131)];
    for (name, built) in models() {
        let exact = load::<CpuDevice>(&built, &options(KvCacheType::F32));
        let expected: Vec<Vec<u32>> =
            prompts.iter().map(|ids| greedy(&exact, ids, TOKENS + 8, report.limits.model)).collect();
        report.at(format!("model {name} in rounds"));
        report.note(format!("{:?} clear tokens", expected.iter().map(Vec::len).collect::<Vec<_>>()));
        if expected.iter().all(Vec::is_empty) {
            report.fail("no token of this model is clear, so that none was compared");
        }
        for &(tree, kind) in kinds {
            let mut options = options(KvCacheType::F16);
            (options.device, options.mtp, options.max_verify_tree_size) = (S::DEVICE, true, tree);
            options.max_batch_size = prompts.len() as u32;
            if let Some(streamed) = streamed {
                options.draft_vocab = DraftVocab::Rows(555);
                streamed.apply(&built, &mut options);
            }
            let engine = load::<S>(&built, &options);
            let mut sequences: Vec<Sequence<S>> =
                prompts.iter().map(|_| engine.open_sequence().unwrap()).collect();
            let mut said = Vec::new();
            for (sequence, ids) in sequences.iter_mut().zip(&prompts) {
                engine.prefill(sequence, ids, &mut || Flow::Continue).unwrap();
                said.push(vec![likeliest(&engine.logits(sequence)) as u32]);
            }
            let (mut offered, mut accepted) = (0, 0);
            while said.iter().any(|tokens| tokens.len() < TOKENS) {
                let most = tree as usize - 1;
                let given: Vec<Vec<u32>> = said
                    .iter()
                    .zip(&expected)
                    .map(|(said, expected)| match kind {
                        "right" => expected.iter().skip(said.len()).take(most).copied().collect(),
                        _ => (0..most)
                            .map(|place| ((said.len() * 31 + place * 7) % VOCABULARY) as u32)
                            .collect(),
                    })
                    .collect();
                let mut samplers: Vec<Sampler> =
                    prompts.iter().map(|_| Sampler::new(Sampling::GREEDY)).collect();
                let mut turns: Vec<Turn<'_, S>> = sequences
                    .iter_mut()
                    .zip(&said)
                    .zip(given.iter().zip(&mut samplers))
                    .map(|((sequence, said), (given, sampler))| Turn {
                        sequence,
                        token: said[said.len() - 1],
                        drafts: if kind == "the head's" { Drafts::Head(most) } else { Drafts::Given(given) },
                        sampler,
                    })
                    .collect();
                let rounds = engine.round(&mut turns).unwrap();
                for (said, round) in said.iter_mut().zip(rounds) {
                    offered += round.drafts.len();
                    accepted += round.accepted;
                    said.extend(round.emitted);
                }
            }
            report.at(format!("model {name} in rounds of {tree} with drafts: {kind}"));
            report.note(format!("{accepted} of {offered} drafts accepted"));
            for (index, (said, expected)) in said.iter().zip(&expected).enumerate() {
                let count = said.len().min(expected.len());
                if said[..count] != expected[..count] {
                    report.fail(format!("sequence {index} says {said:?} instead of {expected:?}"));
                }
            }
            // What the rounds leave behind is what the same tokens leave one by one.
            for (index, (sequence, ids)) in sequences.iter_mut().zip(&prompts).enumerate() {
                let (last, read) = said[index].split_last().unwrap();
                let whole = [&ids[..], read].concat();
                engine.decode(sequence, *last).unwrap();
                let found = engine.logits(sequence);
                let expected = scores(&exact, &whole, &[*last]);
                let limit = report.limits.model;
                report.within(&format!("scores of sequence {index}"), limit, &found, &wide(&expected[1]));
            }
        }
    }
}
