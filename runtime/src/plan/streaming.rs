//! Which stripes stay resident under a budget, and which are read from storage for each pass.
//!
//! In the order in which they are kept: what is read most often (the draft's layers, and the rows of the table that it scores),
//! then the rest of what a pass multiplies with, then a table that is only looked up in. The second kind is spread evenly over
//! the pass, so that streamed bytes are, too, and reading goes on all the time while the rest is computed.

use std::ops::Range;

use ledger::{BufferClass, Bytes, Role};

use super::device::on_device;
use super::stripes::{BLOCK, Pieces, is_streamable, stripes};
use super::{Device, OptionsError, RuntimeOptions, WeightStreaming, is_loaded};
use crate::engine_dir::{SegmentRecord, TensorRecord};
use crate::memory::{PAGE, whole_pages};

/// Slots for rows of a streamed table: enough to keep every reader busy.
const LOOK_UPS: usize = 16;

/// Slots of a device: one is filled while the ones before it are multiplied with. Storage is slower than the way to the device, so
/// what is read ahead waits in main memory.
const DEVICE_SLOTS: usize = 4;

/// Where the rows of a tensor are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The rows.
    pub rows: Range<usize>,
    /// Resident or streamed.
    pub place: Place,
}

/// Resident or streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the segment's memory from `offset`: part after part, each starting on a cache line.
    Pinned {
        /// Start in the memory of the segment.
        offset: u64,
    },
    /// A stripe that is read when it is wanted.
    Streamed,
}

/// Where one tensor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPlacement {
    /// Its rows in order; neighbouring stripes that stay are one run.
    pub runs: Vec<Run>,
    /// Resident bytes, cache lines filled up.
    pub pinned: Bytes,
    /// Bytes that are read for each use.
    pub streamed: Bytes,
}

/// Where one segment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentPlacement {
    /// Its tensors in order.
    pub tensors: Vec<TensorPlacement>,
    /// What fills the last page of its memory.
    pub alignment: Bytes,
}

impl SegmentPlacement {
    /// Memory of the segment, in whole pages.
    pub fn pinned(&self) -> Bytes {
        self.tensors.iter().map(|tensor| tensor.pinned).sum::<Bytes>() + self.alignment
    }
}

/// What streamed weights pass through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// Slots for stripes.
    pub slots: usize,
    /// Bytes of each.
    pub slot: Bytes,
    /// Slots for rows of a table.
    pub look_ups: usize,
    /// Bytes of each.
    pub look_up: Bytes,
    /// Slots of a device's own, as large as those for stripes, where weights are multiplied with on one.
    pub on_device: usize,
}

impl Ring {
    /// All slots in main memory.
    pub fn host_bytes(&self) -> Bytes {
        Bytes(self.slots as u64 * self.slot.0 + self.look_ups as u64 * self.look_up.0)
    }

    /// What counts towards the budget: slots where weights are multiplied with.
    pub fn bytes(&self) -> Bytes {
        match self.on_device {
            0 => self.host_bytes(),
            slots => on_device(Bytes(slots as u64 * self.slot.0)),
        }
    }
}

/// Where every weight of an engine is under a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streaming {
    segments: Vec<Option<SegmentPlacement>>,
    ring: Option<Ring>,
    /// What can be streamed.
    pub streamable: Bytes,
    /// The smallest budget: what is never streamed, and the ring. On a device all that counts is in its memory.
    pub floor: Bytes,
    /// Weights and ring in the memory that the budget is for.
    pub resident: Bytes,
    /// Bytes that a pass of the target reads, its head included.
    pub streamed_per_token: Bytes,
    /// What is never streamed.
    kept: Bytes,
}

/// Why a stripe should stay; the first is kept first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Several times a token.
    Drafting,
    /// Once a token.
    Pass,
    /// A row at a time.
    LookUp,
}

/// A stripe that may stay or not.
struct Candidate {
    segment: usize,
    tensor: usize,
    rows: Range<usize>,
    bytes: u64,
    when: Use,
    pinned: bool,
}

impl Streaming {
    /// Places the weights of `segments`; `None` where nothing is asked for. A budget below the floor gives the floor, and
    /// [`Streaming::check`] refuses it.
    pub fn choose(segments: &[SegmentRecord], options: &RuntimeOptions) -> Option<Streaming> {
        let options = &options.for_engine(segments);
        let budget = match options.weight_streaming_budget {
            WeightStreaming::Unset => return None,
            WeightStreaming::Off => Bytes(u64::MAX),
            WeightStreaming::Min => Bytes::ZERO,
            WeightStreaming::Budget(budget) => budget,
        };
        let loaded = |index: &usize| is_loaded(&segments[*index], options);
        let mut candidates = candidates(segments, options);
        let ring = ring(segments, &candidates, options);
        let kept: Bytes = (0..segments.len())
            .filter(loaded)
            .map(|index| {
                let streamable =
                    segments[index].tensors.iter().filter(|tensor| is_streamable(tensor, &options.ring));
                let alignment = segments[index].alignment.0;
                let all = segments[index].bytes.0 - alignment;
                whole_pages(all - streamable.map(|tensor| tensor.bytes.0).sum::<u64>())
            })
            .sum();
        let floor = kept + ring.bytes();
        let all: Bytes = (0..segments.len()).filter(loaded).map(|index| segments[index].bytes).sum();
        // Of a model that is smaller than its ring nothing is worth streaming.
        if budget >= all || floor >= all {
            candidates.iter_mut().for_each(|candidate| candidate.pinned = true);
        } else {
            // The last page of a segment may be filled up once more than in the floor.
            let pages = PAGE * (0..segments.len()).filter(loaded).count() as u64;
            keep(&mut candidates, budget.0.saturating_sub(floor.0).saturating_sub(pages));
        }
        let whole = candidates.iter().all(|candidate| candidate.pinned);
        let ring = (!whole).then_some(ring);
        let mut next = candidates.iter().peekable();
        let placements: Vec<Option<SegmentPlacement>> = (0..segments.len())
            .map(|index| loaded(&index).then(|| place(&segments[index], index, &mut next)))
            .collect();
        let pinned: Bytes = placements.iter().flatten().map(SegmentPlacement::pinned).sum();
        let of_pass = |candidate: &&Candidate| {
            let role = segments[candidate.segment].role;
            !candidate.pinned && role == Role::Target && candidate.when != Use::LookUp
        };
        Some(Streaming {
            segments: placements,
            ring,
            streamable: Bytes(candidates.iter().map(|candidate| candidate.bytes).sum()),
            floor: floor.min(all),
            resident: pinned + ring.map_or(Bytes::ZERO, |ring| ring.bytes()),
            streamed_per_token: Bytes(
                candidates.iter().filter(of_pass).map(|candidate| candidate.bytes).sum(),
            ),
            kept,
        })
    }

    /// Refuses a budget that cannot be kept.
    ///
    /// # Errors
    /// If `budget` is a size below the floor.
    pub fn check(&self, budget: WeightStreaming) -> Result<(), OptionsError> {
        match budget {
            WeightStreaming::Budget(bytes) if bytes < self.floor => Err(OptionsError::BudgetBelowFloor {
                budget,
                floor: self.floor,
                kept: self.kept,
                ring: Bytes(self.floor.0.saturating_sub(self.kept.0)),
            }),
            _ => Ok(()),
        }
    }

    /// Where the segment at `index` of the manifest is; `None` if it is not loaded.
    pub fn segment(&self, index: usize) -> Option<&SegmentPlacement> {
        self.segments.get(index)?.as_ref()
    }

    /// What streamed weights pass through; `None` where all stay.
    pub fn ring(&self) -> Option<&Ring> {
        self.ring.as_ref()
    }
}

/// Every stripe of every streamable tensor, in the order of the file.
fn candidates(segments: &[SegmentRecord], options: &RuntimeOptions) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (segment, record) in segments.iter().enumerate().filter(|(_, record)| is_loaded(record, options)) {
        for (tensor, record_of) in record.tensors.iter().enumerate() {
            if !is_streamable(record_of, &options.ring) {
                continue;
            }
            candidates.extend(stripes(record_of, options.ring.stripe).map(|rows| Candidate {
                segment,
                tensor,
                bytes: Pieces::of(record.offset, record_of, &rows).pinned().0,
                when: when(record, record_of, &rows, options),
                rows,
                pinned: false,
            }));
        }
    }
    candidates
}

fn when(
    segment: &SegmentRecord,
    tensor: &TensorRecord,
    rows: &Range<usize>,
    options: &RuntimeOptions,
) -> Use {
    let drafted = options.mtp && rows.start < options.draft_vocab.rows(tensor.rows);
    match (segment.role, tensor.class) {
        (Role::Draft, _) => Use::Drafting,
        (_, BufferClass::WeightsLmHead) if drafted => Use::Drafting,
        (_, BufferClass::WeightsEmbedding) => Use::LookUp,
        _ => Use::Pass,
    }
}

/// Keeps stripes of `available` bytes in all.
fn keep(candidates: &mut [Candidate], available: u64) {
    let mut left = available;
    keep_first(candidates, Use::Drafting, &mut left);
    let total: u64 = candidates.iter().filter(|it| it.when == Use::Pass).map(|it| it.bytes).sum();
    let share = left.min(total);
    let (mut seen, mut kept) = (0, 0);
    for candidate in candidates.iter_mut().filter(|it| it.when == Use::Pass) {
        seen += candidate.bytes;
        // As much is kept of what has been seen as of the whole.
        if u128::from(kept + candidate.bytes) * u128::from(total) <= u128::from(share) * u128::from(seen) {
            candidate.pinned = true;
            kept += candidate.bytes;
        }
    }
    left -= kept;
    if share == total {
        keep_first(candidates, Use::LookUp, &mut left);
    }
}

/// Keeps the first stripes of one kind, as many as fit.
fn keep_first(candidates: &mut [Candidate], when: Use, left: &mut u64) {
    for candidate in candidates.iter_mut().filter(|candidate| candidate.when == when) {
        if candidate.bytes > *left {
            return;
        }
        candidate.pinned = true;
        *left -= candidate.bytes;
    }
}

/// The ring that any of the candidates fits, whatever is kept of them.
fn ring(segments: &[SegmentRecord], candidates: &[Candidate], options: &RuntimeOptions) -> Ring {
    let tensor = |candidate: &Candidate| &segments[candidate.segment].tensors[candidate.tensor];
    let slot = candidates.iter().map(|candidate| {
        Pieces::of(segments[candidate.segment].offset, tensor(candidate), &candidate.rows).slot()
    });
    let slot = slot.max();
    let look_up = candidates
        .iter()
        .filter(|candidate| is_table(&segments[candidate.segment]))
        .map(|candidate| look_up_bytes(tensor(candidate)))
        .max();
    Ring {
        slots: options.ring.slots.max(2),
        slot: slot.unwrap_or_default(),
        look_ups: if look_up.is_some() { LOOK_UPS } else { 0 },
        look_up: look_up.unwrap_or_default(),
        on_device: if options.device == Device::Cpu { 0 } else { DEVICE_SLOTS },
    }
}

/// Bytes of a slot for any row of a table: each part may begin and end amid a block.
fn look_up_bytes(table: &TensorRecord) -> Bytes {
    let rows = table.rows.div_ceil(table.rows_together()) as u64;
    Bytes(table.parts.iter().map(|part| (part.bytes / rows).next_multiple_of(BLOCK) + BLOCK).sum())
}

/// Whether rows of the segment's matrix are looked up by token.
fn is_table(segment: &SegmentRecord) -> bool {
    segment.name == "embed_tokens"
}

/// Takes the candidates of one segment off `next` and gives every run its place.
fn place<'a>(
    segment: &SegmentRecord,
    index: usize,
    next: &mut std::iter::Peekable<impl Iterator<Item = &'a Candidate>>,
) -> SegmentPlacement {
    let mut end = 0;
    let mut tensors = Vec::with_capacity(segment.tensors.len());
    for (number, tensor) in segment.tensors.iter().enumerate() {
        let mut parts: Vec<(Range<usize>, bool)> = Vec::new();
        while let Some(stripe) = next.next_if(|next| (next.segment, next.tensor) == (index, number)) {
            match parts.last_mut() {
                Some((rows, true)) if stripe.pinned => rows.end = stripe.rows.end,
                _ => parts.push((stripe.rows.clone(), stripe.pinned)),
            }
        }
        if parts.is_empty() {
            parts.push((0..tensor.rows, true));
        }
        let start = end;
        let mut streamed = 0;
        let runs = parts.into_iter().map(|(rows, pinned)| {
            let pieces = Pieces::of(segment.offset, tensor, &rows);
            let place = if pinned {
                let offset = end;
                end += pieces.pinned().0;
                Place::Pinned { offset }
            } else {
                streamed += pieces.parts().map(|piece| piece.bytes).sum::<u64>();
                Place::Streamed
            };
            Run { rows, place }
        });
        let runs = runs.collect();
        tensors.push(TensorPlacement { runs, pinned: Bytes(end - start), streamed: Bytes(streamed) });
    }
    SegmentPlacement { tensors, alignment: Bytes(whole_pages(end).0 - end) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{SyntheticCheckpoint, SyntheticOptions};
    use crate::config::ModelConfig;
    use crate::engine_dir::{BuildOptions, layout};
    use ledger::Tokens;

    fn segments(name: &str, tied: bool) -> Vec<SegmentRecord> {
        let mut config = ModelConfig::published(name).unwrap();
        config.tie_word_embeddings = tied;
        let source = SyntheticCheckpoint::new(name, config, SyntheticOptions::default()).unwrap();
        layout(&source, &BuildOptions::default()).unwrap()
    }

    fn options(budget: WeightStreaming) -> RuntimeOptions {
        let mut options = RuntimeOptions::new(Tokens(64), 2);
        options.weight_streaming_budget = budget;
        options
    }

    /// What is neither norm nor small is streamable, and every budget of a model in its published size is kept.
    #[test]
    fn resident_weights_follow_every_budget() {
        let segments = segments("Qwen3.5-4B", true);
        let all: Bytes = segments
            .iter()
            .filter(|segment| is_loaded(segment, &options(WeightStreaming::Off)))
            .map(|segment| segment.bytes)
            .sum();
        let min = Streaming::choose(&segments, &options(WeightStreaming::Min)).unwrap();
        assert_eq!(min.resident, min.floor);
        assert!(min.floor <= Bytes::mib(64), "{}", min.floor);
        assert!(min.streamable.0 * 100 > all.0 * 99, "{} of {all}", min.streamable);
        let stripe = min.ring().unwrap().slot;
        let pages = Bytes(PAGE * segments.len() as u64);
        for mib in (min.floor.0 >> 20) + 1..all.0 >> 20 {
            let budget = Bytes::mib(mib);
            let streaming = Streaming::choose(&segments, &options(WeightStreaming::Budget(budget))).unwrap();
            assert!(streaming.check(WeightStreaming::Budget(budget)).is_ok());
            let least = budget.0 - stripe.0 - pages.0;
            assert!((least..=budget.0).contains(&streaming.resident.0), "{budget}: {}", streaming.resident);
        }
        let off = Streaming::choose(&segments, &options(WeightStreaming::Off)).unwrap();
        assert_eq!((off.resident, off.streamed_per_token, off.ring()), (all, Bytes::ZERO, None));
        assert_eq!(Streaming::choose(&segments, &options(WeightStreaming::Unset)), None);
    }

    /// A device has few slots of its own, in whole pages of it, and they alone count.
    #[test]
    fn on_a_device_budgets_are_followed_with_its_own_slots() {
        let segments = segments("Qwen3.5-4B", true);
        let on = |device, budget| {
            let mut options = options(budget);
            options.device = device;
            Streaming::choose(&segments, &options).unwrap()
        };
        let gpu = Device::Cuda { ordinal: 0 };
        let [cpu, least] = [Device::Cpu, gpu].map(|device| on(device, WeightStreaming::Min));
        let (ring, on_cpu) = (*least.ring().unwrap(), *cpu.ring().unwrap());
        assert_eq!((ring.host_bytes(), on_cpu.bytes()), (on_cpu.host_bytes(), on_cpu.host_bytes()));
        assert_eq!(ring.bytes(), Bytes(4 * ring.slot.0).round_up(2 << 20));
        assert_eq!((least.resident, least.kept), (least.floor, cpu.kept));
        assert_eq!(least.floor, least.kept + ring.bytes());
        assert_eq!(least.streamed_per_token, cpu.streamed_per_token);
        let below = WeightStreaming::Budget(Bytes(least.floor.0 - 1));
        assert!(matches!(
            on(gpu, below).check(below),
            Err(OptionsError::BudgetBelowFloor { floor, .. }) if floor == least.floor
        ));
        for mib in [64, 200, 1000, 2000] {
            let budget = Bytes::mib(mib);
            let streaming = on(gpu, WeightStreaming::Budget(budget));
            let pages = PAGE * segments.len() as u64;
            let left = budget.0.checked_sub(streaming.resident.0).unwrap();
            assert!(left <= ring.slot.0 + pages, "{budget}: {}", streaming.resident);
        }
    }

    #[test]
    fn a_model_that_is_smaller_than_its_ring_stays_whole() {
        let segments = segments("Qwen3-0.6B", true);
        let mut options = options(WeightStreaming::Min);
        options.ring.slots = 1000;
        let whole = Streaming::choose(&segments, &options).unwrap();
        assert_eq!((whole.ring(), whole.streamed_per_token), (None, Bytes::ZERO));
        assert_eq!(whole.resident, whole.floor);
    }

    #[test]
    fn what_is_streamed_is_spread_over_the_pass() {
        let segments = segments("Qwen3-4B", true);
        let options = options(WeightStreaming::Budget(Bytes::mib(1000)));
        let mut candidates = candidates(&segments, &options);
        let total: u64 = candidates.iter().map(|candidate| candidate.bytes).sum();
        let largest = candidates.iter().map(|candidate| candidate.bytes).max().unwrap();
        keep(&mut candidates, total / 3);
        let (mut seen, mut kept) = (0, 0);
        for candidate in &candidates {
            seen += candidate.bytes;
            kept += if candidate.pinned { candidate.bytes } else { 0 };
            assert!(kept <= seen / 3 + 1 && kept + largest >= seen / 3, "{kept} of {seen}");
        }
    }

    #[test]
    fn what_is_read_most_often_is_kept_first_and_what_is_looked_up_last() {
        let segments = segments("Qwen3-4B", false);
        let mut options = options(WeightStreaming::Min);
        options.mtp = true;
        let all = candidates(&segments, &options);
        let kept_of = |available: u64| {
            let mut candidates = candidates(&segments, &options);
            keep(&mut candidates, available);
            let kept = |when| {
                let of_kind =
                    candidates.iter().filter(move |candidate| candidate.when == when && candidate.pinned);
                of_kind.map(|candidate| candidate.bytes).sum::<u64>()
            };
            [kept(Use::Drafting), kept(Use::Pass), kept(Use::LookUp)]
        };
        let of = |when| all.iter().filter(|it| it.when == when).map(|it| it.bytes).sum::<u64>();
        let (drafting, pass, look_up) = (of(Use::Drafting), of(Use::Pass), of(Use::LookUp));
        assert!(drafting > 0 && look_up > drafting, "32k of 151,936 rows are scored by a draft");
        let stripe = all.iter().map(|it| it.bytes).max().unwrap();
        let [kept, rest, _] = kept_of(drafting - 1);
        assert!(kept + stripe >= drafting && rest < stripe, "less than a stripe is left for the pass");
        assert_eq!(kept_of(drafting), [drafting, 0, 0]);
        assert_eq!(kept_of(drafting + pass), [drafting, pass, 0]);
        let [_, _, looked_up] = kept_of(drafting + pass + look_up / 2);
        assert!(looked_up > 0 && looked_up <= look_up / 2);
    }
}
