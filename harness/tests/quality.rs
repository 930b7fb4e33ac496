//! What a configuration costs in quality, from a scenario to a verdict, on a small committed checkpoint.

#![expect(clippy::unwrap_used, reason = "where the program cannot be run, the test fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const SCENARIO: &str = "
name: small
why: Quality on a model that takes milliseconds.
models:
  hybrid: {checkpoint: MODEL}
settings: {maxInputLen: 128, maxKVCacheCapacity: 192, threads: 1}
axes:
  one_at_a_time:
    lmHead: [int8, int4]
target: builtin
trials: 1
floor: {tolerance: 64 GiB}
phases:
  - load:    {timeout: 30 s}
  - prefill: {promptTokens: 64, timeout: 30 s}
  - decode:  {outputTokens: 8, timeout: 30 s}
quality:
  text: text.txt
  tokens: 70
  continuations: 1
  timeout: 60 s
  budgets:
    - {id: near, LIMIT, why: What a small head may cost.}
budgets:
  - {id: total, total: {fail: 256 MiB}, why: A model of a megabyte leaves the program itself.}
";

fn checkpoint() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fixtures/checkpoints/hybrid-awq")
}

/// The verdict on the scenario with `model` and `limit`, and the exit code.
fn judged(model: &Path, limit: &str, more: impl Fn(&str) -> String, folder: &Path) -> (Value, i32) {
    let scenario = SCENARIO.replace("MODEL", model.to_str().unwrap()).replace("LIMIT", limit);
    std::fs::write(folder.join("small.yaml"), more(&scenario)).unwrap();
    let words = "The quick brown fox jumps over the lazy dog. ".repeat(20);
    std::fs::write(folder.join("text.txt"), words).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_sweep"))
        .args(["run", "small.yaml", "--json"])
        .current_dir(folder)
        .output()
        .unwrap();
    let verdict = serde_json::from_slice(&run.stdout);
    let verdict = verdict.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&run.stderr)));
    (verdict, run.status.code().unwrap())
}

fn plain(scenario: &str) -> String {
    scenario.to_owned()
}

#[test]
fn every_cell_has_its_price_and_a_limit_fails_the_gate_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let limit = "when: {lmHead: int4}, max_kl: 0";
    let (verdict, code) = judged(&checkpoint(), limit, plain, folder.path());
    let cells = verdict["cells"].as_array().unwrap();
    // The worst cell stands first.
    let kl = |at: usize| cells[1 - at]["quality"]["measured"]["mean_kl_nats"].as_f64().unwrap();
    assert!(0.0 < kl(0) && kl(0) < kl(1), "{verdict}");
    assert_eq!(
        (cells[0]["word"].as_str(), cells[1]["word"].as_str()),
        (Some("FAIL"), Some("PASS")),
        "{verdict}"
    );
    assert!(
        cells[0]["reason"].as_str().unwrap().starts_with("near: trial 0: mean KL divergence"),
        "{verdict}"
    );
    assert_eq!(code, 1);
    let lever = &verdict["levers"][0]["mean_kl_nats"];
    assert_eq!(lever["after"]["measured"].as_f64(), Some(kl(1)), "{verdict}");
    fits_schema(&verdict);

    // The same number of the same cell stands in every output.
    let files = Files::of(folder.path());
    let quality = &cells[0]["quality"]["measured"];
    for name in [
        "perplexity",
        "reference_perplexity",
        "mean_kl_nats",
        "largest_kl_nats",
        "top1_agreement",
        "token_match",
    ] {
        assert_eq!(files.field(name).parse::<f64>().ok(), quality[name].as_f64(), "{name}");
    }
    let [perplexity, top1] = ["perplexity", "top1_agreement"].map(|name| quality[name].as_f64().unwrap());
    let grouped = harness::number::grouped;
    let shown = [grouped(perplexity, 3), grouped(kl(1), 5), grouped(top1 * 100.0, 2)];
    for (value, unit) in shown.iter().zip(["", " nats", " %"]) {
        assert!(files.summary.contains(&format!(" {value}{unit} |")), "{value}: {}", files.summary);
    }
    for key in ["perplexity", "mean_kl_nats", "top1_agreement", "token_match"] {
        let property = format!("<property name=\"{key}\" value=\"{}\"", files.field(key));
        assert!(files.junit.contains(&property), "{property}: {}", files.junit);
    }
    let title = "<th scope=\"col\" class=\"n\">KL<small>nats</small></th>";
    let (first, levers) = files.html.split_once("id=\"levers\"").unwrap();
    let (levers, each) = levers.split_once("id=\"each\"").unwrap();
    assert!(first.contains(title) && first.contains(&shown[1]), "the table of cells");
    assert!(
        levers.contains(title) && levers.contains(&format!("{} → {}", grouped(kl(0), 5), shown[1])),
        "the table of levers"
    );
    assert!(
        each.contains(&shown[1]) && each.contains("Perplexity of the reference"),
        "the cell's own section"
    );
}

/// The outputs of the only run below `folder`.
struct Files {
    csv: Vec<(String, String)>,
    junit: String,
    summary: String,
    html: String,
}

impl Files {
    fn of(folder: &Path) -> Files {
        let runs = std::fs::read_dir(folder.join("reports/runs")).unwrap();
        let run = runs.map(|entry| entry.unwrap().path()).next().unwrap();
        let text = |name: &str| std::fs::read_to_string(run.join(name)).unwrap();
        let mut table = csv::Reader::from_path(run.join("cells.csv")).unwrap();
        let titles: Vec<String> = table.headers().unwrap().iter().map(str::to_owned).collect();
        let first = table.records().next().unwrap().unwrap();
        let csv = titles.into_iter().zip(first.iter().map(str::to_owned)).collect();
        Files { csv, junit: text("junit.xml"), summary: text("summary.md"), html: text("report.html") }
    }

    /// A field of the first cell.
    fn field(&self, column: &str) -> &str {
        &self.csv.iter().find(|(title, _)| title == column).unwrap().1
    }
}

fn fits_schema(verdict: &Value) {
    let schema: Value = serde_json::from_str(&harness::verdict::schema_text()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(verdict).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn what_could_not_be_scored_does_not_pass() {
    let folder = tempfile::tempdir().unwrap();
    let no_text = |scenario: &str| scenario.replace("text.txt", "nowhere.txt");
    let (verdict, code) = judged(&checkpoint(), "min_top1: 0 %", no_text, folder.path());
    let reason = verdict["cells"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("quality was not measured") && reason.contains("read the text"), "{reason}");
    assert_eq!(code, 4, "{verdict}");
    fits_schema(&verdict);
    let files = Files::of(folder.path());
    for name in ["perplexity", "mean_kl_nats", "top1_agreement", "token_match"] {
        assert_eq!(files.field(name), "", "{name}: what was not measured is no number");
        assert!(
            files.junit.contains(&format!("<property name=\"{name}\" value=\"not measured\"")),
            "{}",
            files.junit
        );
    }
    assert!(
        files.summary.contains("| not measured | not measured | not measured | not measured |"),
        "{}",
        files.summary
    );
    assert!(files.html.contains(">not measured</span>"));
}

/// A checkpoint whose tensors of this name have other bytes.
fn damaged(suffix: &str, damage: impl Fn(&mut [u8]), folder: &Path) -> PathBuf {
    let copy = folder.join("damaged");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(checkpoint()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let path = copy.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut touched = 0;
    for (name, tensor) in header.as_object().unwrap() {
        if name.ends_with(suffix) && !name.contains("linear_attn.norm") {
            let place = |at: usize| 8 + length + tensor["data_offsets"][at].as_u64().unwrap() as usize;
            damage(&mut bytes[place(0)..place(1)]);
            touched += 1;
        }
    }
    assert!(touched > 0, "nothing ends in {suffix}");
    std::fs::write(path, bytes).unwrap();
    copy
}

/// The verdict on a damaged checkpoint, held against the one it was made from.
fn judged_against_the_original(damaged: &Path, folder: &Path) -> (Value, i32) {
    let reference = checkpoint();
    let against = |scenario: &str| {
        let reference = format!("  text: text.txt\n  reference: {}\n", reference.to_str().unwrap());
        scenario
            .replace("  text: text.txt\n", &reference)
            .replace("one_at_a_time:\n    lmHead: [int8, int4]", "grid:\n    lmHead: [int8]")
    };
    judged(damaged, "max_kl: 0.01", against, folder)
}

#[track_caller]
fn assert_fails_by_name((verdict, code): (Value, i32)) {
    let reason = verdict["cells"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("near: trial 0: mean KL divergence"), "{reason}");
    assert_eq!(code, 1, "{verdict}");
}

#[test]
fn a_sound_copy_passes_where_damaged_ones_fail() {
    let folder = tempfile::tempdir().unwrap();
    let sound = damaged("layernorm.weight", |_| {}, folder.path());
    let (verdict, code) = judged_against_the_original(&sound, folder.path());
    assert_eq!((verdict["cells"][0]["word"].as_str(), code), (Some("PASS"), 0), "{verdict}");
}

#[test]
fn norms_without_the_one_fail_the_gate() {
    let folder = tempfile::tempdir().unwrap();
    // The weights of a Qwen3.5 norm are stored less one; one less again is a norm that forgot to add it.
    let less_one = |bytes: &mut [u8]| {
        for number in bytes.chunks_exact_mut(2) {
            let value = half::f16::from_le_bytes([number[0], number[1]]).to_f32() - 1.0;
            number.copy_from_slice(&half::f16::from_f32(value).to_le_bytes());
        }
    };
    let copy = damaged("layernorm.weight", less_one, folder.path());
    assert_fails_by_name(judged_against_the_original(&copy, folder.path()));
}

#[test]
fn clamped_zero_points_fail_the_gate() {
    let folder = tempfile::tempdir().unwrap();
    let clamp = |bytes: &mut [u8]| {
        let clamped = |nibble: u8| nibble.min(7);
        bytes.iter_mut().for_each(|byte| *byte = clamped(*byte >> 4) << 4 | clamped(*byte & 15));
    };
    let copy = damaged("qzeros", clamp, folder.path());
    assert_fails_by_name(judged_against_the_original(&copy, folder.path()));
}
