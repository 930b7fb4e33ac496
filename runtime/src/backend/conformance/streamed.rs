//! A whole tiny model whose weights are read for each pass.

use ledger::{Bytes, Tokens};

use super::model::{Built, compare, in_rounds, load, models, options, prefilled, prompt, scores};
use super::report::Report;
use super::subject::Subject;
use crate::backend::DeviceError;
use crate::engine::SequenceError;
use crate::plan::{Device, KvCacheType, RingShape, RuntimeOptions, Streaming, WeightStreaming};

/// What is streamed with a budget: everything that can be, or about half of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Streamed {
    Most,
    Half,
}

impl Streamed {
    /// Weights in stripes of a few tiles, under the budget. Parts of one matrix are kept, and a ring is gone round many times.
    pub(super) fn apply(self, built: &Built, options: &mut RuntimeOptions) {
        options.ring =
            RingShape { stripe: Bytes::kib(4), slots: 3, readers: 2, smallest_dense: Bytes::kib(2) };
        let placed = |options: &RuntimeOptions| {
            Streaming::choose(&built.directory.manifest().segments, options).unwrap()
        };
        options.weight_streaming_budget = WeightStreaming::Min;
        let least = placed(options);
        if let Streamed::Half = self {
            options.weight_streaming_budget = WeightStreaming::Off;
            let all = placed(options).resident;
            options.weight_streaming_budget = WeightStreaming::Budget(Bytes(least.floor.0.midpoint(all.0)));
        }
        let (streamed, most) = (placed(options).streamed_per_token, least.streamed_per_token);
        assert!(streamed > Bytes(most.0 / 4), "{self:?}: {streamed} of {most}");
    }
}

/// The whole model with weights that are read for each pass, against the same device with resident ones.
pub(super) fn model_streamed<S: Subject>(report: &mut Report) {
    let (ids, then) = (prompt(1, 150), prompt(2, 6));
    for (name, built) in models() {
        for chunk in [256, 100, 17] {
            let mut options = options(KvCacheType::F16);
            (options.device, options.gdn_prefill_max_seq) = (S::DEVICE, Tokens(chunk));
            let expected = scores(&load::<S>(&built, &options), &ids, &then);
            for streamed in [Streamed::Most, Streamed::Half] {
                streamed.apply(&built, &mut options);
                let engine = load::<S>(&built, &options);
                report.at(format!("model {name} in chunks of {chunk} with {streamed:?} of it streamed"));
                compare(report, report.limits.model, &scores(&engine, &ids, &then), &expected);
                // Nothing of one sequence is left in the ring for the next.
                compare(report, report.limits.model, &scores(&engine, &ids, &then), &expected);
            }
        }
    }
}

/// A file that cannot be read is an error of the pass, and of no other.
pub(super) fn model_streamed_from_a_cut_file<S: Subject>(report: &mut Report) {
    let (ids, then) = (prompt(1, 40), prompt(2, 3));
    for (name, built) in models() {
        for streamed in [Streamed::Most, Streamed::Half] {
            let mut options = options(KvCacheType::F16);
            options.device = S::DEVICE;
            streamed.apply(&built, &mut options);
            let engine = load::<S>(&built, &options);
            let expected = scores(&engine, &ids, &then);
            let path = built.directory.weights_path();
            let whole = std::fs::read(&path).unwrap();
            let mut sequence = prefilled(&engine, &ids);
            std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
            report.at(format!("model {name} with {streamed:?} of it in a file that is cut"));
            // What was read ahead may serve one more step.
            match (0..3).find_map(|_| engine.decode(&mut sequence, 7).err()) {
                Some(SequenceError::Device(DeviceError::Stream(error))) => report.note(error.to_string()),
                other => report.fail(format!("the error of the stream was expected, and not {other:?}")),
            }
            drop(sequence);
            std::fs::write(&path, whole).unwrap();
            compare(report, report.limits.model, &scores(&engine, &ids, &then), &expected);
        }
    }
}

/// Rounds of drafts. The draft scores rows that end amid a stripe.
pub(super) fn model_in_rounds_streamed<S: Subject>(report: &mut Report) {
    for streamed in [Streamed::Most, Streamed::Half] {
        in_rounds::<S>(report, &[(4, "the head's"), (8, "right"), (5, "wrong")], Some(streamed));
    }
}

/// Where no GPU is, what its cases load is still planned.
#[test]
fn the_models_are_streamed_on_every_device() {
    for (_, built) in models() {
        for device in [Device::Cpu, Device::Cuda { ordinal: 0 }] {
            for (mtp, streamed) in [(false, Streamed::Most), (true, Streamed::Most), (true, Streamed::Half)] {
                let mut options = options(KvCacheType::F16);
                (options.device, options.mtp) = (device, mtp);
                streamed.apply(&built, &mut options);
            }
        }
    }
}
