//! How often verdicts against another run are wrong. The first is a simulation and always runs; the other wants real trials:
//!
//! ```text
//! SWEEP_AA_RUN=reports/runs/NAME cargo test -p harness --test false_alarms -- --ignored --nocapture
//! ```
//!
//! where NAME is a run of one build with 40 trials of each cell, or more.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample_run;

use harness::random::SplitMix64;
use harness::record::{Allowance, Gate, GateMetric, PairRecord, PairSide, Reading, RecordedTrial, Run};
use harness::scenario::Condition;
use harness::verdict::Word;
use harness::verdict::relative::{RunComparison, compare_runs};
use ledger::{Bytes, Millis};
use sample_run::{Fate, Model, run_of};

/// Pairs of each comparison.
const PAIRS: u32 = 10;

fn side_of(mut run: Run, side: PairSide) -> Run {
    run.record.pair = Some(PairRecord { id: "simulated".to_owned(), side, build_sha256: String::new() });
    run
}

/// A standard normal number, as the sum of twelve uniform ones.
fn normal(random: &mut SplitMix64) -> f64 {
    (0..12).map(|_| random.below(1 << 32) as f64 / f64::from(u32::MAX)).sum::<f64>() - 6.0
}

/// A run of one cell whose times are those of the sample, with log-normal noise of 2 %, a drift of 6 % over all pairs, and `factor`.
fn simulated(random: &mut SplitMix64, factor: f64, side: PairSide) -> Run {
    let mut run = run_of(&[(Model::Qwen35, 4096, Fate::Completes)]);
    run.record.budgets.clear();
    let first = run.trials[0].clone();
    run.trials = (0..PAIRS)
        .map(|number| {
            let mut trial = first.clone();
            trial.record.trial = number;
            // In A B B A, who comes first changes from pair to pair.
            let second = number.is_multiple_of(2) == (side == PairSide::B);
            let at = f64::from(2 * number + u32::from(second)) / f64::from(2 * PAIRS);
            let noise = (0.02 * normal(random)).exp() * (1.0 + 0.06 * at);
            for request in &mut trial.record.requests {
                if let Reading::Measured(Millis(time)) = &mut request.time_per_output_token_ms {
                    *time *= noise * factor;
                }
            }
            trial
        })
        .collect();
    side_of(run, side)
}

fn found_in(tries: u32, factor: f64) -> u32 {
    let mut random = SplitMix64::new(7);
    let mut found = 0;
    for _ in 0..tries {
        let before = simulated(&mut random, 1.0, PairSide::A);
        let after = simulated(&mut random, factor, PairSide::B);
        found += u32::from(compare_runs(&before, &after).word == Word::Regression);
    }
    found
}

#[test]
fn decode_that_is_slower_by_a_twentieth_is_found_in_nine_of_ten_tries() {
    let (found, alarms) = (found_in(200, 1.05), found_in(200, 1.0));
    println!(
        "5 % slower decode: found in {found} of 200 tries; not slower: called slower in {alarms} of 200"
    );
    assert!(found >= 180, "{found} of 200");
    assert!(alarms <= 6, "{alarms} of 200");
}

/// `trials`, numbered anew, as one side of pairs. Records are known by the cell's id, so that both sides keep theirs.
fn as_side(run: &Run, trials: Vec<RecordedTrial>, side: PairSide, paired: bool) -> Run {
    let mut made = Run { trials, ..run.clone() };
    made.trials.iter_mut().enumerate().for_each(|(at, trial)| trial.record.trial = at as u32);
    if paired { side_of(made, side) } else { made }
}

/// Ten trials against ten others of one cell. In pairs: neighbours in time, in the order A B B A.
fn a_against_a(
    run: &Run,
    cell: usize,
    random: &mut SplitMix64,
    gates: &[Gate],
    paired: bool,
) -> RunComparison {
    let cell = &run.record.cells[cell];
    let mut run = run.clone();
    run.record.cells = vec![cell.clone()];
    run.record.gates = gates.to_vec();
    run.trials.retain(|trial| trial.record.cell.id == cell.id && trial.record.is_finished());
    run.trials.sort_by_key(|trial| trial.record.trial);
    let mut pairs: Vec<[RecordedTrial; 2]> = match paired {
        true => run.trials.chunks_exact(2).map(|pair| [pair[0].clone(), pair[1].clone()]).collect(),
        false => {
            let mut shuffled = run.trials.clone();
            (1..shuffled.len()).for_each(|at| shuffled.swap(at, random.below(at + 1)));
            shuffled.chunks_exact(2).map(|pair| [pair[0].clone(), pair[1].clone()]).collect()
        }
    };
    while pairs.len() > PAIRS as usize {
        pairs.remove(random.below(pairs.len()));
    }
    let first = random.below(2);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for (at, [one, other]) in pairs.into_iter().enumerate() {
        let (to_a, to_b) = if (at + first).is_multiple_of(2) { (one, other) } else { (other, one) };
        a.push(to_a);
        b.push(to_b);
    }
    compare_runs(&as_side(&run, a, PairSide::A, paired), &as_side(&run, b, PairSide::B, paired))
}

#[test]
#[ignore = "wants a run with 40 trials of each cell, named by SWEEP_AA_RUN"]
fn trials_of_one_build_are_called_worse_in_at_most_three_of_a_hundred_comparisons() {
    let run = Run::load(std::env::var("SWEEP_AA_RUN").unwrap().as_ref()).unwrap();
    // Memory of a small model is far below what its rule lets pass, so that it is asked for nothing but noise, too.
    let strict = Gate {
        id: "nothing".to_owned(),
        when: Condition::equal([]),
        metric: GateMetric::Peak,
        allow: Allowance::Bytes(Bytes::ZERO),
        why: "to see noise".to_owned(),
    };
    let mut random = SplitMix64::new(11);
    let kinds = [
        ("two runs", Vec::new(), false),
        ("two runs, memory without a threshold", vec![strict], false),
        ("pairs", Vec::new(), true),
    ];
    for (name, gates, paired) in kinds {
        let mut worse = 0;
        for at in 0..200 {
            let found = a_against_a(&run, at % run.record.cells.len(), &mut random, &gates, paired);
            assert_ne!(found.word, Word::Inconclusive, "{:?}", found.cells[0].comparison.reason);
            if found.word == Word::Regression {
                worse += 1;
                println!("{name}: {:?}", found.cells[0].comparison.reason);
            }
        }
        println!("{name}: {worse} of 200 comparisons of one build with itself are called worse");
        assert!(worse <= 6, "{name}: {worse} of 200");
    }
}
