//! `sweep fit`: what it shows fits, is what `sweep plan` says, and is beaten by nothing; and what it predicts was measured.

#![expect(clippy::unwrap_used, reason = "where the program cannot be run, the test fails")]

mod sample_run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::engines::BuiltinEngines;
use harness::fit::{
    Axes, Configuration, Found, Keep, NoRecords, Planner, QualityRecords, Search, check, trades,
};
use harness::record::{Reading, Run};
use harness::scenario::{ModelSource, Vocab};
use ledger::{Bytes, Phase};
use proptest::prelude::*;
use runtime::plan::WeightStreaming;
use serde_json::Value;

fn sweep(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sweep")).args(arguments).current_dir(folder).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn synthetic(architecture: &str) -> ModelSource {
    ModelSource::Synthetic { architecture: architecture.to_owned(), seed: 1 }
}

fn keeps(texts: &[&str]) -> Vec<Keep> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A search without built engines, so that every shape comes from a layout.
fn search(architecture: &str, keep: &[&str], budget: Bytes, records: &dyn QualityRecords) -> Found {
    let engines = BuiltinEngines::new("no/engines");
    let source = synthetic(architecture);
    let mut planner = Planner::new(&engines, &source, None);
    Search::run(&mut planner, &Axes::of(&keeps(keep)).unwrap(), records, budget).unwrap()
}

/// A run that this program made of the synthetic 4B model: plain, drafting, and streamed in two sizes.
fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/runs/qwen3.5-4b-four-cells")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn what_fits_is_the_whole_plan_and_nothing_beats_it(
        mib in 150_u64..1200,
        architecture in prop::sample::select(vec!["Qwen3.5-0.8B", "Qwen3-0.6B"]),
        keep in prop::sample::select(vec![vec![], vec!["maxInputLen>=8192"], vec!["maxBatchSize>=3", "vocab<=64k"], vec!["device=cuda"]]),
    ) {
        let engines = BuiltinEngines::new("no/engines");
        let source = synthetic(architecture);
        let budget = Bytes::mib(mib);
        let mut planner = Planner::new(&engines, &source, None);
        let axes = Axes::of(&keeps(&keep)).unwrap();
        let found = Search::run(&mut planner, &axes, &NoRecords, budget).unwrap();
        for candidate in &found.frontier {
            prop_assert!(candidate.total <= budget);
            prop_assert_eq!(planner.peak(&candidate.configuration).unwrap().total, candidate.total);
            prop_assert!(!found.frontier.iter().any(|other| candidate.is_beaten_by(other)));
        }
        for pair in found.frontier.windows(2) {
            prop_assert!(pair[0].rank(&pair[1]).is_le());
        }
        for best in &found.best_of_each_quality {
            prop_assert!(found.frontier.contains(best));
        }
        // What is given up adds up to the difference from the defaults.
        for candidate in found.frontier.iter().take(3) {
            let steps = trades(&mut planner, &candidate.configuration).unwrap();
            let mut plain = candidate.configuration.clone();
            for step in &steps {
                match step.knob {
                    "lmHead" => plain.build.lm_head = step.from.parse().unwrap(),
                    "vocab" => plain.build.vocab = step.from.parse().unwrap(),
                    "mtp" => plain.settings.mtp = false,
                    "kvCacheType" => plain.settings.kv_cache_type = step.from.parse().unwrap(),
                    "maxBatchSize" => plain.settings.max_batch_size = step.from.parse().unwrap(),
                    "weightStreamingBudget" => plain.settings.weight_streaming_budget = step.from.parse().unwrap(),
                    "gdnPrefillMaxSeq" => plain.settings.gdn_prefill_max_seq = ledger::Tokens(step.from.parse().unwrap()),
                    _ => {}
                }
            }
            let sum: i64 = steps.iter().map(|step| step.bytes).sum();
            prop_assert_eq!(sum, candidate.total.signed_difference(planner.total(&plain).unwrap()));
        }
    }
}

/// On a GPU the budget of a stream is for its memory, and the slots that readers fill come on top in main memory.
#[test]
fn what_fits_beside_a_gpu_fits_with_the_slots_on_the_host() {
    let (engines, source) = (BuiltinEngines::new("no/engines"), synthetic("Qwen3.5-0.8B"));
    let budget = Bytes::mib(500);
    let mut planner = Planner::new(&engines, &source, None);
    let axes = Axes::of(&keeps(&["device=cuda", "mtp=false"])).unwrap();
    let found = Search::run(&mut planner, &axes, &NoRecords, budget).unwrap();
    let budgeted = |configuration: &Configuration| {
        matches!(configuration.settings.weight_streaming_budget, WeightStreaming::Budget(_))
    };
    let streamed: Vec<_> = found.frontier.iter().filter(|it| budgeted(&it.configuration)).collect();
    assert!(!streamed.is_empty(), "500 MiB are too few for all of the weights");
    for candidate in streamed {
        assert_eq!(planner.peak(&candidate.configuration).unwrap().total, candidate.total);
        let left = budget.0.checked_sub(candidate.total.0).expect("it fits");
        // A stripe, and whole MiB and pages of a device.
        assert!(left < 6 << 20, "{} of 500 MiB were left", Bytes(left));
    }
}

#[test]
fn a_prediction_is_what_plan_says_of_the_same_cell() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["fit", "--budget", "500MiB", "--all", "--json", "--synthetic", "Qwen3.5-0.8B"];
    let keep = ["--keep", "maxInputLen=4096", "--keep", "maxVerifyTreeSize<=3"];
    let output = sweep(&[&arguments[..], &keep[..]].concat(), folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answer = json(&output);
    let lines = answer["lines"].as_array().unwrap();
    assert!(lines.iter().any(|line| line["settings"]["weightStreamingBudget"] != "unset"));
    assert!(lines.iter().any(|line| line["settings"]["mtp"] == "true"));
    let mut scenario =
        "name: same\nwhy: The same cells.\nmodels: {m: {synthetic: {architecture: Qwen3.5-0.8B, seed: 1}}}\n\
        axes: {grid: {model: [m]}}\ntarget: builtin\ntrials: 1\ninclude:\n"
            .to_owned();
    for (at, line) in lines.iter().enumerate() {
        let knobs = line["settings"].as_object().unwrap().iter().chain(line["build"].as_object().unwrap());
        let knobs: Vec<String> =
            knobs.map(|(name, value)| format!("{name}: {}", value.as_str().unwrap())).collect();
        scenario
            .push_str(&format!("  - {{name: n{at}, cell: {{model: m, {}}}, why: same}}\n", knobs.join(", ")));
    }
    scenario.push_str("phases: [{load: {timeout: 1 s}}, {prefill: {promptTokens: maxInputLen, timeout: 1 s}}, {decode: {outputTokens: 64, timeout: 1 s}}]\n");
    std::fs::write(folder.path().join("same.yaml"), scenario).unwrap();
    let output = sweep(&["plan", "same.yaml", "--json"], folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let planned = json(&output);
    let totals: BTreeMap<&str, &Value> = planned["cells"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|cell| Some((cell["cell"]["name"]["name"].as_str()?, &cell["total_bytes"])))
        .collect();
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(totals.get(format!("n{at}").as_str()), Some(&&line["total_bytes"]), "{line}");
    }
}

#[test]
fn the_terminal_answer() {
    let folder = tempfile::tempdir().unwrap();
    let keep = [
        "--keep",
        "maxInputLen>=4096",
        "--keep",
        "mtp=true",
        "--keep",
        "kvCacheType=f16",
        "--keep",
        "threads=4",
    ];
    let output = sweep(&[&["fit", "--budget", "2GiB"], &keep[..]].concat(), folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let (answer, timing) = said.trim_end().rsplit_once('\n').unwrap();
    assert!(timing.starts_with("answered in "), "{timing}");
    insta::assert_snapshot!(answer);
}

#[test]
fn a_budget_below_the_floor_says_how_much_is_missing_and_what_is_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let fit = |budget: &str| {
        let keep = ["--keep", "maxInputLen>=32768", "--keep", "lmHead=int8"];
        sweep(
            &[&["fit", "--json", "--synthetic", "Qwen3-0.6B", "--budget", budget], &keep[..]].concat(),
            folder.path(),
        )
    };
    let output = fit("200MiB");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let answer = json(&output);
    assert_eq!((&answer["fits"], answer["lines"].as_array().unwrap().len()), (&Value::Bool(false), 0));
    let least = answer["least"]["total_bytes"].as_u64().unwrap();
    assert_eq!(answer["least"]["missing_bytes"].as_u64().unwrap(), least - (200 << 20));
    let classes = answer["least"]["by_class_bytes"].as_object().unwrap().values();
    assert_eq!(classes.map(|bytes| bytes.as_u64().unwrap()).sum::<u64>(), least);
    let in_the_way = answer["in_the_way"].as_array().unwrap();
    assert_eq!(in_the_way[0]["keep"], "maxInputLen>=32768");
    assert!(in_the_way[0]["least_without_bytes"].as_u64().unwrap() < least);
    // Not a byte less than the floor, and the floor itself.
    assert_eq!(fit(&format!("{}B", least - 1)).status.code(), Some(1));
    assert_eq!(fit(&format!("{least}B")).status.code(), Some(0));
}

#[test]
fn wrong_demands_are_usage_errors() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["--budget", "60"][..], "a size needs a unit"),
        (&[][..], "--budget"),
        (&["--budget", "6GiB", "--keep", "maxInputLength=3"][..], "did you mean `maxInputLen`?"),
        (&["--budget", "6GiB", "--keep", "mtp=maybe"][..], "it takes true or false"),
        (
            &["--budget", "6GiB", "--keep", "lmHead=int8", "--keep", "lmHead=f16"][..],
            "nothing is left of `lmHead`",
        ),
        (&["--budget", "6GiB", "--keep", "maxInputLen=1000000"][..], "the model knows 262144 positions"),
        (&["--budget", "6GiB", "--synthetic", "Qwen3-0.6B", "--keep", "mtp=true"][..], "no MTP head"),
        (
            &["--budget", "6GiB", "--engine", "x", "--keep", "lmHead=int4"][..],
            "is decided when an engine is built",
        ),
        (&["--budget", "6GiB", "--keep", "maxKVCacheCapacity<=1000"][..], "has no room for"),
    ] {
        let output = sweep(&[&["fit"], arguments].concat(), folder.path());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(expected), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_built_engine_keeps_its_build_options() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/checkpoints/hybrid-ct");
    let build =
        ["build", "--checkpoint", checkpoint.to_str().unwrap(), "--lm-head", "int4", "--output", "engine"];
    assert_eq!(sweep(&build, folder.path()).status.code(), Some(0));
    let arguments = ["fit", "--budget", "64MiB", "--json", "--engine", "engine", "--keep", "maxInputLen=256"];
    let answer = json(&sweep(&arguments, folder.path()));
    let best = &answer["lines"][0];
    assert_eq!(best["loss"]["kl_nats"], 0.0, "what the engine has lost already is not counted");
    assert!(best["build"].as_object().unwrap().is_empty());
    assert!(answer["serve"].as_str().unwrap().starts_with("sweep serve --engine engine "));
    // What was built counts the tokenizer, too.
    assert!(best["by_class_bytes"]["tokenizer"].as_u64().unwrap() > 0);
}

/// Records of a world in which a short vocabulary costs nothing and bytes in the table cost a lot.
struct Reversed;

impl QualityRecords for Reversed {
    fn quality(&self, knob: &str, value: &str) -> Option<f64> {
        match (knob, value) {
            ("lmHead", "int8") => Some(0.5),
            ("vocab", _) => Some(0.0),
            _ => None,
        }
    }
}

#[test]
fn what_was_measured_decides_over_what_is_assumed() {
    let budget = Bytes::gib(2);
    let best =
        |records: &dyn QualityRecords| search("Qwen3.5-0.8B", &[], budget, records).frontier[0].clone();
    let assumed = best(&NoRecords);
    assert_eq!(
        (assumed.configuration.build.lm_head.name(), &assumed.configuration.build.vocab),
        ("int8", &Vocab::Full)
    );
    let measured = best(&Reversed);
    assert_eq!(measured.configuration.build.lm_head.name(), "f16");
    assert_eq!(measured.configuration.build.vocab.to_string(), "32k");
    assert!(measured.loss.measured && !assumed.loss.measured);
}

#[test]
fn what_costs_no_quality_is_given_up_first_and_only_where_it_must_be() {
    let whole = search("Qwen3.5-0.8B", &["mtp=false"], Bytes::gib(2), &NoRecords);
    let set = |found: &Found, of: &dyn Fn(&harness::fit::Candidate) -> bool| found.frontier.iter().any(of);
    assert!(!set(&whole, &|it| it.configuration.settings.weight_streaming_budget.to_string() != "unset"));
    assert!(!set(&whole, &|it| it.configuration.settings.gdn_prefill_max_seq.0 != 256));
    let tight = search("Qwen3.5-0.8B", &["mtp=false"], Bytes::mib(300), &NoRecords);
    let best = &tight.frontier[0].configuration;
    assert_eq!((best.build.lm_head.name(), &best.build.vocab), ("int8", &Vocab::Full));
    assert_ne!(best.settings.weight_streaming_budget.to_string(), "unset");
}

#[test]
fn every_measured_peak_was_predicted() {
    let engines = BuiltinEngines::new("no/engines");
    let run = Run::load(&recorded()).unwrap();
    let cells = check(&run, &engines);
    assert_eq!(cells.len(), 4);
    for cell in &cells {
        assert_eq!(cell.holds(), Some(true), "{cell:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let recorded = recorded();
    let output = sweep(&["fit", "--check", recorded.to_str().unwrap()], folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("4 of 4 measured cells are predicted within 2 %"));
}

#[test]
fn a_peak_that_was_not_predicted_is_a_failure_and_an_unknown_one_is_no_proof() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::load(&recorded()).unwrap();
    let exit = |run: &Run| {
        sample_run::write(run, folder.path());
        sweep(&["fit", "--json", "--check", "."], folder.path())
    };
    let peak = run.trials[0].record.peak_resident().unwrap();
    sample_run::set_peak(&mut run.trials[0], Phase::Decode, Reading::Measured(Bytes(peak.0 * 103 / 100)));
    let output = exit(&run);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json(&output)["exit_code"], 1);
    // What may have been higher holds no prediction, and breaks none.
    let mut run = Run::load(&recorded()).unwrap();
    run.trials[0].record.phases.iter_mut().find(|phase| phase.phase == Phase::Decode).unwrap().end.resident =
        Reading::Unavailable("its process has ended".to_owned());
    let output = exit(&run);
    assert_eq!(output.status.code(), Some(4));
    let cells = &json(&output)["cells"];
    let why = cells[0]["measured_bytes"]["unavailable"].as_str().unwrap();
    assert!(why.contains("decode: the peak is a lower bound"), "{why}");
    let mut run = Run::load(&recorded()).unwrap();
    run.record.cells[1].source = "engine no/such/engine".to_owned();
    run.trials[1].record.cell.source = "engine no/such/engine".to_owned();
    assert_eq!(exit(&run).status.code(), Some(4));
}

#[test]
fn a_line_that_a_run_has_measured_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    sample_run::write(&Run::load(&recorded()).unwrap(), &runs.join("20260101T000000.000Z"));
    let arguments = ["fit", "--budget", "3GiB", "--json", "--output", "runs", "--all"];
    let keep = [
        "--keep",
        "maxInputLen=1024",
        "--keep",
        "threads=2",
        "--keep",
        "lmHead=int8",
        "--keep",
        "vocab=full",
    ];
    let answer = json(&sweep(&[&arguments[..], &keep[..]].concat(), folder.path()));
    let lines = answer["lines"].as_array().unwrap();
    let drafting = |on: &str| {
        lines
            .iter()
            .find(|line| line["settings"]["mtp"] == on && line["settings"]["maxVerifyTreeSize"] == "4")
    };
    for on in ["true", "false"] {
        let measured = &drafting(on).unwrap()["evidence"]["measured"];
        assert!(measured["record"]["run"].as_str().unwrap().contains("20260101T"), "{measured}");
        assert!(measured["difference"].as_f64().unwrap().abs() <= 0.02);
    }
    assert!(
        lines.iter().any(|line| line["evidence"] == "planned"),
        "three drafts were measured, others were not"
    );

    // A peak that may have been higher is no value to show beside a prediction.
    let mut run = Run::load(&recorded()).unwrap();
    for trial in &mut run.trials {
        let decode = trial.record.phases.iter_mut().find(|phase| phase.phase == Phase::Decode).unwrap();
        decode.end.resident = Reading::Unavailable("its process has ended".to_owned());
    }
    sample_run::write(&run, &runs.join("20260101T000000.000Z"));
    let answer = json(&sweep(&[&arguments[..], &keep[..]].concat(), folder.path()));
    let lines = answer["lines"].as_array().unwrap();
    let refused: Vec<&Value> = lines.iter().map(|line| &line["evidence"]["no_value"]["why"]).collect();
    let named = refused.iter().filter_map(|why| why.as_str()).filter(|why| why.contains("lower bound"));
    assert_eq!(named.count(), 2, "{refused:?}");
}
